"""Scans in market hours: the evening's harvests at live prices, when they are looked for, and when they are new."""

import random
import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_http import Answer, scripted

from flows.accounts import Prices
from flows.connectors import Unavailable
from flows.connectors.markets.folder import FolderMarket
from flows.day import day_of
from flows.intraday import Found, _today, intraday
from flows.orders import execute
from flows.pre_trade import known
from flows.propose import gather
from flows.runs import publish
from transforms.harvest.candidates import OpenLot, candidates, holdings
from transforms.harvest.live import Today, anew
from transforms.harvest.replacement import replacements
from transforms.harvest.scan import proposals, row
from transforms.lots.check import effects
from transforms.risk.measures import correlation_and_beta
from warehouse.db import Locked, reader, writer

D = Decimal
EVENING, SESSION = date(2022, 10, 14), date(2022, 10, 17)
ELEVEN = datetime(2022, 10, 17, 15, 0)  # UTC


class Morning:
    """The demo household on the morning after, with a file of live prices: its closes, but for what a test says."""

    def __init__(self, house, folder: Path):
        self.house, self.folder = house, folder
        self.prices: dict[str, Decimal] = dict(house.ask("SELECT security_id, price_usd FROM core.latest_prices"))
        self.at: dict[str, datetime] = {}
        self.scans = 0

    @property
    def settings(self):
        """With moves believed that the demo would not: its prices have to fall far before a loss is new."""
        made = self.house.settings(self.folder)
        gates = made.portfolio.gates.model_copy(update={"max_price_move": 0.5})
        return made.model_copy(update={"portfolio": made.portfolio.model_copy(update={"gates": gates})})

    def falls(self, part: str, *names: str) -> None:
        for name in names:
            self.prices[name] = (self.prices[name] * (1 - D(part))).quantize(D("0.01"))

    def scan(self, now: datetime | None = None, **given) -> Found:
        """At eleven, and five minutes later every time."""
        self.scans += 1
        now = now or ELEVEN + timedelta(minutes=5 * (self.scans - 1))
        rows = [
            f"{name},{price},{self.at.get(name, now).replace(tzinfo=UTC).isoformat()}"
            for name, price in self.prices.items()
        ]
        (self.folder / "quotes.csv").write_text("\n".join(("symbol,price_usd,at", *rows, "")))
        return intraday(self.settings, now, **given)

    def change(self, statement: str) -> None:
        """Change the warehouse and what is published of it."""
        with writer(self.settings.warehouse) as warehouse:
            warehouse.run(statement)
            publish(warehouse, day_of(self.settings, EVENING, ELEVEN))

    def batches(self) -> list[tuple]:
        return self.house.ask(
            "SELECT b.account_id, b.kind, b.sequence, b.session_on, l.side, l.security_id FROM ledger.batches AS b "
            "JOIN ledger.batch_lines AS l USING (batch_id) WHERE kind = 'intraday' ORDER BY b.batch_id, line"
        )


@pytest.fixture
def morning(day_after, prices, tmp_path) -> Morning:
    return Morning(day_after, Path(shutil.copytree(prices, tmp_path / "live")))


def sold(found: Found) -> set[tuple[str, str]]:
    return {(one.candidate.account_id, one.candidate.security_id) for one in found.harvests}


# One truth --------------------------------------------------------------------------------------------


def test_at_any_prices_a_scan_finds_what_the_whole_check_booked_anew_finds(day_after):
    """The closes, and prices drawn at random: by the check that starts from the first purchase every time."""
    with reader(day_after.settings().snapshot) as warehouse:
        day = day_of(day_after.settings(), EVENING, ELEVEN)
        seen = known(warehouse, day, SESSION)
        quick = gather(warehouse, day, seen)
        closes = dict(warehouse.rows("SELECT security_id, price_usd FROM core.latest_prices").iter_rows())
    anew = quick._replace(
        effects=lambda batch: effects(
            seen.events, batch, seen.coming, seen.rules, seen.year, seen.identical, seen.cautious
        )
    )
    draw, met = random.Random(8), 0
    for prices in [closes] + [
        {name: (price * D(str(draw.uniform(0.5, 1.2)))).quantize(D("0.01")) for name, price in closes.items()}
        for _ in range(12)
    ]:
        rows = [row(one) for one in proposals(quick, prices)]
        assert rows == [row(one) for one in proposals(anew, prices)]
        met += len({is_refused for *_, is_refused, _ in rows}) == 2
    assert met >= 5, "harvests and refusals together"


LOTS = st.lists(
    st.builds(
        OpenLot,
        st.sampled_from(("any", "fifo")),
        st.sampled_from(("AAA", "BBB", "none")),
        st.dates(date(2021, 1, 1), date(2022, 1, 1)),
        st.sampled_from(("L-1", "L-2", "L-3", "L-4")),
        st.integers(1, 2),
        st.decimals("0.0001", "90", places=4),
        st.decimals("0", "9000", places=2),
        st.dates(date(2022, 1, 1), date(2023, 1, 1)),
    ),
    max_size=12,
    unique_by=lambda lot: lot[:2] + lot[3:5],
)


@settings(max_examples=300, deadline=None)
@given(
    LOTS,
    st.decimals("0.01", "120", places=2),
    st.decimals("0", "2000", places=2),
    st.sampled_from((D(0), D("0.05"), D(1))),
)
def test_looking_roughly_first_leaves_no_lot_out(lots, price, least, rate):
    """As if every lot were reckoned exactly, a threshold that is met to the cent included."""
    prices, reach = {"AAA": price, "BBB": D(50)}, {"any": True, "fifo": False}
    thresholds = (least, rate, date(2022, 6, 1))
    every = holdings(lots)
    exact = [
        one
        for lots_of in every.whole
        if lots_of[0][0].security_id in prices
        for one in candidates(_All(holdings([part for lot in lots_of for part in lot])), prices, reach, *thresholds)
    ]
    assert candidates(every, prices, reach, *thresholds) == exact


class _All:
    """Holdings that are all looked at."""

    def __init__(self, held):
        self.whole = held.whole

    def may_pass(self, *_):
        return range(len(self.whole))


def test_a_loss_that_meets_the_threshold_to_the_cent_is_found():
    lot = OpenLot("any", "AAA", date(2021, 1, 1), "L", 1, D(3), D("1100.01"), date(2022, 1, 2))
    prices, reach, on = {"AAA": D("33.336666")}, {"any": True}, date(2022, 6, 1)  # worth 100.01
    assert len(candidates(holdings([lot]), prices, reach, D("1000.00"), D(1), on)) == 1
    assert candidates(holdings([lot]), prices, reach, D("1000.01"), D(1), on) == []


def test_replacements_reckoned_together_are_those_reckoned_by_twos():
    draw = random.Random(3)
    market = [draw.gauss(0, 0.01) for _ in range(80)]
    import numpy as np

    returns = {
        f"S{n}": np.array([m * draw.uniform(0.5, 1.5) + draw.gauss(0, 0.004) for m in market]) for n in range(12)
    }
    returns["still"] = np.zeros(80)
    sector = {name: "one" if n % 2 else "two" for n, name in enumerate(returns)}
    alike = replacements(returns, sector, 0.5, (0.6, 1.4))
    assert sum(map(len, alike.values())) >= 10 and alike["still"] == []
    for name, others in alike.items():
        by_twos = {
            other: correlation_and_beta(returns[name], series)
            for other, series in returns.items()
            if other != name and sector[other] == sector[name]
        }
        fits = {other: (c, b) for other, (c, b) in by_twos.items() if c >= 0.5 and 0.6 <= b <= 1.4}
        assert {one.security_id for one in others} == fits.keys()
        assert [one.tracking_error for one in others] == sorted(one.tracking_error for one in others)
        for one in others:
            assert (one.correlation, one.beta) == pytest.approx(fits[one.security_id], abs=1e-12)


# When it looks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "is_looked_at"),
    [
        (datetime(2022, 10, 17, 13, 29), False),  # 9:29
        (datetime(2022, 10, 17, 13, 30), True),
        (datetime(2022, 10, 17, 20, 0), False),
        (datetime(2022, 10, 16, 15, 0), False),  # a Sunday
        (datetime(2022, 11, 24, 16, 0), False),  # Thanksgiving
        (datetime(2022, 11, 25, 18, 30), False),  # the half day after it
    ],
)
def test_it_looks_while_the_exchange_is_open(morning, now, is_looked_at):
    found = morning.scan(now)
    assert (found.skipped != "the exchange is closed") is is_looked_at, found


def test_it_does_not_look_on_books_of_another_day(morning):
    assert (
        "the books are of 2022-10-14, the session before was 2022-10-17"
        in morning.scan(ELEVEN + timedelta(days=1)).skipped
    )


def test_it_does_not_look_when_trading_is_stopped(morning):
    assert morning.scan(stopped="somebody stopped it").skipped == "somebody stopped it"
    (morning.settings.home / "STOP").touch()
    assert "STOP" in morning.scan().skipped


def test_without_live_prices_it_says_so(morning):
    found = intraday(morning.settings, ELEVEN)
    assert "no live prices" in found.skipped and "quotes.csv" in found.skipped


def test_a_line_of_the_file_of_live_prices_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "quotes.csv").write_text("symbol,price_usd,at\nHD,280,2022-10-17T11:00\nKO,5x,2022-10-17T11:00\n")
    market = FolderMarket(tmp_path)
    [quote] = market.quotes({"HD"})
    assert quote == ("HD", D(280), ELEVEN.replace(tzinfo=UTC))
    with pytest.raises(Unavailable, match=r"quotes.csv, line 3: '5x' is not a number"):
        market.quotes({"HD", "KO"})


# What it finds ----------------------------------------------------------------------------------------


def test_a_scan_that_finds_nothing_takes_no_lock(morning):
    with writer(morning.settings.warehouse):
        found = morning.scan(wait=0)
    assert not found.skipped and found.priced == 20 and found.harvests == () and found.milliseconds > 0


def test_what_passes_is_decided_at_once_and_is_not_decided_twice(morning):
    morning.falls("0.34", "KO")
    with writer(morning.settings.warehouse), pytest.raises(Locked):
        morning.scan(wait=0)
    found = morning.scan()
    assert sold(found) == {("taxable-fifo", "KO")}  # the other account's was sold in the morning, for a larger loss
    assert len(found.batches) == 1
    assert morning.batches() == [
        ("taxable-fifo", "intraday", 1, SESSION, "sell", "KO"),
        ("taxable-fifo", "intraday", 1, SESSION, "buy", "PG"),
    ]
    assert "taxable-fifo sells 273.6483 KO for" in str(found) and "PG: a loss of $2,288." in str(found)
    assert morning.scan().harvests == ()
    assert len(morning.batches()) == 2


def test_it_is_proposed_again_when_the_loss_has_grown_by_a_quarter_and_left_out_while_the_first_is_under_way(morning):
    morning.falls("0.34", "KO")
    [first] = morning.scan().harvests
    morning.falls("0.01", "KO")
    assert morning.scan().harvests == ()
    morning.falls("0.06", "KO")
    found = morning.scan()
    again = {one.candidate.account_id: one.candidate.loss_usd for one in found.harvests}
    assert again["taxable-fifo"] >= first.candidate.loss_usd * D("1.25") and again["taxable-picked"] >= D("1674.75")
    [batch] = found.batches  # what the other account sold in the morning is done, this one's is not
    assert "taxable-picked" in batch
    assert morning.scan().harvests == ()  # what the arbiter left out is no news either
    with writer(morning.settings.warehouse) as warehouse:
        day = day_of(morning.settings, EVENING, ELEVEN)
        execute(warehouse, day)
        publish(warehouse, day)
    assert ("KO", "sell", "filled") in morning.house.ask(
        "SELECT security_id, side, status FROM mart.orders WHERE batch_id LIKE '%intraday%'"
    )
    assert morning.scan().harvests == ()


def test_what_was_bought_today_is_not_sold_today(morning):
    """By the ledger, when nobody decided it here."""
    morning.change("DELETE FROM ledger.batch_lines")
    morning.falls("0.34", "AAPL")
    found = morning.scan()
    assert found.priced == 20 and ("taxable-picked", "AAPL") not in sold(found)
    with reader(morning.settings.snapshot) as warehouse:
        day = day_of(morning.settings, EVENING, ELEVEN)
        scan = gather(warehouse, day, known(warehouse, day, SESSION))
        [told] = [one for one in proposals(scan, morning.prices) if one.candidate[:2] == ("taxable-picked", "AAPL")]
    in_part = "if the day's sales of it are filled in part"
    assert told.candidate.refusal.startswith(in_part), "nothing else stands against it"


def test_what_was_decided_today_counts_before_it_is_done(morning):
    morning.change("DELETE FROM ledger.transactions WHERE transaction_id NOT LIKE '%-0%'")  # fills
    with reader(morning.settings.snapshot) as warehouse:
        assert not warehouse.rows("FROM stg.transactions WHERE traded_on = $on", on=SESSION).height
        today = _today(warehouse, day_of(morning.settings, EVENING, ELEVEN))
    assert today.bought == {"AAPL", "BBY", "JPM", "PG"}
    assert today.sold["taxable-picked", "KO"] == D("1339.80") and ("taxable-fifo", "KO") not in today.sold


def test_a_price_that_is_old_or_wild_or_missing_is_no_price(morning):
    morning.falls("0.34", "KO")
    for name, why in (
        ("old", "it has no live price"),
        ("stale", "21 minutes old, the limit is 20"),
        ("wild", "-93% from the last close of $53.768, more than 50% is not believed"),
        ("yesterday", "of before the opening"),
        ("tomorrow", "still to come"),
    ):
        house = morning
        house.at = {
            "stale": {"KO": ELEVEN - timedelta(minutes=21)},
            "yesterday": {"KO": ELEVEN - timedelta(hours=2)},
            "tomorrow": {"KO": ELEVEN + timedelta(minutes=2)},
        }.get(name, {})
        price = house.prices.pop("KO")
        if name != "old":
            house.prices["KO"] = D("4") if name == "wild" else price
        found = house.scan(ELEVEN)
        assert why in found.unpriced["KO"] and found.priced == 19 and not found.harvests
        house.prices["KO"] = price
    house.at = {}
    assert sold(house.scan()) == {("taxable-fifo", "KO")}


def test_an_account_whose_books_differ_from_its_brokers_sells_nothing(morning):
    morning.falls("0.34", "KO")
    morning.change(
        "INSERT INTO core.breaks BY NAME SELECT 'taxable-fifo' AS account_id, 'XOM' AS security_id, 'shares' AS kind, "
        "1 AS broker_quantity, 2 AS ledger_quantity, true AS blocks, false AS is_explained, 'nobody knows' AS guess"
    )
    found = morning.scan()
    assert found.left_out == {"taxable-fifo": "its books differ from its broker's: XOM"} and found.harvests == ()


def test_nothing_is_bought_instead_that_has_no_live_price(morning):
    morning.falls("0.34", "KO")
    price = morning.prices.pop("PG")  # the only one that moves with it
    found = morning.scan()
    assert found.harvests == () and found.unpriced == {"PG": "it has no live price"}
    morning.prices["PG"] = price
    assert [one.instead.security_id for one in morning.scan().harvests] == ["PG"]


def test_what_a_person_sold_today_is_not_proposed_and_what_was_decided_only_with_a_larger_loss(morning):
    morning.falls("0.34", "KO")
    found = morning.scan().harvests
    for loss, is_new in ((None, False), (D("1830.4"), True), (D("1831"), False)):  # 2288 / 1.25
        today = Today({("taxable-fifo", "KO"): loss}, frozenset())
        assert bool(anew(found, today, {}, D("0.25"))) is is_new
    assert anew(found, Today({}, frozenset({"cola"})), {"KO": "cola"}, D("0.25")) == []


# Over the wire ----------------------------------------------------------------------------------------


@pytest.fixture
def alpaca(morning, monkeypatch):
    """The household with Alpaca's live prices: a real server that answers with those of the morning."""
    with scripted() as server:
        for name, value in (
            ("THRESHER_ALPACA_DATA_URL", server.url),
            ("ALPACA_API_KEY", "k"),
            ("ALPACA_SECRET_KEY", "s"),
        ):
            monkeypatch.setenv(name, value)
        morning.falls("0.34", "KO")
        trades = {name: {"t": "2022-10-17T14:59:30Z", "p": float(price)} for name, price in morning.prices.items()}
        server.says("GET", "/v2/stocks/trades/latest", Answer(body={"trades": trades}))
        server.says("GET", "/v2/stocks/quotes/latest", Answer(body={"quotes": {}}))
        server.says("GET", "/v1/corporate-actions", Answer(body={"corporate_actions": {}, "next_page_token": None}))
        yield server


def over_the_wire(morning: Morning) -> Found:
    prices = Prices(source="alpaca", securities=str(morning.folder / "securities.csv"))
    portfolio = morning.settings.portfolio.model_copy(update={"prices": prices})
    return intraday(morning.settings.model_copy(update={"portfolio": portfolio}), ELEVEN)


def test_the_market_is_asked_once_for_all_that_it_needs(alpaca, morning):
    assert sold(over_the_wire(morning)) == {("taxable-fifo", "KO")}
    [asked] = [one for one in alpaca.asked if one.path == "/v2/stocks/trades/latest"]
    assert set(asked.query["symbols"].split(",")) == morning.prices.keys()


def test_on_the_day_of_a_split_a_security_is_left_alone(alpaca, morning):
    split = {
        "id": "1",
        "ex_date": "2022-10-17",
        "process_date": "2022-10-17",
        "symbol": "KO",
        "new_rate": 3,
        "old_rate": 2,
    }
    told = {"corporate_actions": {"forward_splits": [split]}, "next_page_token": None}
    alpaca.says("GET", "/v1/corporate-actions", Answer(body=told))
    found = over_the_wire(morning)
    assert found.unpriced == {"KO": "a split today: its price is that of other shares than those booked"}
    assert found.harvests == ()


def test_when_the_market_does_not_answer_nothing_is_guessed(alpaca, morning):
    alpaca.says("GET", "/v2/stocks/trades/latest", Answer(401, {"message": "no"}))
    found = over_the_wire(morning)
    assert found.skipped.startswith("no live prices: ") and morning.batches() == []
