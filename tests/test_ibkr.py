"""Interactive Brokers at a gateway and a Flex service on loopback (ib_gateway.py): our wiring, not their behaviour."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from ib_gateway import (
    ALL_OPEN,
    CANCEL,
    DEPOSIT,
    DETAILS,
    EXECUTIONS,
    HISTORY,
    NEW_YORK,
    PLACE,
    REFERENCE,
    START,
    SUMMARY,
    TIME,
    TOKEN,
    FlexService,
    Gateway,
    at_ibkr,
    failed,
    flex_statement,
)  # fmt: skip
from pydantic import SecretStr

from flows.accounts import Account, Ibkr
from flows.connectors import Broker, Market, Order, OrderRejected, Unavailable
from flows.connectors.brokers import flex_service
from flows.connectors.brokers.flex_service import download
from flows.connectors.brokers.ibkr import IbkrBroker
from flows.connectors.brokers.ibkr_gateway import ask
from flows.connectors.markets.ibkr import IbkrMarket

FRIDAY, THURSDAY, WEDNESDAY = date(2026, 11, 20), date(2026, 11, 19), date(2026, 11, 18)


def order(name: str = "B-1-1", side: str = "buy", quantity: str = "10", symbol: str = "SPY", **other: object) -> Order:
    return Order(name, side, symbol, Decimal(quantity), "", THURSDAY, **other)  # type: ignore[arg-type]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[IbkrBroker, Gateway]]:
    with at_ibkr(monkeypatch) as both:
        yield both


def test_it_is_a_broker_and_a_market() -> None:
    broker: Broker = IbkrBroker(Account(id="a", name="a", type="taxable", owner="self", broker="ibkr"))
    market: Market = IbkrMarket(Ibkr(), Path("securities.csv"))
    assert broker and market


# Orders


def test_an_order_goes_out_under_its_name_with_its_limit_and_is_told_as_accepted(
    at: tuple[IbkrBroker, Gateway],
) -> None:
    broker, gateway = at
    state = broker.place_order(order(limit_usd=Decimal("650.25")))
    assert (state.client_order_id, state.event) == ("B-1-1", "accepted")
    [placed] = gateway.orders
    assert (placed.ref, placed.action, placed.quantity, placed.kind, placed.limit, placed.tif, placed.account) == (
        "B-1-1", "BUY", Decimal(10), "LMT", "650.25", "DAY", "DU1234567",
    )  # fmt: skip


@pytest.mark.parametrize("since", ["open", "filled", "Cancelled"])
def test_an_order_is_placed_once_whatever_became_of_it(at: tuple[IbkrBroker, Gateway], since: str) -> None:
    broker, gateway = at
    broker.place_order(order())
    if since == "filled":
        gateway.fill("B-1-1", "650")
    elif since != "open":
        gateway.end("B-1-1", since)
    again = broker.place_order(order())
    assert len(gateway.orders) == 1
    assert again.event == {"open": "accepted", "filled": "filled", "Cancelled": "canceled"}[since]


def test_an_order_that_only_its_executions_tell_of_is_not_placed_again(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    broker.place_order(order())
    gateway.fill("B-1-1", "650")
    gateway.orders.clear()  # gateways forget completed orders, when they restart for one
    gateway.tells_commissions = False
    assert broker.place_order(order()).event == "accepted"
    assert not gateway.orders


def test_an_order_whose_answer_was_lost_is_found_by_its_name_and_not_sent_again(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    gateway.loses_answer_to[PLACE] = 1
    with pytest.raises(Unavailable) as lost:
        broker.place_order(order())
    assert lost.value.may_pass and len(gateway.orders) == 1
    assert broker.place_order(order()).event == "accepted"
    assert len(gateway.orders) == 1


def test_a_refusal_says_the_gateways_words(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    gateway.refuses = "Insufficient buying power"
    with pytest.raises(OrderRejected, match=r"201.*Insufficient buying power"):
        broker.place_order(order())


def test_a_security_that_is_not_known_is_refused_before_anything_is_sent(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    with pytest.raises(OrderRejected, match="knows no security NOPE"):
        broker.place_order(order(symbol="NOPE"))
    assert PLACE not in gateway.asked


def test_a_class_of_shares_is_asked_for_in_their_spelling_and_told_in_ours(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    broker.place_order(order(symbol="BRK.B"))
    gateway.fill("B-1-1", "500")
    assert gateway.orders[0].symbol == "BRK B"
    assert broker.activities(FRIDAY).rows["symbol"].to_list()[-1] == "BRK.B"
    assert "BRK.B" in broker.positions(FRIDAY).rows["symbol"].to_list()


def test_shares_are_ordered_as_the_account_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_ibkr(monkeypatch, shares="whole") as (broker, gateway):
        with pytest.raises(OrderRejected, match=r"whole shares, not 1\.5 of SPY"):
            broker.place_order(order(quantity="1.5"))
        with pytest.raises(OrderRejected, match="no purchases in dollars"):
            broker.place_order(order(notional_usd=Decimal(1000)))
        assert not gateway.orders
    with at_ibkr(monkeypatch, shares="notional") as (broker, gateway):
        broker.place_order(order(notional_usd=Decimal("1000.50")))
        assert (gateway.orders[0].quantity, gateway.orders[0].cash_quantity) == (0, "1000.5")
    with at_ibkr(monkeypatch) as (broker, gateway):
        broker.place_order(order(quantity="1.5"))
        assert gateway.orders[0].quantity == Decimal("1.5")


def test_no_more_is_sold_than_is_held_and_not_on_sale_already(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    with pytest.raises(OrderRejected, match="has 0 of SPY to sell, not 10"):
        broker.place_order(order(side="sell"))
    gateway.held["SPY"] = (Decimal(15), Decimal(600))
    broker.place_order(order(side="sell"))
    gateway.fill("B-1-1", "650", "4")  # 11 are left, 6 of them on sale
    with pytest.raises(OrderRejected, match="has 5 of SPY to sell, not 6"):
        broker.place_order(order("B-2-1", side="sell", quantity="6"))
    assert broker.place_order(order("B-2-1", side="sell", quantity="5")).event == "accepted"


def test_the_states_of_an_earlier_day_hold_nothing_of_later_fills_and_ends(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    broker.place_order(order())
    broker.place_order(order("B-2-1"))
    gateway.fill("B-1-1", "650")
    gateway.end("B-2-1")
    assert [state.event for state in broker.order_states(THURSDAY)] == ["accepted", "accepted"]
    assert [state.event for state in broker.order_states(FRIDAY)] == [
        "accepted",
        "fill",
        "filled",
        "accepted",
        "canceled",
    ]


def test_an_order_is_canceled_and_one_that_ended_stays_so(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    broker.place_order(order())
    broker.cancel_order("B-1-1")
    assert gateway.orders[0].status == "Cancelled"
    broker.cancel_order("B-1-1")
    assert gateway.asked.count(CANCEL) == 1
    assert [state.event for state in broker.order_states(FRIDAY)] == ["accepted", "canceled"]
    with pytest.raises(OrderRejected, match="no order B-9"):
        broker.cancel_order("B-9")


def test_an_order_of_another_client_is_left_to_it(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    broker.place_order(order())
    gateway.orders[0].client_id = 7
    with pytest.raises(OrderRejected, match="placed by client 7"):
        broker.cancel_order("B-1-1")
    assert CANCEL not in gateway.asked


def test_lots_are_told_by_hand_and_until_when(at: tuple[IbkrBroker, Gateway]) -> None:
    with pytest.raises(OrderRejected, match=r"Tax Optimizer.*until 20:30.*L1:5"):
        at[0].tell_lots("B-1-1", "L1:5", FRIDAY)


# States, fills, activities


def test_an_order_tells_its_acceptance_its_fills_and_its_end_in_that_order(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    broker.place_order(order())
    gateway.fill("B-1-1", "650.12", "6", at=datetime(2026, 11, 20, 10, 1, tzinfo=NEW_YORK))
    gateway.fill("B-1-1", "650.11", "4", at=datetime(2026, 11, 20, 10, 0, tzinfo=NEW_YORK))
    states = broker.order_states(FRIDAY)
    assert [(state.event, state.quantity) for state in states] == [
        ("accepted", 0), ("fill", 4), ("fill", 6), ("filled", 10),
    ]  # fmt: skip
    assert {s.transaction_id for s in states[1:3]} == set(broker.activities(FRIDAY).rows["id"].to_list()[-2:])


def test_an_order_canceled_after_a_part_says_what_was_filled(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    broker.place_order(order())
    gateway.fill("B-1-1", "650", "4")
    gateway.end("B-1-1")
    assert [(s.event, s.quantity) for s in broker.order_states(FRIDAY)] == [
        ("accepted", 0),
        ("fill", 4),
        ("canceled", 4),
    ]


def test_a_fill_is_told_exactly_with_its_commission_in_new_york(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    broker.place_order(order(quantity="3"))
    gateway.fill("B-1-1", "33.33", commission="0.33125725", at=datetime(2026, 11, 20, 9, 31, 2, tzinfo=NEW_YORK))
    row = broker.activities(FRIDAY).rows.rows(named=True)[-1]
    assert (row["kind"], row["side"], row["at"], row["quantity"]) == ("trade", "buy", "2026-11-20T09:31:02", "3")
    assert (row["price_usd"], row["fee_usd"], row["amount_usd"]) == ("33.33", "0.331257", "-100.321257")


def test_a_sale_brings_its_proceeds_without_the_fee(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    gateway.held["SPY"] = (Decimal(10), Decimal(600))
    broker.place_order(order(side="sell"))
    gateway.fill("B-1-1", "650.10")
    assert Decimal(broker.activities(FRIDAY).rows["amount_usd"].to_list()[-1]) == 6500


def test_a_fill_waits_for_its_commission_and_its_order_with_it(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    broker.place_order(order())
    gateway.fill("B-1-1", "650")
    gateway.tells_commissions = False
    assert [state.event for state in broker.order_states(FRIDAY)] == ["accepted"]
    assert broker.activities(FRIDAY).rows.height == 1
    gateway.tells_commissions = True
    assert [state.event for state in broker.order_states(FRIDAY)] == ["accepted", "fill", "filled"]


def test_a_corrected_execution_replaces_the_one_before_it(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    broker.place_order(order())
    execution = gateway.fill("B-1-1", "650")
    gateway.correct(execution, "649.5")
    rows = broker.activities(FRIDAY).rows.rows(named=True)
    assert [(row["id"], row["price_usd"]) for row in rows[1:]] == [("0000e0d5.00000001.01", "649.5")]
    assert [(s.event, s.quantity) for s in broker.order_states(FRIDAY)] == [
        ("accepted", 0),
        ("fill", 10),
        ("filled", 10),
    ]


def flex_trade(execution: str, day: str = "20261120") -> str:
    return (
        '<Trades><Trade currency="USD" assetCategory="STK" symbol="SPY" tradeDate="{0}" dateTime="{0};163000" buySell="BUY" '
        'quantity="10" tradePrice="650" ibCommission="-1" ibCommissionCurrency="USD" netCash="-6501" tradeID="1" '
        'transactionID="11" {1} levelOfDetail="EXECUTION" transactionType="ExchTrade"/></Trades>'
    ).format(day, f'ibExecID="{execution}"' if execution else "")


def test_a_fill_is_the_same_row_when_the_statement_tells_it_the_day_after(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway()
    with at_ibkr(monkeypatch, gateway) as (broker, _):
        broker.place_order(order())
        execution = gateway.fill("B-1-1", "650")
        live = broker.activities(FRIDAY)
    with at_ibkr(monkeypatch, gateway, flex_statement(DEPOSIT + flex_trade(execution), to="20261120")) as (broker, _):
        told = broker.activities(FRIDAY)
    ours = ("id", "at", "kind", "side", "symbol", "quantity", "price_usd", "fee_usd", "amount_usd", "account")
    assert live.rows.select(ours).rows() == told.rows.select(ours).rows()
    assert (live.stated_on, told.stated_on, live.rows.columns) == (FRIDAY, FRIDAY, told.rows.columns)


def test_an_execution_that_the_statement_tells_already_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway()
    statement = flex_statement(flex_trade("0000e0d5.00000001.01.01"), to="20261119")
    with at_ibkr(monkeypatch, gateway, statement) as (broker, _):
        broker.place_order(order())
        gateway.fill("B-1-1", "650")
        assert broker.activities(FRIDAY).rows["id"].to_list() == ["0000e0d5.00000001.01"]


def test_a_query_without_the_executions_ids_is_refused_because_each_fill_would_count_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with at_ibkr(monkeypatch, statement=flex_statement(flex_trade("", "20261118"))) as (broker, _):
        with pytest.raises(Unavailable, match=r"leaves out ibExecID \(line 1\): tick IB Execution ID"):
            broker.activities(FRIDAY)
        assert broker.activities(WEDNESDAY).rows.height == 1


def test_activities_speak_as_far_as_the_statement_and_the_gateways_day_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_ibkr(monkeypatch) as (broker, gateway):  # the statement speaks to Thursday, the gateway's day is Friday
        assert broker.activities(THURSDAY).stated_on == THURSDAY
        assert broker.activities(FRIDAY).stated_on == FRIDAY
        gateway.now = datetime(2026, 11, 23, 8, 0, tzinfo=NEW_YORK)  # nobody tells Friday's executions any more
        assert broker.activities(FRIDAY).stated_on == THURSDAY


def test_rows_after_the_day_worked_on_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_ibkr(monkeypatch, statement=flex_statement(DEPOSIT + flex_trade("a.b.01.01", "20261119"))) as (broker, _):
        assert broker.activities(WEDNESDAY).rows["kind"].to_list() == ["deposit"]


def test_the_gateway_is_not_needed_for_days_that_the_statement_speaks_of(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_ibkr(monkeypatch) as (broker, gateway):
        broker.activities(THURSDAY)
        assert not gateway.asked


def test_without_a_query_the_account_is_not_known_and_the_message_says_what_to_do(
    at: tuple[IbkrBroker, Gateway],
) -> None:
    _, gateway = at
    account = Account(
        id="a", name="a", type="taxable", owner="self", broker="ibkr", ibkr=gateway.settings(flex_query="")
    )
    with pytest.raises(Unavailable, match="make an Activity Flex Query"):
        IbkrBroker(account).activities(FRIDAY)


# Positions, balances


def test_positions_are_told_with_average_cost_and_both_kinds_of_cash(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    gateway.held["SPY"], gateway.settled = (Decimal(10), Decimal("600.15")), Decimal("99000")
    held = {row["symbol"]: (row["quantity"], row["cost_usd"]) for row in broker.positions(FRIDAY).rows.rows(named=True)}
    assert held == {"SPY": ("10", "6001.50"), "USD": ("100000.00", ""), "USD.settled": ("99000", "")}


def test_positions_of_the_day_before_are_those_of_now_without_what_was_executed_since(
    at: tuple[IbkrBroker, Gateway],
) -> None:
    broker, gateway = at
    broker.place_order(order())
    gateway.fill("B-1-1", "650")
    assert dict(broker.positions(THURSDAY).rows.select("symbol", "quantity").rows())["USD"] == "100000.00"
    assert "SPY" not in broker.positions(THURSDAY).rows["symbol"]
    assert dict(broker.positions(FRIDAY).rows.select("symbol", "quantity").rows())["SPY"] == "10"


def test_positions_of_a_day_that_is_too_long_ago_are_not_made_up(at: tuple[IbkrBroker, Gateway]) -> None:
    with pytest.raises(Unavailable, match="what is held now, 2026-11-20, and not on 2026-11-18"):
        at[0].positions(WEDNESDAY)


def test_positions_of_the_statements_day_are_the_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    position = '<OpenPosition currency="USD" symbol="VTI" position="5" costBasisMoney="1000.01" reportDate="20261119"/>'
    with at_ibkr(monkeypatch, statement=flex_statement(position)) as (broker, gateway):
        assert broker.positions(THURSDAY).rows.select("symbol", "quantity", "cost_usd").rows() == [
            ("VTI", "5", "1000.01")
        ]
        assert not gateway.asked


def test_balances_are_in_dollars(at: tuple[IbkrBroker, Gateway]) -> None:
    assert at[0].balances(FRIDAY).rows.select("name", "value").rows() == [
        ("equity_usd", "100000.00"), ("buying_power_usd", "400000.00"),
    ]  # fmt: skip


# The connection


def test_a_dropped_connection_is_made_again_while_only_asking(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    gateway.drops_on.update({SUMMARY: 1, EXECUTIONS: 1, START: 1})
    assert broker.balances(FRIDAY).rows.height == 2
    gateway.drops_on[ALL_OPEN] = 1
    assert broker.order_states(FRIDAY) == []
    gateway.drops_on[START] = 1  # no order has gone out yet
    assert broker.place_order(order()).event == "accepted"


def test_a_gateway_that_keeps_dropping_is_unavailable_and_may_pass(at: tuple[IbkrBroker, Gateway]) -> None:
    broker, gateway = at
    gateway.drops_on[SUMMARY] = 99
    with pytest.raises(Unavailable, match="drops the connection") as lost:
        broker.balances(FRIDAY)
    assert lost.value.may_pass and gateway.asked.count(SUMMARY) == 4


@pytest.mark.parametrize("silent_to", [START, TIME, EXECUTIONS, DETAILS, PLACE], ids=str)
def test_no_call_waits_for_ever_on_a_gateway_that_falls_silent(at: tuple[IbkrBroker, Gateway], silent_to: int) -> None:
    _, gateway = at
    gateway.silent_to.add(silent_to)
    account = Account(
        id="a", name="a", type="taxable", owner="self", broker="ibkr", ibkr=gateway.settings(patience_seconds=0.2)
    )
    asks: dict[int, Callable[[IbkrBroker], object]] = {
        TIME: lambda b: b.positions(FRIDAY),
        START: lambda b: b.balances(FRIDAY),
    }
    started = time.monotonic()
    with pytest.raises(Unavailable, match="stays silent") as lost:
        asks.get(silent_to, lambda b: b.place_order(order()))(IbkrBroker(account))
    assert lost.value.may_pass and time.monotonic() - started < 6


@contextmanager
def deaf() -> Iterator[int]:
    """A port that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        for one in kept:
            one.close()


def test_a_port_that_accepts_and_says_nothing_is_given_up() -> None:
    with deaf() as port:
        account = Account(
            id="a", name="a", type="taxable", owner="self", broker="ibkr", ibkr=Ibkr(port=port, patience_seconds=0.2)
        )
        started = time.monotonic()
        with pytest.raises(Unavailable, match="stays silent"):
            IbkrBroker(account).balances(FRIDAY)
        assert time.monotonic() - started < 4


def test_where_no_gateway_is_the_message_says_what_to_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    account = Account(
        id="a", name="a", type="taxable", owner="self", broker="ibkr", ibkr=Ibkr(port=port, patience_seconds=0.1)
    )
    with pytest.raises(Unavailable, match=f"127.0.0.1:{port} .*start IB Gateway") as lost:
        IbkrBroker(account).order_states(FRIDAY)
    assert lost.value.may_pass


def test_it_answers_in_a_thread_that_runs_a_loop_of_its_own(at: tuple[IbkrBroker, Gateway]) -> None:
    async def asked() -> int:
        return at[0].balances(FRIDAY).rows.height

    assert asyncio.run(asked()) == 2


def test_a_login_with_several_accounts_needs_one_named(at: tuple[IbkrBroker, Gateway]) -> None:
    _, gateway = at
    gateway.accounts = ("DU1234567", "DU7654321")
    for account, says in (("", "has 2 accounts: name one"), ("DU0", "no account DU0")):
        settings = Account(
            id="a", name="a", type="taxable", owner="self", broker="ibkr", ibkr=gateway.settings(account=account)
        )
        with pytest.raises(Unavailable, match=says) as wrong:
            IbkrBroker(settings).order_states(FRIDAY)
        assert not wrong.value.may_pass


# The Flex web service


def test_a_statement_is_ordered_fetched_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    making = failed(1019, "Statement generation in progress. Please try again shortly.")
    with FlexService([making, making, flex_statement(DEPOSIT)]).running() as service:
        monkeypatch.setenv("IBKR_FLEX_URL", service.url)
        download("123456", SecretStr(TOKEN), tmp_path / "x.xml", waits.append)
    assert "FlexStatement" in (tmp_path / "x.xml").read_text()
    assert [(what, said["q"], said["v"], said["t"]) for what, said, _ in service.asked] == [
        ("SendRequest", "123456", "3", TOKEN), *[("GetStatement", "987654321", "3", TOKEN)] * 3,
    ]  # fmt: skip
    assert waits == [1.0, 2.0, 5.0] and service.asked[0][2] == "Java"


def test_too_many_requests_wait_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    with FlexService(
        [failed(1018, "Too many requests have been made from this token."), flex_statement()]
    ).running() as service:
        monkeypatch.setenv("IBKR_FLEX_URL", service.url)
        download("1", SecretStr(TOKEN), tmp_path / "x.xml", waits.append)
    assert waits == [1.0, 15.0]


@pytest.mark.parametrize(
    ("code", "words", "says", "may_pass", "asks"),
    [
        (1012, "Token has expired.", "the token has expired: make a new one", False, 1),
        (1015, f"Token {TOKEN} is invalid.", "the token is wrong", False, 1),
        (1014, "Query is invalid.", "flex_query names no query", False, 1),
        (1013, "IP restriction.", "tied to another internet address", False, 1),
        (1009, "The server is under heavy load.", "may pass by itself", True, 8),
        (1777, "Something new.", r"look at docs/ibkr\.md", False, 1),
    ],
)
def test_what_the_service_refuses_is_said_with_what_to_do_and_without_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str, says: str, may_pass: bool, asks: int
) -> None:
    with FlexService([], ordered=[failed(code, words)] * asks).running() as service:
        monkeypatch.setenv("IBKR_FLEX_URL", service.url)
        with pytest.raises(Unavailable, match=f"{code}.*{says}") as wrong:
            download("1", SecretStr(TOKEN), tmp_path / "x.xml", lambda _: None)
    assert wrong.value.may_pass is may_pass and len(service.asked) == asks
    assert TOKEN not in str(wrong.value)


@pytest.mark.parametrize("status", [302, 404, 500])
def test_no_failure_of_the_web_shows_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level("DEBUG")
    with FlexService(["<html/>"], status=status).running() as service:
        monkeypatch.setenv("IBKR_FLEX_URL", service.url)
        with pytest.raises(Unavailable, match=f"answers {status}") as wrong:
            download("1", SecretStr(TOKEN), tmp_path / "x.xml", lambda _: None)
    with pytest.raises(Unavailable, match="does not answer") as gone:
        download("1", SecretStr(TOKEN), tmp_path / "x.xml", lambda _: None)
    for seen in (wrong.value, gone.value):
        assert seen.__cause__ is None and TOKEN not in repr(seen) and TOKEN not in str(seen)
    assert TOKEN not in caplog.text and gone.value.may_pass


def test_no_redirect_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FlexService([REFERENCE]).running() as other:
        with FlexService([], status=302, location=other.url + "/SendRequest").running() as service:
            monkeypatch.setenv("IBKR_FLEX_URL", service.url)
            with pytest.raises(Unavailable, match="answers 302"):
                download("1", SecretStr(TOKEN), tmp_path / "x.xml", lambda _: None)
        assert not other.asked


def test_the_token_goes_to_no_other_machine_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBKR_FLEX_URL", "http://example.com/Flex")
    with pytest.raises(Unavailable, match="has to be https"):
        flex_service.service_url()
    monkeypatch.delenv("IBKR_FLEX_URL")
    assert flex_service.service_url().startswith("https://ndcdyn.interactivebrokers.com/")


def test_a_statement_is_fetched_once_in_a_while_and_not_for_every_question(monkeypatch: pytest.MonkeyPatch) -> None:
    with FlexService([flex_statement(DEPOSIT)]).running() as service, at_ibkr(monkeypatch) as (broker, gateway):
        monkeypatch.setenv("IBKR_FLEX_URL", service.url)
        broker.activities(THURSDAY)
        broker.activities(THURSDAY)
        other = Account(id="b", name="b", type="taxable", owner="self", broker="ibkr", ibkr=gateway.settings())
        IbkrBroker(other).activities(THURSDAY)
    assert [what for what, _, _ in service.asked] == ["SendRequest", "GetStatement"]


def test_a_query_of_other_accounts_is_refused_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_ibkr(monkeypatch, statement=flex_statement(account="U1")) as (_, gateway):
        account = Account(
            id="a", name="a", type="taxable", owner="self", broker="ibkr", ibkr=gateway.settings(account="U2")
        )
        with pytest.raises(Unavailable, match="tells of U1; name one"):
            IbkrBroker(account).activities(THURSDAY)


# Prices


@pytest.fixture
def market(tmp_path: Path) -> Iterator[tuple[IbkrMarket, Gateway]]:
    (securities := tmp_path / "securities.csv").write_text(
        "symbol,name,sector\nSPY,S&P 500,Stocks\nNOPE,Nothing,Stocks\n"
    )
    with Gateway().running() as gateway:
        yield IbkrMarket(gateway.settings(), securities), gateway


def test_daily_bars_are_told_with_those_adjusted_for_dividends(market: tuple[IbkrMarket, Gateway]) -> None:
    source, gateway = market
    gateway.bars[("SPY", "TRADES")] = [
        ("20261118", "648.5", "100"),
        ("20261119", "650.25", "200"),
        ("20261120", "651", "300"),
    ]
    gateway.bars[("SPY", "ADJUSTED_LAST")] = [("20261118", "647.5", "100"), ("20261119", "650.25", "200")]
    delivery = source.prices(WEDNESDAY, THURSDAY)
    assert delivery.rows.rows() == [("SPY", WEDNESDAY, 648.5, 647.5, 100), ("SPY", THURSDAY, 650.25, 650.25, 200)]
    assert delivery.stated_on == THURSDAY


def test_no_price_at_all_is_unavailable(market: tuple[IbkrMarket, Gateway]) -> None:
    with pytest.raises(Unavailable, match="no daily bars of any security"):
        market[0].prices(WEDNESDAY, THURSDAY)
    assert HISTORY in market[1].asked


def test_quotes_are_live_or_left_out(market: tuple[IbkrMarket, Gateway]) -> None:
    source, gateway = market
    gateway.known |= {"VTI", "QQQ"}
    gateway.quotes = {
        "SPY": ("650.10", "650.20", "650.15", 1),
        "VTI": ("300", "300.10", "", 1),
        "QQQ": ("600", "600.1", "600", 3),
    }
    quotes = source.quotes(["SPY", "VTI", "QQQ", "NOPE"])
    assert {(q.security_id, q.price_usd) for q in quotes} == {("SPY", Decimal("650.15")), ("VTI", Decimal("300.05"))}
    assert all(re.match(r"2026-11-20 21:30:00\+00:00", str(q.at)) for q in quotes)


def test_a_fault_of_ours_is_not_taken_for_the_gateways(at: tuple[IbkrBroker, Gateway]) -> None:
    async def wrong(_: object) -> None:
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        ask(at[1].settings(), wrong)
