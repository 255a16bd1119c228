"""The brokers against the ledger: every kind of difference made by changing the files, its guess, and whether it stops orders."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small import HEAD, Small

import flows.connectors.alpaca
import flows.connectors.brokers.alpaca
from flows.book import book
from flows.connectors import Delivery, Unavailable
from flows.daily import daily
from flows.day import Clock, Day, day_of
from flows.evidence import gather
from flows.ingest import PAUSES, _answer, ingest, store
from flows.reconcile import reconcile
from transforms.orders.gates import Line, refusals
from warehouse.db import Warehouse, writer

THURSDAY, FRIDAY, SATURDAY, MONDAY = (date(2026, 3, day) for day in (5, 6, 7, 9))
KNOWN = datetime(2026, 3, 20, 23)
BREAKS = "SELECT security_id, kind, broker_quantity, ledger_quantity, blocks FROM core.breaks ORDER BY ALL"
D = Decimal


class Moving(Small):
    """Prices that change: `moves` says what a security costs from a day on; a security may have none."""

    moves: tuple[tuple[date, str, float], ...] = ()
    without: tuple[str, ...] = ()
    ends: date | None = None

    def run(self, as_of: date, **_: object) -> str:
        days = [as_of - timedelta(days=n) for n in range(25)]
        rows = []
        for name, usual in self._prices.items():
            for day in sorted(day for day in days if day.weekday() < 5 and day <= (self.ends or as_of)):
                now = [usd for first, security, usd in self.moves if security == name and first <= day]
                if name not in self.without:
                    rows.append((name, day, now[-1] if now else usual, None, 1000))
        schema = {
            "ticker": pl.String,
            "date": pl.Date,
            "close": pl.Float64,
            "adj_close": pl.Float64,
            "volume": pl.Int64,
        }
        pl.DataFrame(rows, schema=schema, orient="row").write_parquet(self.home / "prices" / "us_x_daily_y.parquet")
        self.done = daily(
            self.settings(),
            as_of,
            step=lambda station, *given: None if station.__name__ == "report" else station(*given),
        )
        return self.done.summary.plain()

    def feed(self, *rows: str) -> None:
        head = "id,kind,symbol,on,ratio,new_symbol,cash_usd,payable_on"
        (self.home / "prices" / "corporate_actions.csv").write_text("\n".join((head, *rows, "")))

    def states(self, name: str, on: date, *rows: str) -> None:
        """Positions with their cost."""
        made = [f"{row},{on}" for row in rows]
        (self.home / f"{name}-positions.csv").write_text("\n".join(("symbol,quantity,cost_usd,as_of", *made, "")))

    def guesses(self) -> set[str]:
        return {said for (said,) in self.ask("SELECT guess FROM core.breaks")}


@pytest.fixture
def small(tmp_path: Path) -> Moving:
    made = Moving(tmp_path / "home", {"ABC": 12.0, "NEW": 5.0, "XYZ": 40.0})
    made.account("joint")
    return made


PAID_IN = "D-1,2026-01-02,deposit,,,,,,10000,"
BOUGHT = "B-1,2026-01-05,trade,buy,ABC,100,30,0,-3000,"
DIVIDEND = "V-1,2026-03-04,dividend,,ABC,,,,24,"

# What a statement says, and when ----------------------------------------------------------------------


def test_nothing_differs_on_the_demo_and_nothing_alarms(finished):
    for table in ("core.breaks", "core.alerts", "core.source_status WHERE warning <> '' OR NOT is_sound"):
        assert finished.ask(f"FROM {table}") == []
    assert finished.ask(
        "SELECT count(*) > 40, bool_and(broker_quantity = ledger_quantity) FROM mart.reconciliation"
    ) == [(True, True)]


def test_a_statement_of_a_day_without_trading_is_compared_with_the_ledger_of_that_day(small):
    later = "B-2,2026-03-09,trade,buy,ABC,10,12,0,-120,"
    small.says("joint", PAID_IN, BOUGHT, later)
    small.holds("joint", SATURDAY, ABC="100", usd="7000")
    small.run(MONDAY)
    assert small.ask("SELECT quantity FROM mart.positions") == [(110,)], "what came after the statement is booked"
    assert small.ask("FROM core.breaks") == []
    small.holds("joint", SATURDAY, ABC="101", usd="7001")
    small.run(MONDAY)
    assert small.ask(BREAKS) == [("ABC", "shares", 101, 100, True), ("USD", "cash", 7001, 7000, True)]


def test_files_that_state_no_position_leave_nothing_to_compare_and_files_without_cash_no_cash(small):
    small.says("joint", PAID_IN, BOUGHT)
    small.holds("joint", FRIDAY, ABC="100")
    small.run(FRIDAY)
    assert small.ask("FROM core.breaks") == []
    with writer(small.home / "warehouse.duckdb") as warehouse:
        day = day_of(small.settings(), FRIDAY, KNOWN)
        nothing = pl.DataFrame(schema={"line": pl.Int64, "symbol": pl.String, "quantity": pl.String})
        store(warehouse, day, Delivery("joint", "positions", FRIDAY, nothing))
        reconcile(warehouse, day, FRIDAY)
        assert warehouse.rows(BREAKS).is_empty()
        warehouse.run("UPDATE core.accounts SET broker = 'alpaca'")
        reconcile(warehouse, day, FRIDAY)
        assert warehouse.rows(BREAKS).rows() == [
            ("ABC", "shares", 0, 100, True), ("USD", "cash", 0, 7000, True),
        ], "a broker that answers with no position says that nothing is held"  # fmt: skip


# Shares and cash: each cause --------------------------------------------------------------------------

MORE = "the broker reports more than the ledger: a purchase, deposit or transfer is missing"
UNSETTLED = "the broker's cash leaves out trades that have not settled: it is settled cash, not cash by trade date"
CAUSES = {
    "a purchase that the activities lack": (
        [PAID_IN, BOUGHT], {"ABC": "110", "usd": "6880"}, [],
        [("ABC", "shares", 110, 100, True), ("USD", "cash", 6880, 7000, True)], {"a purchase of 10 ABC at about $12.00 is missing"},
    ),
    "a sale that the activities lack": (
        [PAID_IN, BOUGHT], {"ABC": "75", "usd": "7300"}, [],
        [("ABC", "shares", 75, 100, True), ("USD", "cash", 7300, 7000, True)], {"a sale of 25 ABC at about $12.00 is missing"},
    ),
    "shares that went without cash": (
        [PAID_IN, BOUGHT], {"ABC": "73", "usd": "7000"}, [],
        [("ABC", "shares", 73, 100, True)], {"the broker reports less than the ledger: a sale or transfer is missing"},
    ),
    "cash that came": (
        [PAID_IN, BOUGHT], {"ABC": "100", "usd": "7500"}, [],
        [("USD", "cash", 7500, 7000, True)], {MORE},
    ),
    "a cent": (
        [PAID_IN, BOUGHT], {"ABC": "100", "usd": "7000.01"}, [],
        [("USD", "cash", D("7000.01"), 7000, True)], {MORE},
    ),
    "a dividend of the feed that the activities lack": (
        [PAID_IN, BOUGHT], {"ABC": "100", "usd": "7024"}, ["1,dividend,ABC,2026-02-20,,,0.24,2026-03-04"],
        [("USD", "cash", 7024, 7000, True)], {"the dividend of ABC, ex 2026-02-20, is missing"},
    ),
    "a dividend that the broker has not paid": (
        [PAID_IN, BOUGHT, DIVIDEND], {"ABC": "100", "usd": "7000"}, [],
        [("USD", "cash", 7000, 7024, True)], {"the dividend of ABC of 2026-03-04 is booked (V-1) and pending at the broker"},
    ),
    "a reinvestment that the activities lack": (
        [PAID_IN, BOUGHT, DIVIDEND], {"ABC": "102", "usd": "7000"}, [],
        [("ABC", "shares", 102, 100, True), ("USD", "cash", 7000, 7024, True)],
        {"the reinvestment of the dividend of 2026-03-04 is missing"},
    ),
    "a dividend of the feed and its reinvestment, both lacking": (
        [PAID_IN, BOUGHT], {"ABC": "102", "usd": "7000"}, ["1,dividend,ABC,2026-02-20,,,0.24,2026-03-04"],
        [("ABC", "shares", 102, 100, True)], {"the reinvestment of the dividend of 2026-02-20 is missing"},
    ),
    "cash that is settled cash": (
        [PAID_IN, BOUGHT, "S-1,2026-03-06,trade,sell,ABC,50,12,0,600,"], {"ABC": "50", "usd": "7000"}, [],
        [("USD", "cash", 7000, 7600, True)], {UNSETTLED},
    ),
    "one of two trades not settled": (
        [PAID_IN, BOUGHT, "S-1,2026-03-06,trade,sell,ABC,50,12,0,600,", "S-2,2026-03-06,trade,sell,ABC,10,12,0,120,"],
        {"ABC": "40", "usd": "7120"}, [],
        [("USD", "cash", 7120, 7720, True)], {"trade S-1 has not settled, and the broker's cash leaves it out"},
    ),
    "a fee that one side counts": (
        [PAID_IN, BOUGHT, "S-1,2026-03-02,trade,sell,ABC,50,12,1.50,598.50,"], {"ABC": "50", "usd": "7600"}, [],
        [("USD", "cash", 7600, D("7598.5"), True)], {"it is the fee of S-1, $1.50: one side counts it and the other does not"},
    ),
    "a fee of the account": (
        [PAID_IN, BOUGHT], {"ABC": "100", "usd": "6975"}, [],
        [("USD", "cash", 6975, 7000, True)], {"the broker reports a little less than the ledger: a fee or a tax withheld is missing"},
    ),
    "a new symbol": (
        [PAID_IN, BOUGHT], {"NEW": "100", "usd": "7000"}, [],
        [("ABC", "shares", 0, 100, True), ("NEW", "shares", 100, 0, True)],
        {"ABC is NEW at the broker, as many shares: a symbol change is missing"},
    ),
    "a new symbol that the feed has": (
        [PAID_IN, BOUGHT], {"NEW": "100", "usd": "7000"}, ["1,symbol_change,ABC,2026-03-03,,NEW,,"],
        [("ABC", "shares", 0, 100, True), ("NEW", "shares", 100, 0, True)],
        {"ABC is NEW at the broker, as many shares: the market's feed says so, a symbol change is missing"},
    ),
    "a split": (
        [PAID_IN, BOUGHT], {"ABC": "300", "usd": "7000"}, [],
        [("ABC", "shares", 300, 100, True)], {"the broker holds 3:1 of what the ledger does: a split is missing"},
    ),
    "a split that the feed has": (
        [PAID_IN, BOUGHT], {"ABC": "700", "usd": "7000"}, ["1,split,ABC,2026-03-03,7:1,,,"],
        [("ABC", "shares", 700, 100, True)], {"the split 7:1 of 2026-03-03 is in the market's feed and not among the activities"},
    ),
    "a row that was set aside": (
        [PAID_IN, BOUGHT, "B-2,2026-03-03,trade,buy,ABC,ten,12,0,-120,"], {"ABC": "110", "usd": "6880"}, [],
        [("ABC", "shares", 110, 100, True), ("USD", "cash", 6880, 7000, True)],
        {"rows of this account were set aside; correct them at the source"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES)
def test_what_differs_is_a_break_that_stops_orders_and_says_the_likely_cause(small, cause):
    rows, held, told, differences, guesses = CAUSES[cause]
    small.says("joint", *rows)
    small.holds("joint", FRIDAY, **held)
    small.feed(*told)
    text = small.run(FRIDAY)
    assert small.ask(BREAKS) == differences
    assert small.guesses() == guesses
    assert all(said in text for said in guesses), "the summary says it"
    assert small.ask("SELECT difference, unit FROM mart.breaks ORDER BY security_id") == [
        (broker - ledger, "shares" if kind == "shares" else "USD") for _, kind, broker, ledger, _ in differences
    ]


def test_a_fill_that_has_not_come_is_named_by_its_order(day_after):
    """The broker holds what an order of ours bought; the activities lost the fill."""
    [(bought, shares)] = day_after.ask(
        "SELECT security_id, quantity FROM stg.transactions WHERE account_id = 'taxable-fifo' AND side = 'buy' "
        "AND transaction_id LIKE 'fill-%'"
    )
    on = date(2022, 10, 17)
    with writer(day_after.folder / "warehouse.duckdb") as warehouse:
        gone = f"FROM ledger.transactions WHERE account_id = 'taxable-fifo' AND security_id = '{bought}' AND transaction_id LIKE 'fill-%'"
        [(name,)] = warehouse.rows(f"SELECT transaction_id {gone}").rows()
        warehouse.run(f"DELETE {gone}")
        warehouse.run(f"DELETE FROM raw.activities WHERE payload ->> 'id' = '{name}'")
        book(warehouse, day_of(day_after.settings(), date(2022, 10, 14), KNOWN), on)
        found = warehouse.rows(
            "SELECT security_id, broker_quantity - ledger_quantity, guess FROM core.breaks ORDER BY 1"
        ).rows()
    order = name.removeprefix("fill-")
    assert [row[0] for row in found] == sorted([bought, "USD"])
    assert {row[0]: row[1] for row in found}[bought] == shares
    assert {row[2] for row in found} == {f"order {order} was sent: its fill is not among the activities yet"}


# Settled cash -----------------------------------------------------------------------------------------

SOLD = "S-1,2026-03-06,trade,sell,ABC,50,12,0,600,"
SETTLED = [
    ("S-1,2026-03-06,trade,sell,ABC,50,12,0,600,", "7000", []),  # of the day: settles on Monday
    ("S-1,2026-03-05,trade,sell,ABC,50,12,0,600,", "7600", []),  # the session before: settled today
    ("V-1,2026-03-06,dividend,,ABC,,,,600,", "7600", []),  # no trade: settles on its day
    ("S-1,2026-03-05,trade,sell,ABC,50,12,0,600,", "7000", [(7000, 7600, False, True)]),  # a session later than the rule
    ("S-1,2026-03-06,trade,sell,ABC,50,12,0,600,", "7600", [(7600, 7000, True, False)]),  # before the rule
    ("S-1,2026-03-06,trade,sell,ABC,50,12,0,600,", "6999.99", [(D("6999.99"), 7000, True, False)]),
]  # fmt: skip


@pytest.mark.parametrize(("row", "settled", "found"), SETTLED)
def test_settled_cash_is_that_of_trades_from_their_settlement_on(small, row, settled, found):
    small.says("joint", PAID_IN, BOUGHT, row)
    shares = "100" if "dividend" in row else "50"
    small.holds("joint", FRIDAY, ABC=shares, usd="7600", **{"USD.settled": settled})
    small.run(FRIDAY)
    query = "SELECT broker_quantity, ledger_quantity, blocks, is_explained FROM core.breaks WHERE kind = 'settled cash'"
    assert small.ask(query) == found
    assert small.ask("FROM core.breaks WHERE kind <> 'settled cash'") == []


# Cost -------------------------------------------------------------------------------------------------


def cost_of(house: Moving) -> list[tuple]:
    assert house.ask("FROM core.breaks WHERE kind <> 'cost' OR blocks") == [], "cost stops nothing"
    return house.ask(
        "SELECT account_id, broker_quantity, ledger_quantity, is_explained, guess FROM core.breaks ORDER BY ALL"
    )


TWO_LOTS = (
    PAID_IN,
    BOUGHT,
    "B-2,2026-02-02,trade,buy,ABC,100,40,0,-4000,",
    "S-1,2026-03-02,trade,sell,ABC,50,31,0,1550,",
)


@pytest.mark.parametrize(
    ("cost", "is_explained", "said"),
    [
        ("5500", None, ""),  # first in, first out: 50 of 30 and 100 of 40
        ("5500.02", None, ""),  # rounding: a cent a lot
        ("5250", True, "the broker tells an average cost"),
        ("5250.60", True, "the broker tells an average cost"),  # an average price of 35.004, told as 35.00
        ("5000", False, "nothing known explains the broker's cost"),
        ("", None, ""),  # it does not say
    ],
)
def test_a_cost_that_differs_is_explained_or_warned_of_and_stops_nothing(small, cost, is_explained, said):
    small.says("joint", *TWO_LOTS)
    small.states("joint", FRIDAY, f"ABC,150,{cost}", "USD,4550,")
    text = small.run(FRIDAY)
    found = cost_of(small)
    assert [row[:4] for row in found] == ([] if is_explained is None else [("joint", D(cost), 5500, is_explained)])
    assert all(row[4].startswith(said) for row in found)
    assert ("the broker says 5000 cost of ABC, the ledger 5500" in text) == (is_explained is False), (
        "shown when not explained"
    )


WASHED = (
    PAID_IN,
    BOUGHT,
    "S-1,2026-03-02,trade,sell,ABC,100,20,0,2000,",
    "B-2,2026-03-03,trade,buy,ABC,100,21,0,-2100,",
)


def test_a_cost_without_the_brokers_own_wash_sale_is_explained(small):
    small.says("joint", *WASHED)
    small.states("joint", FRIDAY, "ABC,100,2100", "USD,6900,")
    small.run(FRIDAY)
    said = "the broker leaves out $1,000.00 of disallowed losses that wash sales added"
    assert cost_of(small) == [("joint", 2100, 3100, True, said)]
    small.states("joint", FRIDAY, "ABC,100,3100", "USD,6900,")
    small.run(FRIDAY)
    assert cost_of(small) == [], "with it the broker agrees"


def test_a_wash_sale_across_accounts_is_no_difference_for_the_broker_that_does_not_see_it(small):
    small.account("other", owner="self")
    small.says("joint", PAID_IN, BOUGHT, "S-1,2026-03-02,trade,sell,ABC,100,20,0,2000,")
    small.says("other", "D-2,2026-01-02,deposit,,,,,,10000,", "B-2,2026-03-03,trade,buy,ABC,100,21,0,-2100,")
    small.holds("joint", FRIDAY, usd="9000")
    small.states("other", FRIDAY, "ABC,100,2100", "USD,7900,")
    small.run(FRIDAY)
    assert small.ask("SELECT basis_usd FROM mart.positions") == [(3100,)] and cost_of(small) == []
    small.states("other", FRIDAY, "ABC,100,3100", "USD,7900,")
    small.run(FRIDAY)
    [row] = cost_of(small)
    assert row[:4] == ("other", 3100, 2100, True) and "wash sales with other accounts" in row[4]


def test_shares_that_came_from_elsewhere_may_have_no_basis_at_the_broker(small):
    came = "T-1,2026-01-05,inheritance,buy,ABC,100,30,0,0,"
    small.says("joint", PAID_IN, came)
    small.states("joint", FRIDAY, "ABC,100,0", "USD,10000,")
    small.run(FRIDAY)
    [row] = cost_of(small)
    assert row[:4] == ("joint", 0, 3000, True) and row[4].startswith("shares came from elsewhere")


def test_a_cost_that_cannot_be_read_is_said_and_its_quantity_counts(small):
    small.says("joint", PAID_IN, BOUGHT)
    small.states("joint", FRIDAY, "ABC,100,three", "USD,7000,")
    small.run(FRIDAY)
    assert small.ask("SELECT kind, reason FROM mart.set_aside") == [
        ("positions", "cost_usd cannot be read; the quantity counts")
    ]
    assert small.ask("FROM core.breaks") == []


# Splits, prices and dividends -------------------------------------------------------------------------

HALVED = ((FRIDAY, "ABC", 6.0),)


def test_a_price_that_halves_without_a_split_is_an_alert_that_names_the_ratio_and_its_orders_are_refused(small):
    small.says("joint", PAID_IN, BOUGHT)
    small.holds("joint", FRIDAY, ABC="100", usd="7000")
    small.moves = HALVED
    text = small.run(FRIDAY)
    [(security, kind, said)] = small.ask("SELECT security_id, kind, text FROM core.alerts")
    assert (security, kind) == ("ABC", "price") and "from $12 to $6, like a split 2:1" in said and said in text
    assert "its orders are refused" in said and refused_for_its_price(small, FRIDAY, "ABC").startswith("ABC moved -50%")
    assert small.ask("FROM core.breaks") == []


def test_a_price_that_halves_with_a_split_in_the_ledger_is_no_alert(small):
    small.says("joint", PAID_IN, BOUGHT, "X-1,2026-03-06,split,,ABC,,,,,,2:1", columns=",ratio")
    small.holds("joint", FRIDAY, ABC="200", usd="7000")
    small.moves = HALVED
    small.run(FRIDAY)
    assert small.ask("FROM core.alerts") == [] and small.ask("FROM core.breaks") == []


def test_a_split_of_the_feed_that_neither_broker_nor_ledger_has_done_stops_the_account(small):
    small.account("other")
    small.says("joint", PAID_IN, BOUGHT)
    small.says("other", "D-2,2026-01-02,deposit,,,,,,1000,", "B-2,2026-03-06,trade,buy,ABC,10,6,0,-60,")
    small.holds("joint", FRIDAY, ABC="100", usd="7000")
    small.holds("other", FRIDAY, ABC="10", usd="940")
    small.moves = HALVED
    small.feed("1,split,ABC,2026-03-06,2:1,,,", "2,split,XYZ,2026-03-06,3:1,,,", "3,split,ABC,2026-03-10,5:1,,,")
    small.run(FRIDAY)
    found = small.ask(
        "SELECT account_id, security_id, kind, broker_quantity, ledger_quantity, blocks, guess FROM core.breaks"
    )
    said = "the market's feed has a split 2:1 of 2026-03-06, the activities have none: bring it"
    assert found == [("joint", "ABC", "split", 200, 100, True, said)], "bought on the ex-date, shares are split already"
    assert small.ask("FROM core.alerts") == [], "the feed explains the price"


@pytest.mark.parametrize(("payable_on", "is_late"), [("2026-02-27", True), ("2026-03-03", False), ("", False)])
def test_a_dividend_of_the_feed_that_does_not_come_is_an_alert_some_days_after_it_is_paid(small, payable_on, is_late):
    small.account("other")
    small.says("joint", PAID_IN, BOUGHT)
    small.says(
        "other",
        "D-2,2026-01-02,deposit,,,,,,1000,",
        "B-2,2026-01-05,trade,buy,ABC,10,30,0,-300,",
        "V-2,2026-02-27,dividend,,ABC,,,,2.4,",
    )
    small.holds("joint", FRIDAY, ABC="100", usd="7000")
    small.holds("other", FRIDAY, ABC="10", usd="702.4")
    small.feed(f"1,dividend,ABC,2026-02-13,,,0.24,{payable_on}", "2,dividend,XYZ,2026-02-13,,,0.5,2026-02-20")
    small.run(FRIDAY)
    said = "the dividend of $0.24 a share, ex 2026-02-13, on 100 shares is in the market's feed and has not come"
    assert small.ask("SELECT account_id, security_id, text FROM core.alerts") == (
        [("joint", "ABC", said)] if is_late else []
    )
    assert small.ask("FROM core.breaks") == []


def refused_for_its_price(house: Moving, as_of: date, security: str) -> str:
    """What the price gate says of a sale of the security."""
    with writer(house.home / "warehouse.duckdb") as warehouse:
        day = day_of(house.settings(), as_of, KNOWN)
        line = Line("b", 1, 1, "joint", as_of + timedelta(days=3), "sell", security, D(10), D(12), "", "auto")
        found = refusals([line], gather(warehouse, day, [line], line.session_on))
        return "; ".join(row.reason for row in found if row.gate == "price")


def test_what_has_no_price_has_no_value_is_in_no_sum_and_is_not_traded(small):
    small.without = ("XYZ",)
    small.says("joint", PAID_IN, BOUGHT, "B-2,2026-01-05,trade,buy,XYZ,10,40,0,-400,")
    small.holds("joint", FRIDAY, ABC="100", XYZ="10", usd="6600")
    text = small.run(FRIDAY)
    assert small.ask("SELECT security_id, value_usd, gain_usd FROM mart.positions ORDER BY 1") == [
        ("ABC", 1200, -1800), ("XYZ", None, None),
    ]  # fmt: skip
    assert "XYZ sector" not in {name for (name,) in small.ask("SELECT asset_class FROM core.drift")}
    assert small.ask("SELECT sum(value_usd) FROM core.drift") == [(7800,)]
    [(security, said)] = small.ask("SELECT security_id, text FROM core.alerts")
    assert security == "XYZ" and said.startswith("no price in the last 30 days: its value is unknown") and said in text
    assert refused_for_its_price(small, FRIDAY, "XYZ").startswith("no price of XYZ")
    assert refused_for_its_price(small, FRIDAY, "ABC") == ""


def test_an_old_price_is_said_and_not_traded_on(small):
    small.says("joint", PAID_IN, BOUGHT)
    small.holds("joint", FRIDAY, ABC="100", usd="7000")
    small.ends = date(2026, 3, 3)
    small.run(FRIDAY)
    assert small.ask("SELECT text FROM core.alerts") == [
        ("its last price is of 2026-03-03, 3 sessions old: it is valued at that, and its orders are refused",)
    ]
    assert refused_for_its_price(small, FRIDAY, "ABC").startswith("no price of ABC")


def test_a_row_of_the_feed_that_cannot_be_used_is_set_aside_and_a_restated_one_counts_once(small):
    small.says("joint", PAID_IN)
    small.holds("joint", FRIDAY, usd="10000")
    small.feed(
        "1,dividend,ABC,2026-02-13,,,0.24,", "2,split,ABC,2026-02-13,,,,", "3,split,ABC,2026-02-13,2:0,,,", "4,rumour,ABC,2026-02-13,,,,",
        "5,dividend,ABC,13 February,,,0.24,", ",dividend,ABC,2026-02-14,,,0.24,", "6,dividend,ABC,2026-02-13,,,a lot,",
    )  # fmt: skip
    small.run(FRIDAY)
    reasons = dict(small.ask("SELECT line, reason FROM mart.set_aside WHERE kind = 'corporate_actions'"))
    assert sorted(reasons) == [3, 4, 5, 6, 7, 8]
    assert reasons[3] == "a split has no ratio" and reasons[4] == "ratio or cash_usd cannot be read"
    assert reasons[5].startswith("kind is not one of") and reasons[6] == "ex_on is missing or cannot be read"
    assert small.ask("SELECT action_id, cash_usd, ex_on FROM mart.corporate_actions") == [
        ("1", D("0.24"), date(2026, 2, 13))
    ]
    small.feed("1,dividend,ABC,2026-02-13,,,0.26,")
    small.run(MONDAY)
    assert small.ask("SELECT action_id, cash_usd FROM mart.corporate_actions WHERE security_id = 'ABC'") == [
        ("1", D("0.26"))
    ]
    assert small.ask("SELECT stated_on, is_sound FROM core.source_status WHERE kind = 'corporate_actions'") == [
        (MONDAY, True)
    ]


# Sources ----------------------------------------------------------------------------------------------


def test_a_bad_row_that_its_source_takes_away_is_forgotten(small):
    small.says("joint", PAID_IN, BOUGHT, "B-2,2026-03-03,trade,buy,ABC,ten,12,0,-120,")
    small.holds("joint", FRIDAY, ABC="100", usd="7000")
    small.run(FRIDAY)
    assert small.ask("SELECT count(*) FROM mart.set_aside") == [(1,)]
    small.says("joint", PAID_IN, BOUGHT)
    small.run(FRIDAY)
    assert small.ask("SELECT count(*) FROM mart.set_aside") == [(0,)]
    assert small.ask("SELECT transaction_id FROM stg.transactions ORDER BY 1") == [("B-1",), ("D-1",)]


@contextmanager
def warehouse_of(house: Moving, as_of: date) -> Iterator[tuple[Warehouse, Day]]:
    with writer(house.home / "warehouse.duckdb") as warehouse:
        yield warehouse, day_of(house.settings(), as_of, KNOWN)


def test_balances_are_those_of_the_latest_delivery_with_the_day_that_they_speak_for(small):
    def said(on: date, **values: str) -> Delivery:
        rows = [{"line": n, "name": name, "value": value} for n, (name, value) in enumerate(values.items(), 1)]
        return Delivery("joint", "balances", on, pl.DataFrame(rows, schema_overrides={"line": pl.Int64}))

    small.says("joint", PAID_IN)
    small.holds("joint", FRIDAY, usd="10000")
    with warehouse_of(small, FRIDAY) as (warehouse, day):
        store(warehouse, day, said(THURSDAY, equity_usd="9000", options_level="2"))
        store(warehouse, day, said(FRIDAY, equity_usd="9100.55", is_blocked="false", buying_power_usd=""))
        found = warehouse.rows("SELECT name, value, stated_on FROM stg.balances ORDER BY 1").rows()
        assert found == [
            ("buying_power_usd", "", FRIDAY),
            ("equity_usd", "9100.55", FRIDAY),
            ("is_blocked", "false", FRIDAY),
        ]
        assert warehouse.value("SELECT count(*) FROM raw.balances") == 5, "every delivery is kept"
        assert warehouse.rows("SELECT line, reason FROM core.set_aside WHERE kind = 'balances'").rows() == [
            (3, "value is empty")
        ]


def test_a_source_that_has_nothing_of_a_kind_makes_no_noise(finished, small):
    small.says("joint", PAID_IN)
    small.holds("joint", FRIDAY, usd="10000")
    small.run(FRIDAY)
    kinds = small.ask("SELECT source, kind, stated_on FROM core.source_status ORDER BY ALL")
    assert kinds == [
        ("folder", "prices", FRIDAY),
        ("folder", "securities", None),
        ("joint", "activities", FRIDAY),
        ("joint", "positions", FRIDAY),
    ]
    assert finished.ask("SELECT count(*) FROM core.source_status WHERE kind <> 'securities' AND stated_on IS NULL") == [
        (0,)
    ]


def test_a_new_column_warns_once_and_stops_nothing(small):
    small.says("joint", PAID_IN, BOUGHT)
    small.holds("joint", FRIDAY, ABC="100", usd="7000")
    small.run(FRIDAY)
    small.says("joint", f"{PAID_IN},,", f"{BOUGHT},,by phone", columns=",ratio,mood")
    small.holds("joint", MONDAY, ABC="100", usd="7000")
    text = small.run(MONDAY)
    said = "the activities of joint have columns that they never had: mood (kept, not read); ratio (read)"
    status = "SELECT is_sound, warning FROM core.source_status WHERE source = 'joint' AND kind = 'activities'"
    assert small.ask(status) == [(True, said)] and said in text
    assert small.ask(
        "SELECT payload ->> 'mood' FROM stg.activities WHERE transaction_id = 'B-1' AND payload ->> 'mood' <> ''"
    ) == [("by phone",)]
    small.run(MONDAY)
    assert small.ask(status) == [(True, "")]


SPLIT = "X-1,2026-02-02,split,,ABC,,,,,,3:1"


def test_a_column_that_is_gone_stops_its_source_and_the_ledger_keeps_what_it_knew_until_it_comes_back(small):
    small.account("other")
    small.says("other", "D-2,2026-01-02,deposit,,,,,,1000,")
    small.holds("other", FRIDAY, usd="1000")
    small.says("joint", f"{PAID_IN},,", f"{BOUGHT},,x", f"{SPLIT},", columns=",ratio,mood")
    small.holds("joint", FRIDAY, ABC="300", usd="7000")
    small.run(FRIDAY)
    gone = "SELECT source, is_sound, reason FROM core.source_status WHERE NOT is_sound"
    lots = "SELECT quantity FROM core.lots"
    assert (small.ask(gone), small.ask(lots)) == ([], [(300,)])
    for _ in range(2):  # it does not get used to it
        small.says("joint", PAID_IN, BOUGHT, SPLIT.removesuffix(",3:1"))
        text = small.run(FRIDAY)
        [(source, _, reason)] = small.ask(gone)
        assert source == "joint" and reason == "activities of joint: expected no column gone; found ['ratio']"
        [(aside,)] = small.ask("SELECT reason FROM mart.set_aside")
        assert aside.startswith("the column ratio is gone, and this row had a value there") and aside in text
        assert small.ask(lots) == [(300,)] and small.ask("FROM core.breaks") == []
    small.says("joint", PAID_IN, BOUGHT, SPLIT, columns=",ratio")
    small.run(FRIDAY)
    assert small.ask(gone) == [] and small.ask("FROM mart.set_aside") == [], (
        "the column mood is read by nobody and not missed"
    )


def test_rows_without_their_id_are_a_fault_of_their_source_alone(small):
    small.says("joint", PAID_IN)
    small.holds("joint", FRIDAY, usd="10000")
    with warehouse_of(small, FRIDAY) as (warehouse, day):
        rows = pl.DataFrame({"line": [1], "value": ["1"]})
        with pytest.raises(Unavailable, match="the balances of joint have no column name: nothing was taken"):
            store(warehouse, day, Delivery("joint", "balances", FRIDAY, rows))
        assert warehouse.value("SELECT count(*) FROM raw.deliveries") == 0


@pytest.mark.parametrize(
    ("fails", "may_pass", "pauses"),
    [(0, True, []), (2, True, list(PAUSES[:2])), (9, True, list(PAUSES)), (1, False, [])],
)
def test_a_source_is_asked_again_after_growing_pauses_while_that_can_help(fails, may_pass, pauses):
    slept: list[float] = []
    left = [fails]

    def ask() -> Delivery:
        if left[0]:
            left[0] -= 1
            raise Unavailable("not now", may_pass=may_pass)
        return Delivery("joint", "activities", FRIDAY, pl.DataFrame())

    if fails <= len(PAUSES) and may_pass:
        assert _answer(ask, PAUSES, slept.append).stated_on == FRIDAY
    else:
        with pytest.raises(Unavailable):
            _answer(ask, PAUSES, slept.append)
    assert slept == pauses == sorted(pauses)


def test_an_account_that_cannot_be_reached_is_one_source_down(small, monkeypatch):
    """Its keys are there, its broker is not: a port of this machine on which nobody listens."""
    for name in ("ALPACA_API_KEY", "ALPACA_SECRET_KEY"):
        monkeypatch.setenv(name, "not-a-key")
    monkeypatch.setattr(flows.connectors.alpaca, "WAITS", (0.0,) * 3)
    monkeypatch.setattr(flows.connectors.brokers.alpaca, "WAITS", (0.0,) * 3)
    monkeypatch.setenv("THRESHER_ALPACA_URL", "http://127.0.0.1:9")
    small.says("joint", PAID_IN, BOUGHT)
    small.holds("joint", FRIDAY, ABC="100", usd="7000")
    small.run(FRIDAY)
    slept: list[float] = []
    small.portfolio += '[[accounts]]\nid = "live"\nname = "live"\ntype = "taxable"\nowner = "self"\nbroker = "alpaca"\n'
    with warehouse_of(small, FRIDAY) as (warehouse, day):
        ingest(warehouse, day._replace(clock=Clock(lambda: KNOWN, slept.append)))
        status = warehouse.rows(
            "SELECT source, kind, is_sound FROM core.source_status WHERE source IN ('joint', 'live') ORDER BY ALL"
        ).rows()
    assert status == [
        ("joint", "activities", True), ("joint", "positions", True),
        ("live", "activities", False), ("live", "balances", False), ("live", "positions", False),
    ]  # fmt: skip
    assert slept[: len(PAUSES)] == list(PAUSES) and len(slept) == len(PAUSES), "of its other kinds it is asked once"


# Any ledger -------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "dividend", "fee", "deposit"]), st.sampled_from(["ABC", "XYZ"]),
        st.integers(1, 10**10), st.integers(100, 10**6), st.integers(0, 60),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


def written(steps: list[tuple]) -> list[dict[str, str]]:
    """The steps as rows of a history in which nothing is sold that is not there."""
    rows, held = [], {"ABC": D(0), "XYZ": D(0)}
    for number, (kind, security, nano, cents, day) in enumerate(sorted(steps, key=lambda step: step[4])):
        quantity, usd = D(nano) / 10**7, D(cents) / 100
        if kind == "sell":
            quantity = min(quantity, held[security])
            if not quantity:
                continue
        is_trade = kind in ("buy", "sell")
        sign = -1 if kind in ("buy", "fee") else 1
        amount = (quantity * usd).quantize(D("0.01")) if is_trade else usd
        held[security] += {"buy": quantity, "sell": -quantity}.get(kind, D(0))
        rows.append({
            "id": f"R-{number}", "at": str(date(2026, 1, 2) + timedelta(days=day)), "kind": "trade" if is_trade else kind,
            "side": kind if is_trade else "", "symbol": security if is_trade or kind == "dividend" else "",
            "quantity": f"{quantity:f}" if is_trade else "", "price_usd": f"{usd:f}" if is_trade else "", "fee_usd": "0",
            "amount_usd": f"{sign * amount:f}", "lots": "",
        })  # fmt: skip
    return rows


def added_up(rows: list[dict[str, str]]) -> dict[str, Decimal]:
    """Shares and cash by addition."""
    held = {"ABC": D(0), "XYZ": D(0), "USD": D(0)}
    for row in rows:
        held["USD"] += D(row["amount_usd"])
        if row["kind"] == "trade":
            held[row["symbol"]] += D(row["quantity"]) * (1 if row["side"] == "buy" else -1)
    return held


@pytest.fixture(scope="module")
def any_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Warehouse, Day]]:
    house = Moving(tmp_path_factory.mktemp("any") / "home", {"ABC": 12.0, "XYZ": 40.0})
    house.account("joint")
    house.says("joint")
    house.holds("joint", FRIDAY)
    with warehouse_of(house, FRIDAY) as (warehouse, day):
        store(warehouse, day, day.market().securities())
        yield warehouse, day


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=STEPS, data=st.data())
def test_a_broker_that_holds_what_the_rows_add_up_to_agrees_and_each_row_that_is_dropped_is_its_very_difference(
    any_ledger, steps, data
):
    warehouse, day = any_ledger
    rows = written(steps)
    assume(rows)
    dropped = data.draw(st.sampled_from(rows))
    rest = [row for row in rows if row is not dropped]
    assume(
        all(
            quantity >= 0
            for n in range(len(rest))
            for name, quantity in added_up(rest[: n + 1]).items()
            if name != "USD"
        )
    )

    def found(delivered: list[dict[str, str]]) -> dict[str, Decimal]:
        for table in ("raw.deliveries", "raw.activities", "raw.positions", "ledger.transactions", "core.set_aside"):
            warehouse.run(f"DELETE FROM {table}" + (" WHERE kind <> 'securities'" if table == "raw.deliveries" else ""))
        schema = {"line": pl.Int64, **dict.fromkeys(HEAD.split(","), pl.String)}
        activities = pl.DataFrame([{"line": n, **row} for n, row in enumerate(delivered, 2)], schema=schema)
        held = [
            {"line": n, "symbol": name, "quantity": f"{q:f}"}
            for n, (name, q) in enumerate(added_up(rows).items(), 2)
            if q or name == "USD"
        ]
        store(warehouse, day, Delivery("joint", "activities", FRIDAY, activities))
        store(
            warehouse,
            day,
            Delivery(
                "joint",
                "positions",
                FRIDAY,
                pl.DataFrame(held, schema={"line": pl.Int64, "symbol": pl.String, "quantity": pl.String}),
            ),
        )
        book(warehouse, day)
        assert warehouse.value("SELECT count(*) FROM mart.set_aside") == 0
        return dict(
            warehouse.rows(
                "SELECT security_id, broker_quantity - ledger_quantity FROM core.breaks WHERE blocks"
            ).iter_rows()
        )

    assert found(rows) == {}
    assert found(rest) == {name: difference for name, difference in added_up([dropped]).items() if difference}
