"""The method `index` on a small household: what it buys, what it harvests, what it leaves alone and why."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import _without_report
from small import Small

from flows.daily import daily
from flows.day import Day, day_of
from flows.decide import decide_now
from flows.index import index
from flows.settings import SettingsError
from flows.summary import summary
from transforms.index.tilts import scores, size
from transforms.orders.arbiter import Proposed
from warehouse.db import Warehouse, writer

AS_OF = date(2026, 3, 6)
NOW = datetime(2026, 3, 6, 22)
COUNT, SECTORS = 20, 4
NAMES = [f"N{at:02}" for at in range(COUNT)]
PRICES = {name: 20.0 + 4 * at for at, name in enumerate(NAMES)}
WEIGHT = {name: 0.2 / (at + 1) for at, name in enumerate(NAMES)}
TOTAL = sum(WEIGHT.values())
RELIEF = 'relief = "on_order"'
FOLLOW = '\n[[sleeves]]\nname = "index"\nmethod = "index"\naccounts = ["joint"]\n[index]\nconstituents = "index.csv"\n'


class Market(Small):
    """Twenty names that move with one market and four sectors for two years, drawn by a seed, and end where they should."""

    def run(self, as_of: date, **_: object) -> str:
        days = [day for n in range(700, -1, -1) if (day := as_of - timedelta(days=n)).weekday() < 5]
        draw = np.random.default_rng(4)
        moves = 0.008 * draw.normal(size=(len(days), 1)) + 0.004 * draw.normal(size=(len(days), SECTORS))
        returns = moves[:, np.arange(COUNT) % SECTORS] + 0.008 * draw.normal(size=(len(days), COUNT))
        level = np.exp(np.cumsum(returns, axis=0))
        closes = level / level[-1] * np.array(list(self._prices.values()))
        rows = [
            (name, day, float(closes[row, at]), float(closes[row, at]), 1_000_000)
            for at, name in enumerate(self._prices)
            for row, day in enumerate(days)
        ]
        frame = pl.DataFrame(rows, schema=["ticker", "date", "close", "adj_close", "volume"], orient="row")
        frame.write_parquet(self.home / "prices" / "us_x_daily_y.parquet")
        self.done = daily(self.settings(), as_of, step=_without_report)
        return self.done.summary.plain()


def constituents(house: Small, *more: str) -> None:
    rows = [f"{name},,sector {at % SECTORS},industry {at % 8},{WEIGHT[name]}" for at, name in enumerate(NAMES)]
    (house.home / "index.csv").write_text("\n".join(("symbol,name,sector,industry,weight", *rows, *more, "")))


def account(
    house: Small, name: str, kind: str, cash: float, lots: list[tuple[str, str, float, float]], more: str = ""
) -> None:
    house.account(name, type=kind, owner="joint" if kind == "taxable" else "self", more=more)
    lines = [f"{name}-c,2024-06-03T09:00:00,deposit,,,,,0,{cash:.2f},"]
    held = {"usd": cash}
    for n, (on, security, shares, price) in enumerate(lots):
        lines.append(f"{name}-{n}in,{on}T09:00:00,deposit,,,,,0,{shares * price:.2f},")
        lines.append(f"{name}-{n},{on}T10:00:00,trade,buy,{security},{shares},{price},0,{-shares * price:.2f},")
        held[security] = held.get(security, 0) + shares
    house.says(name, *lines)
    house.holds(name, AS_OF, **{what: f"{count:.10g}" for what, count in held.items()})


def made(
    path, cash: float, lots: list[tuple[str, str, float, float]], ira: list[tuple[str, str, float, float]], more: str
):
    house = Market(path / "house", PRICES)
    account(house, "joint", "taxable", cash, lots, more)
    account(house, "ira", "traditional_ira", 1.0, ira)
    house.policy = house.portfolio
    constituents(house)
    house.run(AS_OF)
    assert not house.ask("FROM core.breaks")
    return house


@pytest.fixture(scope="module")
def cash(tmp_path_factory):
    """$100,000 and nothing else."""
    return made(tmp_path_factory.mktemp("cash"), 100_000.0, [], [], RELIEF)


def index_lots(but: dict[str, float]) -> list[tuple[str, str, float, float]]:
    """$100,000 in the index, bought a year and a half ago at today's prices, or at another."""
    return [
        ("2024-09-03", name, round(100_000 * WEIGHT[name] / TOTAL / PRICES[name], 4), but.get(name, PRICES[name]))
        for name in NAMES
    ]


@pytest.fixture(scope="module")
def losses(tmp_path_factory):
    """The index, with N03, N04 and a young lot of N05 at half of what they cost; the IRA bought N04 two weeks ago."""
    young = ("2025-06-02", "N05", round(1000 / PRICES["N05"], 4), 2 * PRICES["N05"])
    lots = [*index_lots({"N03": 2 * PRICES["N03"], "N04": 2 * PRICES["N04"]}), young]
    return made(tmp_path_factory.mktemp("losses"), 50.0, lots, [("2026-02-20", "N04", 100, 40)], RELIEF)


@contextmanager
def books(house: Small, policy: str, relief: str) -> Iterator[tuple[Warehouse, Day]]:
    """The booked household under another policy; nothing of it is kept."""
    house.portfolio = house.policy.replace(RELIEF, relief) + policy
    with writer(house.settings().warehouse) as warehouse:
        warehouse.run("BEGIN TRANSACTION")
        warehouse._is_in_transaction = True
        try:
            yield warehouse, day_of(house.settings(), AS_OF, NOW)
        finally:
            warehouse.run("ROLLBACK")
            warehouse._is_in_transaction = False


def proposals(house: Small, policy: str, relief: str = RELIEF) -> tuple[list[Proposed], list[tuple[str, str, str]]]:
    with books(house, policy, relief) as (warehouse, day):
        trades = list(index(warehouse, day))
        left = warehouse.rows(
            "SELECT account_id, security_id, reason FROM core.left_alone WHERE method = 'index' ORDER BY ALL"
        )
        return trades, left.rows()


def bought(trades: list[Proposed]) -> dict[str, float]:
    return {t.security_id: float(t.quantity * t.price_usd) for t in trades if t.side == "buy"}


def sold(trades: list[Proposed]) -> set[str]:
    return {t.security_id for t in trades if t.side == "sell"}


def test_cash_becomes_the_index(cash):
    trades, left = proposals(cash, FOLLOW)
    assert left == [] and {t.proposal for t in trades} == {"index joint"}, "one proposal: whole or not at all"
    weights = {name: usd / 100_000 for name, usd in bought(trades).items()}
    assert weights == pytest.approx({name: WEIGHT[name] / TOTAL for name in NAMES}, abs=0.003)
    assert 97_500 < sum(bought(trades).values()) * 1.02 <= 100_000, "2 % is kept for prices that rise until the fills"
    assert "predicted tracking error at most 0.27%" in trades[0].reason and "cap 1.00%" in trades[0].reason


def test_without_a_sleeve_that_asks_for_it_nothing_is_proposed(cash):
    assert proposals(cash, '\n[index]\nconstituents = "index.csv"\n') == ([], [])


def test_what_is_excluded_is_not_bought_and_its_sector_keeps_its_weight(cash):
    trades, _ = proposals(cash, FOLLOW + 'employer = ["N06"]\nexclude = ["N10"]\nmax_tracking_error = 0.03\n')
    usd = bought(trades)
    assert not {"N06", "N10"} & usd.keys()
    sector = [name for at, name in enumerate(NAMES) if at % SECTORS == 2]
    assert sum(usd[name] for name in sector if name in usd) == pytest.approx(
        100_000 * sum(WEIGHT[name] for name in sector) / TOTAL, rel=0.03
    )


def test_exclusions_that_use_up_the_cap_are_refused_with_the_figure(cash):
    trades, [(account, _, reason)] = proposals(cash, FOLLOW + 'exclude_sectors = ["sector 0"]\n')
    assert trades == [] and account == "joint"
    assert "exclusions, tilts and the sample alone have a predicted tracking error of" in reason and "1.00%" in reason


def test_a_sample_holds_no_more_names_than_asked(cash):
    for count in (12, 5):
        trades, _ = proposals(cash, FOLLOW + f"names = {count}\nmax_tracking_error = 0.09\n")
        assert len(bought(trades)) == count


def test_what_is_not_in_the_sample_is_not_bought_instead_of_what_is_sold(cash, losses):
    policy = FOLLOW + "names = 10\nmax_tracking_error = 0.05\n"
    sample = set(bought(proposals(cash, policy)[0]))
    trades, _ = proposals(losses, policy)
    assert "N03" in sold(trades) and bought(trades) and set(bought(trades)) <= sample


def test_a_ticker_that_is_left_out_may_be_in_small_letters(cash):
    trades, left = proposals(cash, FOLLOW + 'exclude = ["n10"]\nemployer = [" n06 "]\nmax_tracking_error = 0.03\n')
    assert left == [] and trades and not {"N06", "N10"} & set(bought(trades))


def test_a_ticker_that_is_to_be_left_out_and_is_nowhere_is_told(cash):
    trades, left = proposals(cash, FOLLOW + 'exclude = ["N66"]\n')
    assert trades and left == [("", "N66", "is to be left out, and the index does not have it: is it spelled so?")]


def test_what_a_person_should_know_of_the_index_stands_in_the_days_summary(cash):
    with books(cash, FOLLOW + 'exclude = ["N66", "N77"]\nmax_turnover = 0.01\n', RELIEF) as (warehouse, day):
        assert list(index(warehouse, day)) == []
        lines = summary(warehouse, day, Path("page.html")).sections["Look at"]
    first, second = [line for line in lines if line.startswith("index")]
    assert first == "index: N66, N77: is to be left out, and the index does not have it: is it spelled so?"
    assert second.startswith(
        "index, joint: no plan keeps together: max_tracking_error, max_turnover; the least tracking"
    )


def test_a_name_with_an_old_price_is_not_bought_and_told(cash):
    with books(cash, FOLLOW, RELIEF) as (warehouse, day):
        warehouse.run("UPDATE core.latest_prices SET sessions_old = 9 WHERE security_id = 'N19'")
        trades = list(index(warehouse, day))
        [(name, reason)] = warehouse.rows("SELECT security_id, reason FROM core.left_alone").rows()
    assert trades and "N19" not in bought(trades)
    assert name == "N19" and reason == "its price is 9 sessions old: its weight is spread over its sector"


def test_prices_that_carry_no_risk_model_leave_the_accounts_alone_and_stop_nothing_else(cash):
    with books(cash, FOLLOW, RELIEF) as (warehouse, day):
        warehouse.run("DELETE FROM raw.prices WHERE session_on < '2026-02-01'")
        assert list(index(warehouse, day)) == []
        [(account, reason)] = warehouse.rows("SELECT account_id, reason FROM core.left_alone").rows()
    assert account == "joint" and "the prices carry no risk model: 23 sessions of returns are too few" in reason


def test_a_coin_with_prices_on_saturdays_makes_no_holes_in_the_history_of_stocks(cash):
    with books(cash, FOLLOW, RELIEF) as (warehouse, day):
        coin = "SELECT * REPLACE ('COIN' AS symbol, session_on + 1 AS session_on) FROM raw.prices WHERE symbol = 'N00'"
        warehouse.run(f"INSERT INTO raw.prices {coin}")
        trades = list(index(warehouse, day))
    assert bought(trades) == bought(proposals(cash, FOLLOW)[0])


def test_an_account_that_owes_more_than_it_holds_is_left_alone_and_told(losses):
    with books(losses, FOLLOW, RELIEF) as (warehouse, day):
        warehouse.run(
            "CREATE OR REPLACE VIEW mart.cash AS SELECT 'joint' AS account_id, -900000::DECIMAL(28, 6) AS cash_usd"
        )
        assert list(index(warehouse, day)) == []
        [(reason,)] = warehouse.rows("SELECT reason FROM core.left_alone").rows()
        said = summary(warehouse, day, Path("page")).plain()
        assert "joint owes $900,000.00 of cash, and may not borrow" in said
        assert "off its target" not in said, "without [targets] nothing is off one"
    assert reason == "no plan was looked for: the account has no value"


def test_of_two_that_sell_the_same_lot_the_lower_one_says_who_sells_it(losses):
    with books(losses, "", RELIEF) as (warehouse, day):
        lot, quantity = warehouse.rows(
            "SELECT lot_id, quantity FROM core.lots WHERE account_id = 'joint' AND security_id = 'N03' AND quantity > 0"
        ).row(0)
        what = (
            "joint",
            "sell",
            "N03",
            quantity,
            Decimal(32),
            f"{lot}:{quantity.normalize():f}",
            Decimal(0),
            Decimal(0),
            "so",
        )
        decide_now(warehouse, day, [Proposed(name, name, *what) for name in ("switch_back", "harvest")], "daily")
        refused = warehouse.rows("SELECT method, refusal FROM core.proposed_trades WHERE refusal <> ''").rows()
    assert refused == [("switch_back", "the harvest sells what it would sell of N03 in joint")]


def test_a_decision_keeps_to_what_the_policy_asks_for_besides(losses):
    free, _ = proposals(losses, FOLLOW + "risk_aversion = 1\n")

    def turnover(trades: list[Proposed]) -> float:
        return float(sum(t.quantity * t.price_usd for t in trades)) / 2 / 100_000

    slow, _ = proposals(losses, FOLLOW + "risk_aversion = 1\nmax_turnover = 0.03\n")
    assert turnover(free) > 0.04 and 0 < turnover(slow) <= 0.0305
    kept, _ = proposals(losses, FOLLOW + "risk_aversion = 1\nmin_days = 800\n")
    assert not sold(kept)
    near, _ = proposals(losses, FOLLOW + "risk_aversion = 0\nmax_tracking_error = 0.2\nmax_sector_drift = 0.001\n")
    lost = [t for t in near if t.security_id == "N03"]
    assert lost and sum(usd for name, usd in bought(near).items() if int(name[1:]) % SECTORS == 3) == pytest.approx(
        sum(
            float(t.quantity * t.price_usd) for t in near if t.side == "sell" and int(t.security_id[1:]) % SECTORS == 3
        ),
        abs=220,
    )


def test_a_decision_strays_from_the_targets_factors_no_further_than_asked(losses):
    sectors = [f"sector {at % SECTORS}" for at in range(COUNT)]
    score = dict(zip(NAMES, scores(size(np.array([*WEIGHT.values()])), sectors, "size"), strict=True))

    def strayed(policy: str) -> float:
        trades, _ = proposals(losses, FOLLOW + "risk_aversion = 0\nmax_tracking_error = 0.2\n" + policy)
        signed = [
            (1 if t.side == "buy" else -1) * float(t.quantity * t.price_usd) * score[t.security_id] for t in trades
        ]
        assert "N03" in sold(trades)
        return abs(sum(signed)) / 100_000

    assert strayed("") > 0.02
    assert strayed("max_factor_drift = { size = 0.005 }\n") < 0.006


def test_whole_shares_are_whole(cash):
    trades, _ = proposals(cash, FOLLOW, RELIEF + '\nshares = "whole"')
    assert trades and all(t.quantity == int(t.quantity) for t in trades)


def test_a_constituent_without_a_price_is_told_and_left_out(cash):
    constituents(cash, "GONE,Gone Inc.,sector 1,,0.001")
    try:
        trades, left = proposals(cash, FOLLOW)
    finally:
        constituents(cash)
    assert trades and left == [("", "GONE", "has no price: its weight is spread over its sector")]


def test_a_loss_is_harvested_and_one_that_an_ira_would_wash_is_not(losses):
    trades, left = proposals(losses, FOLLOW + "risk_aversion = 1\n")
    assert left == [] and "N03" in sold(trades) and "N03" not in bought(trades)
    assert "N04" not in sold(trades), "the IRA bought it two weeks ago: the loss would be gone for good"
    [sale] = [t for t in trades if t.security_id == "N03"]
    assert (
        sale.loss_usd == pytest.approx(sale.quantity * sale.price_usd, rel=Decimal("0.001")) and sale.tax_saved_usd > 0
    )
    assert sale.lots.startswith("joint-3:")


def test_what_is_sold_stays_within_the_cap(losses):
    dollars = []
    for cap in (0.05, 0.002):
        trades, _ = proposals(losses, FOLLOW + f"risk_aversion = 0\nmax_tracking_error = {cap}\n")
        dollars.append(sum(t.quantity * t.price_usd for t in trades if t.side == "sell"))
    assert 0 < dollars[1] < dollars[0] / 2


def test_a_broker_that_relieves_first_in_first_out_is_asked_for_its_oldest_lot_only(losses):
    """Of N05 the young lot is at a loss, and lies behind one that is not."""
    policy = FOLLOW + "risk_aversion = 0\nmax_tracking_error = 0.05\n"
    lots = {t.lots for t in proposals(losses, policy)[0] if t.security_id == "N05" and t.side == "sell"}
    assert any("joint-20:" in one for one in lots)
    fifo, _ = proposals(losses, policy, 'relief = "fifo_only"')
    assert "N03" in sold(fifo) and not any("joint-20" in t.lots for t in fifo)


def test_settings_that_cannot_be_meant_are_refused(cash):
    def said(policy: str) -> str:
        with pytest.raises(SettingsError) as wrong:
            proposals(cash, policy)
        return str(wrong.value)

    sleeve = '\n[[sleeves]]\nname = "i"\nmethod = "index"\n'
    assert "there is no [index]" in said(sleeve + 'accounts = ["joint"]\n')
    assert "the sleeve i follows the index: name its accounts" in said(sleeve + '[index]\nconstituents = "index.csv"\n')
    assert "nowhere.csv cannot be read" in said(FOLLOW.replace("index.csv", "nowhere.csv"))
    assert "no constituent has the sector 'Enrgy'" in said(FOLLOW + 'exclude_sectors = ["Enrgy"]\n')
    assert "the tilt 'value' needs a column of the constituents file" in said(FOLLOW + "tilts = { value = 0.5 }\n")
    assert "the top 21 of 20 constituents" in said(FOLLOW + "top = 21\n")
    constituents(cash, "SPLIT,Split, Inc.,sector 1,industry 1,0.1")
    try:
        assert "index.csv:22: more cells than the header has columns; a name with a comma needs quotes" in said(FOLLOW)
    finally:
        constituents(cash)


def test_a_wrong_file_is_told_before_anything_is_done(cash, tmp_path):
    house = Market(tmp_path / "house", PRICES)
    house.portfolio = cash.policy + FOLLOW.replace("index.csv", "nowhere.csv")
    with pytest.raises(SettingsError, match=r"nowhere\.csv cannot be read"):
        daily(house.settings(), AS_OF)
    assert not house.settings().warehouse.exists()


# Several accounts -------------------------------------------------------------------------------------

BOTH = FOLLOW.replace('["joint"]', '["joint", "mine"]') + "risk_aversion = 1\n"


def two(path, first: str) -> Market:
    """Both hold the index. In one N03 is at a loss, the other has none of it and cash for it; its N04 is at a loss."""
    house = Market(path / "house", PRICES)
    lots = {
        "joint": (50.0, index_lots({"N03": 2 * PRICES["N03"]})),
        "mine": (7_000.0, [lot for lot in index_lots({"N04": 2 * PRICES["N04"]}) if lot[1] != "N03"]),
    }
    for name in sorted(lots, key=lambda name: name != first):
        account(house, name, "taxable", *lots[name], RELIEF)
    house.policy = house.portfolio
    constituents(house)
    house.run(AS_OF)
    assert not house.ask("FROM core.breaks")
    return house


def by_account(trades: list[Proposed], name: str) -> list[Proposed]:
    return [t for t in trades if t.account_id == name]


@pytest.fixture(scope="module")
def joint_first(tmp_path_factory):
    return two(tmp_path_factory.mktemp("joint"), "joint")


def test_what_one_account_sells_at_a_loss_the_next_one_does_not_buy(joint_first):
    with books(joint_first, BOTH, RELIEF) as (warehouse, day):
        trades = list(index(warehouse, day))
        decide_now(warehouse, day, trades, "intraday")
        refused = warehouse.rows("SELECT DISTINCT refusal FROM core.proposed_trades").rows()
    joint, mine = by_account(trades, "joint"), by_account(trades, "mine")
    assert "N03" in sold(joint) and mine and "N03" not in bought(mine)
    assert refused == [("",)], "no plan is left out as a whole because of the other"


def test_what_one_account_buys_the_next_one_does_not_sell_at_a_loss(tmp_path):
    trades, _ = proposals(two(tmp_path, "mine"), BOTH)
    assert "N03" in bought(by_account(trades, "mine")) and "N03" not in sold(by_account(trades, "joint"))


def test_the_years_limit_on_losses_is_used_up_once(joint_first):
    """Beyond $3,000 a loss is worth less than the gain that it makes later: the second account has nothing to take."""
    once = "\n[harvest.benefit]\nlater_rate = 0.2\nhorizon_years = 1\ngrowth_rate = 0.0\n"
    trades, _ = proposals(joint_first, once + BOTH)
    assert "N03" in sold(by_account(trades, "joint")) and "N04" not in sold(by_account(trades, "mine"))
    alone, _ = proposals(joint_first, once + BOTH.replace('"joint", ', ""))
    assert "N04" in sold(alone)
