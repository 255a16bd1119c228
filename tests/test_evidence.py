"""What the gates look at is what the warehouse holds: on a small household's statements, prices and orders."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from small import Small

from flows.calendar import closes, opens
from flows.connectors import Delivery
from flows.day import REAL, Clock, Day
from flows.evidence import gather, held_back_by_gates
from flows.ingest import store
from flows.settings import Portfolio
from transforms.orders.evidence import Evidence, Line, Refusal
from warehouse.db import Warehouse, writer

D = Decimal
# Two sessions to settle: Thursday's sale pays on Monday.
THURSDAY, FRIDAY, MONDAY, TUESDAY = (date(2022, 10, n) for n in (13, 14, 17, 18))
KNOWN = datetime(2022, 10, 14, 22)
BOUGHT = [
    "J-0,2022-01-03,deposit,,,,,,20000,",
    "J-1,2022-01-04,trade,buy,HD,50,150,0,-7500.00,",
    "J-2,2022-01-04,trade,buy,KO,200,60,0,-12000.00,",
]


def made(home: Path) -> Small:
    house = Small(home, {"HD": 100.0, "KO": 60.0, "BBY": 50.0})
    house.portfolio += "[gates]\nmax_volume_rate = 1.0\n"
    house.account("joint")
    house.account("ira", type="traditional_ira", owner="self")
    house.says("ira", "I-0,2022-01-03,deposit,,,,,,10000,")
    house.holds("ira", FRIDAY, usd="10000")
    return house


def booked(house: Small, *rows: str, **held: str) -> Small:
    house.says("joint", *BOUGHT, *rows)
    house.holds("joint", FRIDAY, **{"HD": "50", "KO": "200", "usd": "500", **held})
    house.run(FRIDAY)
    return house


@pytest.fixture(scope="module")
def _calm(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return booked(made(tmp_path_factory.mktemp("calm") / "home"))


@pytest.fixture
def small(_calm: Small, tmp_path: Path) -> Small:
    """A household that is booked, and that a test may change."""
    house = copy(_calm)
    house.home = house.folder = tmp_path / "home"
    shutil.copytree(_calm.home, house.home)
    return house


@pytest.fixture
def unbooked(tmp_path: Path) -> Small:
    return made(tmp_path / "home")


@contextmanager
def asking(house: Small, **day: Any) -> Iterator[tuple[Warehouse, Day]]:
    settings = house.settings()
    changed: Portfolio | None = day.pop("portfolio", None)
    if changed:
        settings = settings.model_copy(update={"portfolio": changed})
    with writer(settings.warehouse) as warehouse:
        yield warehouse, Day(settings, FRIDAY, KNOWN, "test", **day)


def line(side: str, security_id: str, quantity: object, price: object, account: str = "joint", **more: Any) -> Line:
    number, pair = more.pop("line", 1), more.pop("pair", len(account))  # accounts have pairs of their own
    made = Line(f"b-{account}", number, pair, account, MONDAY, side, security_id, D(quantity), D(price), "", "auto")
    return made._replace(**more)


def asked(house: Small, *lines: Line, session_on: date = MONDAY, **day: Any) -> list[Refusal]:
    with asking(house, **day) as (warehouse, today):
        return held_back_by_gates(warehouse, today, list(lines), session_on)


def evidence(house: Small, *lines: Line, **day: Any) -> Evidence:
    with asking(house, **day) as (warehouse, today):
        return gather(warehouse, today, lines, MONDAY)


def gates(rows: list[Refusal]) -> set[str]:
    return {row.gate for row in rows}


def test_the_accounts_are_what_is_booked(small):
    seen = evidence(small)
    joint = seen.accounts["joint"]
    assert (joint.cash_usd, joint.held, joint.equity_usd) == (500, {"HD": 50, "KO": 200}, 500 + 5000 + 12_000)
    assert seen.equity_usd == 27_500
    assert (joint.unsound, joint.broken, joint.blocked) == ("", "", "")


def test_a_small_order_of_a_sound_account_goes(small):
    assert asked(small, line("sell", "KO", 10, 60), line("buy", "BBY", 11, 50, line=2)) == []


def test_a_difference_that_blocks_holds_its_account_back_and_no_other(unbooked):
    booked(unbooked, HD="49")
    rows = asked(unbooked, line("sell", "KO", 1, 60), line("buy", "BBY", 1, 50, "ira"))
    assert [(row.batch_id, row.gate) for row in rows] == [("b-joint", "books_differ")]
    assert "HD: broker 49" in rows[0].reason
    unbooked.change("UPDATE core.breaks SET blocks = false")
    assert asked(unbooked, line("sell", "KO", 1, 60)) == []


def test_both_kill_switches_say_where_they_stand(small):
    assert asked(small, line("sell", "KO", 1, 60)) == []
    (small.home / "STOP").touch()
    with asking(small) as (warehouse, day):
        [row] = held_back_by_gates(
            warehouse, day, [line("sell", "KO", 1, 60)], MONDAY, "the variable thresher-stop is set"
        )
    assert row.gate == "kill_switch"
    assert row.reason == "the file STOP is there: remove it to trade again; the variable thresher-stop is set"


# Wash sales -------------------------------------------------------------------------------------------


def test_a_purchase_is_held_back_that_would_wash_a_loss_which_the_household_has_realised(unbooked):
    booked(unbooked, "J-3,2022-10-03,trade,sell,HD,20,100,0,2000.00,", HD="30", usd="2500")
    [row] = asked(unbooked, line("buy", "HD", 5, 100, "ira"))
    assert row.gate == "wash_sale"
    assert "$250.00 of loss would be disallowed, $250.00 of it for good" in row.reason
    assert "joint sold 20 HD on 2022-10-03" in row.reason
    assert asked(unbooked, line("buy", "BBY", 5, 50, "ira")) == []


def test_a_sale_that_is_under_way_counts_for_what_its_wash_would_be(small):
    sent(small, line("sell", "HD", 10, 100))
    [row] = asked(small, line("buy", "HD", 5, 100, "ira"))
    assert row.gate == "wash_sale" and "$250.00" in row.reason


# Cash and what is under way ---------------------------------------------------------------------------


def sent(house: Small, one: Line, *events: tuple[str, str, int], mode: str = "auto") -> None:
    """Store a line as a decision whose order went out, and what the broker said of it: event, transaction, shares."""
    with writer(house.settings().warehouse) as warehouse:
        name = f"{one.batch_id}.{one.line}.1"
        decided(warehouse, one, mode)
        warehouse.add("ledger.intents", (name, one.batch_id, one.line, 1, one.quantity, None, None, one.lots, KNOWN))
        warehouse.add("ledger.order_events", *((name, *event, "", KNOWN) for event in events))


def decided(warehouse: Warehouse, one: Line, mode: str, digest: str = "digest") -> None:
    warehouse.add(
        "ledger.batches",
        (one.batch_id, one.account_id, MONDAY, KNOWN, FRIDAY, "hand", 1, digest, mode, "", "test", KNOWN),
    )
    zero = D(0)
    warehouse.add(
        "ledger.batch_lines",
        (
            one.batch_id, one.line, one.pair, "hand", one.side, one.security_id, one.quantity, one.price_usd, one.lots, zero,
            zero, "by hand", "", "",
        ),
    )  # fmt: skip


def test_an_order_under_way_counts_as_filled(small):
    sent(small, line("buy", "BBY", 8, 50, batch_id="first"))
    seen = evidence(small)
    assert (seen.accounts["joint"].cash_usd, seen.sent_usd) == (100, 400)
    assert seen.accounts["joint"].equity_usd == 17_500, "money has become shares"
    assert "BBY" not in seen.accounts["joint"].held, "and they may be sold when they are there"
    rows = asked(small, line("buy", "BBY", 3, 50))
    assert gates(rows) == {"cash", "leverage"} and "would lack $50.00" in rows[0].reason


def test_a_sale_under_way_pays_for_the_purchase_of_its_pair_and_its_shares_are_gone(small):
    sent(small, line("sell", "HD", 15, 100, batch_id="first"))
    assert asked(small, line("buy", "BBY", 34, 50)) == []
    assert evidence(small).pair_usd == {("first", 5): D(-1500)}
    assert gates(asked(small, line("sell", "HD", 36, "1"))) == {"position"}


@pytest.mark.parametrize(
    ("events", "cash", "traded"),
    [
        ([], 100, 400),
        ([("accepted", "", 0)], 100, 400),
        ([("rejected", "", 0)], 500, 0),
        ([("canceled", "", 0)], 500, 0),
        ([("fill", "X-1", 2), ("canceled", "", 2)], 400, 100),  # two were filled and are not booked yet
        ([("fill", "J-2", 8), ("filled", "", 8)], 500, 400),  # booked: the ledger has it
        ([("fill", "J-2", 2)], 200, 400),  # two of eight are booked, six may still be filled
    ],
)
def test_what_is_booked_counts_once(small, events, cash, traded):
    sent(small, line("buy", "BBY", 8, 50, batch_id="first"), *events)
    seen = evidence(small)
    assert (seen.accounts["joint"].cash_usd, seen.sent_usd) == (cash, traded)


def test_shares_bought_with_money_that_has_not_settled_wait_in_a_cash_account(unbooked):
    rows = [
        "J-3,2022-10-13,trade,sell,KO,100,60,0,6000.00,",
        "J-4,2022-10-13,trade,buy,BBY,120,50,0,-6000.00,",
        "J-5,2022-10-13,withdrawal,,,,,,-500,",
    ]
    booked(unbooked, *rows, KO="100", BBY="120", usd="0")
    sale = line("sell", "BBY", 10, 50)
    [row] = asked(unbooked, sale._replace(session_on=FRIDAY), session_on=FRIDAY)
    assert row.gate == "unsettled" and "10 shares of BBY" in row.reason
    assert asked(unbooked, sale) == [], "on Monday Thursday's sale has settled"
    unbooked.portfolio += "[gates.accounts.joint]\nis_margin = true\n"
    assert asked(unbooked, sale._replace(session_on=FRIDAY), session_on=FRIDAY) == [], "a margin account borrows it"


def test_an_account_may_borrow_where_both_limits_say_so(small):
    more = line("buy", "BBY", 20, 50)
    assert gates(asked(small, more)) == {"cash", "leverage"}
    small.portfolio += "[gates.accounts.joint]\nis_margin = true\n"
    [row] = asked(small, more)
    assert row.gate == "leverage" and "$18,000.00 of exposure on $17,500.00" in row.reason
    small.portfolio += "max_leverage = 1.03\n"
    assert asked(small, more) == []


def test_the_brokers_own_figures_are_heard(small):

    def says(**said: str) -> list[Refusal]:
        rows = pl.DataFrame(
            [{"line": n, "name": name, "value": value} for n, (name, value) in enumerate(said.items(), 1)],
            schema={"line": pl.Int64, "name": pl.String, "value": pl.String},
        )
        with asking(small) as (warehouse, day):
            store(warehouse, day, Delivery("joint", "balances", FRIDAY, rows))
        return asked(small, line("buy", "BBY", 8, 50))

    assert says(buying_power_usd="400.00") == []
    assert gates(says(buying_power_usd="399.99")) == {"buying_power"}
    assert gates(says(is_blocked="true")) == {"account"}
    [row] = says(buying_power_usd="1,000")
    assert row.gate == "account" and "buying_power_usd '1,000' is not a number" in row.reason


# Day trades, volume, the market -----------------------------------------------------------------------


def test_a_fourth_day_trade_in_five_sessions_needs_equity_while_the_broker_counts(unbooked):
    trades = [
        f"T-{n}{side},2022-10-1{n},trade,{side},BBY,1,50,0,{'-' if side == 'buy' else ''}50.00,"
        for n in (1, 2, 3)
        for side in ("buy", "sell")
    ]
    booked(unbooked, *trades)
    both = line("sell", "KO", 1, 60), line("buy", "KO", 1, 60, line=2, pair=2)
    assert asked(unbooked, *both) == [], "a cash account has no such rule"
    unbooked.portfolio += "[gates.accounts.joint]\nis_margin = true\n"
    rows = asked(unbooked, *both)
    assert [(row.line, row.gate) for row in rows] == [(2, "day_trade")], "the sale alone is no day trade"
    assert "day trade 4 in 5 sessions" in rows[0].reason and "$17,500" in rows[0].reason
    on_tuesday = [one._replace(session_on=TUESDAY) for one in both]
    assert asked(unbooked, *on_tuesday, session_on=TUESDAY) == [], "Tuesday's five sessions begin on Wednesday"


def test_an_order_is_a_hundredth_of_the_volume_at_most(small):
    small.portfolio = small.portfolio.replace("max_volume_rate = 1.0", "")  # the prices tell 1,000 shares a session
    assert evidence(small, line("buy", "BBY", 1, 50)).securities["BBY"].daily_volume_usd == 50_000
    assert asked(small, line("sell", "KO", 10, 60)) == []
    [row] = asked(small, line("sell", "KO", "10.01", 60))
    assert row.gate == "volume" and "$600.60 of KO" in row.reason and "$600.00" in row.reason


def test_after_a_fall_nothing_is_added(small):
    small.change("DELETE FROM core.risk WHERE metric = 'drawdown'")
    small.change("INSERT INTO core.risk VALUES ('drawdown', 0.21, 'fraction', true, '')")
    assert gates(asked(small, line("buy", "BBY", 1, 50))) == {"drawdown"}
    assert asked(small, line("sell", "KO", 1, 60), line("buy", "BBY", 1, 50, line=2)) == []


def test_gains_that_were_realised_in_the_session_count(unbooked):
    booked(unbooked, "J-3,2022-10-14,trade,sell,KO,50,60,0,3000.00,", KO="150", usd="3500")
    unbooked.change(
        "UPDATE core.disposals SET gain_usd = 12, sold_on = '2022-10-17', term = 'long' WHERE trade_id = 'J-3'"
    )
    assert evidence(unbooked).gained_usd == (0, 12)


@pytest.mark.parametrize(
    ("now", "waits", "falls"),
    [
        (opens(MONDAY), set(), set()),
        (datetime(2022, 10, 17, 13, 29, 59), {"market_closed"}, set()),
        (datetime(2022, 10, 15, 16), {"market_closed"}, set()),
        (closes(MONDAY), {"market_closed"}, {"expired"}),
    ],
)
def test_a_real_broker_lives_by_the_clock(small, now, waits, falls):
    portfolio = small.settings().portfolio
    real = portfolio.accounts[0].model_copy(update={"broker": "alpaca"})
    rows = asked(
        small,
        line("sell", "KO", 1, 60),
        line("buy", "BBY", 1, 50, "ira"),
        portfolio=portfolio.model_copy(update={"accounts": (real, *portfolio.accounts[1:])}),
        clock=Clock(lambda: now, REAL.sleep),
    )
    assert {row.batch_id for row in rows} <= {"b-joint"}, "the other account's broker keeps no time"
    assert {row.gate for row in rows if row.waits} == waits
    assert {row.gate for row in rows if not row.waits} == falls


def test_a_yes_is_to_the_lines_that_the_person_saw(small):
    one = line("sell", "KO", 1, 60, mode="approve")
    with asking(small) as (warehouse, _):
        decided(warehouse, one, "approve", "digest of now")
    assert [row.gate for row in asked(small, one) if row.waits] == ["not_approved"]
    small.change("INSERT INTO ledger.approvals VALUES ('b-joint', 'digest of before', 'accepted', '', now())")
    assert gates(asked(small, one)) == {"not_approved"}
    small.change("UPDATE ledger.approvals SET batch_hash = 'digest of now'")
    assert asked(small, one) == []
    small.change("UPDATE ledger.approvals SET verdict = 'refused'")
    assert gates(asked(small, one)) == {"not_approved"}


def test_a_line_that_can_be_nothing_is_refused_and_stops_nobody(small):
    nothing, gone = line("sell", "BBY", 0, 50, line=2, pair=2), line("sell", "KO", 1, 60, "closed")
    rows = asked(small, line("sell", "KO", 1, 60), nothing, gone)
    assert {(*row.key, row.gate) for row in rows} >= {("b-joint", 2, "price"), ("b-closed", 1, "account")}
    assert ("b-joint", 1) not in {row.key for row in rows}


def test_gates_of_an_account_that_is_not_listed_are_named(small):
    small.portfolio += "[gates.accounts.savings]\nis_margin = true\n"
    with pytest.raises(Exception, match=r"\[gates.accounts\] names accounts that are not listed: savings"):
        small.settings()
