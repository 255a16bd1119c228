"""Alpaca, asked over real HTTP: what is read of its answers, and what becomes of an order whose answer is lost."""

import json
import os
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from fnmatch import fnmatch
from pathlib import Path

import polars as pl
import pytest
from alpaca_answers import fill, nta
from scripted_http import CUT, HANG, Answer, Scripted, scripted

import flows.connectors.alpaca as wire
from flows.accounts import Account, Alpaca, AlpacaPrices
from flows.connectors import FINAL, Broker, Market, Order, OrderRejected, Unavailable
from flows.connectors.alpaca import WAITS, base_url
from flows.connectors.brokers.alpaca import AlpacaBroker
from flows.connectors.markets.alpaca import AlpacaMarket
from flows.secrets import SecretMissing, secret
from transforms import tables

KEY, HIDDEN = "PKPLANTED0000000", "planted/secret+do-not-print"
NAME = "2026-11-20.joint.daily.1.1.1"
DAY = date(2026, 11, 20)
ACCOUNT = {
    "cash": "1000.50",
    "equity": "5000",
    "buying_power": "2000",
    "status": "ACTIVE",
    "long_market_value": "4000",
    "daytrade_count": 1,
    "options_trading_level": "2",
    "account_blocked": False,
}
ORDER = Order(NAME, "buy", "AAPL", Decimal("1.5"), "", date(2026, 11, 19))
TOLD = {
    "id": "o-1",
    "client_order_id": NAME,
    "status": "accepted",
    "filled_qty": "0",
    "symbol": "AAPL",
    "submitted_at": "2026-11-20T14:30:00Z",
    "updated_at": "2026-11-20T14:30:00Z",
}


@pytest.fixture
def alpaca(monkeypatch):
    with scripted() as server:
        monkeypatch.setenv("THRESHER_ALPACA_URL", server.url)
        monkeypatch.setenv("THRESHER_ALPACA_DATA_URL", server.url)
        monkeypatch.setenv("ALPACA_API_KEY", KEY)
        monkeypatch.setenv("ALPACA_SECRET_KEY", HIDDEN)
        server.says("GET", "/v2/account", Answer(body=ACCOUNT))
        server.says("GET", "/v2/positions", Answer(body=[]))
        server.says("GET", "/v2/orders", Answer(body=[]))
        server.says("GET", "/v2/account/activities", Answer(body=[]))
        server.says("GET", "/v2/account/activities/FILL", Answer(body=[]))
        yield server


@pytest.fixture
def slept():
    return []


def account(**said) -> Account:
    return Account(id="joint", name="Joint", type="taxable", owner="joint", broker="alpaca", **said)


@pytest.fixture
def broker(alpaca, slept) -> Broker:
    return AlpacaBroker(account(), slept.append)


@pytest.fixture
def market(alpaca, slept, tmp_path) -> Market:
    (tmp_path / "securities.csv").write_text(
        "symbol,name,sector\nAAPL,Apple,Technology\nAAPL261218C00200000,Call,Options\nBTC/USD,Bitcoin,Coins\n"
    )
    return AlpacaMarket(AlpacaPrices(), tmp_path / "securities.csv", slept.append)


# Secrets -----------------------------------------------------------------------------------------------


def test_a_secret_shows_itself_only_to_who_opens_it(alpaca):
    held = secret("ALPACA_SECRET_KEY")
    assert HIDDEN not in f"{held} {held!r}" and held.get_secret_value() == HIDDEN


def test_a_secret_that_is_nowhere_says_both_places_where_it_is_looked_for(monkeypatch):
    monkeypatch.setattr("flows.secrets._from_block", lambda name: None)
    with pytest.raises(SecretMissing, match=r"ALPACA_IRA_API_KEY is not set: export it, .* alpaca-ira-api-key"):
        secret("ALPACA_IRA_API_KEY")


def test_a_missing_key_stops_its_account_only(monkeypatch, alpaca):
    monkeypatch.setattr("flows.secrets._from_block", lambda name: None)
    monkeypatch.delenv("ALPACA_SECRET_KEY")
    broker = AlpacaBroker(account())  # that is no fault yet
    with pytest.raises(Unavailable, match="ALPACA_SECRET_KEY is not set"):
        broker.positions(DAY)


def test_every_account_has_its_own_keys(monkeypatch, alpaca):
    monkeypatch.setenv("ALPACA_IRA_API_KEY", "PKIRA")
    monkeypatch.setenv("ALPACA_IRA_SECRET_KEY", "ira-secret")
    AlpacaBroker(account(alpaca=Alpaca(key_name="ALPACA_IRA"))).balances(DAY)
    AlpacaBroker(account()).balances(DAY)
    assert [one.headers["APCA-API-KEY-ID"] for one in alpaca.asked] == ["PKIRA", KEY]
    assert [one.headers["APCA-API-SECRET-KEY"] for one in alpaca.asked] == ["ira-secret", HIDDEN]


FAULTS = {
    "bad keys": Answer(401, {"code": 40110000, "message": f"request is not authorized for {KEY} {HIDDEN}"}),
    "forbidden": Answer(403, {"message": f"forbidden: {HIDDEN}"}),
    "refused": Answer(403, {"code": 40310000, "message": f"account {HIDDEN} may not"}),
    "a page": Answer(400, f"<html>{HIDDEN}</html>"),
    "nonsense": Answer(200, f"<html>{HIDDEN}</html>"),
    "down": Answer(503, f"<html>{HIDDEN}</html>"),
    "cut": CUT,
    "slow": HANG,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_shows_a_key(alpaca, broker, fault, monkeypatch, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setattr(wire, "TIMEOUT", (1.0, 0.2))
    alpaca.says("GET", "/v2/account", FAULTS[fault])
    alpaca.says("POST", "/v2/orders", FAULTS[fault])
    for ask in (lambda: broker.balances(DAY), lambda: broker.place_order(ORDER)):
        with pytest.raises((Unavailable, OrderRejected)) as told:
            ask()
        seen, shown = told.value, ""
        while seen is not None:
            shown += f"{seen} {seen!r} {vars(seen)}"
            seen = seen.__cause__
        assert KEY not in shown and HIDDEN not in shown
    assert KEY not in caplog.text and HIDDEN not in caplog.text
    assert HIDDEN not in repr(broker) + str(vars(broker))


def test_keys_go_over_https_or_to_this_machine_only(monkeypatch):
    monkeypatch.setenv("X", "http://alpaca.example")
    with pytest.raises(
        Unavailable, match=r"X points to http://alpaca\.example: it has to be https, or http on this machine"
    ):
        base_url("X", "https://paper-api.alpaca.markets")
    monkeypatch.setenv("X", "http://127.0.0.1:8765/")
    assert base_url("X", "") == "http://127.0.0.1:8765"


def test_paper_is_the_default_and_live_is_said(alpaca, monkeypatch):
    monkeypatch.delenv("THRESHER_ALPACA_URL")
    assert AlpacaBroker(account())._client._base_url == "https://paper-api.alpaca.markets"
    assert AlpacaBroker(account(alpaca=Alpaca(paper=False)))._client._base_url == "https://api.alpaca.markets"


# Asking ------------------------------------------------------------------------------------------------


def test_a_read_is_asked_again_with_growing_waits(alpaca, broker, slept):
    alpaca.says("GET", "/v2/account", Answer(503), CUT, Answer(504), Answer(body=ACCOUNT))
    assert broker.balances(DAY).rows.height
    assert len(slept) == 3 and all(wait <= slept[n] <= 1.25 * wait for n, wait in enumerate(WAITS))


def test_what_stays_down_is_unavailable_and_may_pass(alpaca, broker, slept):
    alpaca.says("GET", "/v2/account", Answer(500))
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1.* answers 500") as told:
        broker.balances(DAY)
    assert told.value.may_pass and len(slept) == len(WAITS)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17),
        ({"Retry-After": "Fri, 20 Nov 2026 15:00:30 GMT", "Date": "Fri, 20 Nov 2026 15:00:00 GMT"}, 30),
        ({"X-RateLimit-Reset": "1795186845", "Date": "Fri, 20 Nov 2026 15:00:00 GMT"}, None),
    ],
)
def test_a_429_says_how_long_to_wait(alpaca, broker, slept, headers, seconds):
    if seconds is None:
        seconds = 1795186845 - datetime(2026, 11, 20, 15, tzinfo=UTC).timestamp()
    alpaca.says("GET", "/v2/account", Answer(429, {"message": "too many"}, headers), Answer(body=ACCOUNT))
    broker.balances(DAY)
    assert slept == [seconds]


def test_a_request_that_is_not_answered_is_given_up(alpaca, broker, slept, monkeypatch):
    monkeypatch.setattr(wire, "TIMEOUT", (1.0, 0.2))
    alpaca.says("GET", "/v2/account", HANG)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="does not answer"):
        broker.balances(DAY)
    assert time.monotonic() - began < 10 and len(slept) == len(WAITS)


def test_who_asks_to_wait_for_minutes_is_down(alpaca, broker, slept):
    alpaca.says("GET", "/v2/account", Answer(429, {"message": "too many"}, {"Retry-After": "600"}))
    with pytest.raises(Unavailable, match="429") as told:
        broker.balances(DAY)
    assert told.value.may_pass and slept == []


@pytest.mark.parametrize(("status", "words"), [(401, "unauthorized."), (403, "forbidden.")])
def test_bad_keys_are_not_asked_again_and_reject_no_order(alpaca, broker, slept, status, words):
    alpaca.says("GET", "/v2/account", Answer(status, {"message": words}))
    alpaca.says("POST", "/v2/orders", Answer(status, {"message": words}))
    for ask in (lambda: broker.balances(DAY), lambda: broker.place_order(ORDER)):
        with pytest.raises(
            Unavailable, match=rf"refuses the keys ALPACA_API_KEY and ALPACA_SECRET_KEY \({status}: {words}"
        ) as told:
            ask()
        assert not told.value.may_pass
    assert len(alpaca.asked) == 2 and slept == []


def test_the_broker_is_there_while_the_prices_are_not(alpaca, broker, market):
    alpaca.says("GET", "/v2/stocks/bars", Answer(503))
    assert broker.balances(DAY).rows.height
    with pytest.raises(Unavailable):
        market.prices(DAY, DAY)


def test_the_prices_are_there_while_the_broker_is_not(alpaca, broker, market):
    alpaca.says("GET", "/v2/account", Answer(503))
    bar = {"t": "2026-11-20T05:00:00Z", "c": 10.5, "v": 100}
    alpaca.says("GET", "/v2/stocks/bars", Answer(body={"bars": {"AAPL": [bar]}, "next_page_token": None}))
    for path in ("/v1beta1/options/bars", "/v1beta3/crypto/us/bars"):
        alpaca.says("GET", path, Answer(body={"bars": {}, "next_page_token": None}))
    assert market.prices(DAY, DAY).rows.height == 1
    with pytest.raises(Unavailable):
        broker.positions(DAY)


# Orders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (ORDER, {"qty": "1.5", "type": "market"}),
        (ORDER._replace(quantity=Decimal("0.123456789")), {"qty": "0.123456789", "type": "market"}),
        (ORDER._replace(quantity=Decimal("100.000000000")), {"qty": "100", "type": "market"}),
        (ORDER._replace(notional_usd=Decimal("250.009")), {"notional": "250.00", "type": "market"}),
        (ORDER._replace(limit_usd=Decimal("10.019")), {"qty": "1.5", "type": "limit", "limit_price": "10.01"}),
        (ORDER._replace(limit_usd=Decimal("0.12345")), {"qty": "1.5", "type": "limit", "limit_price": "0.1234"}),
    ],
)
def test_an_order_goes_out_exactly_as_it_was_meant(alpaca, broker, order, said):
    alpaca.says("POST", "/v2/orders", Answer(body=TOLD))
    assert broker.place_order(order).event == "accepted"
    common = {"symbol": "AAPL", "side": "buy", "time_in_force": "day", "client_order_id": NAME}
    assert alpaca.asked[-1].body == common | said


def test_the_limit_of_a_sale_is_rounded_up(alpaca, broker):
    alpaca.says("GET", "/v2/positions/AAPL", Answer(body={"symbol": "AAPL", "qty": "2"}))
    alpaca.says("POST", "/v2/orders", Answer(body=TOLD))
    broker.place_order(ORDER._replace(side="sell", limit_usd=Decimal("10.011")))
    assert alpaca.asked[-1].body["limit_price"] == "10.02"


def test_a_coin_is_bought_at_once_or_not_because_it_knows_no_day(alpaca, broker):
    alpaca.says("POST", "/v2/orders", Answer(body=TOLD))
    broker.place_order(ORDER._replace(security_id="BTC/USD"))
    assert alpaca.asked[-1].body["time_in_force"] == "ioc"


BY_NAME = "/v2/orders:by_client_order_id"


@pytest.mark.parametrize("lost", [CUT, HANG, Answer(504), Answer(500), Answer(200, "<html>")])
def test_an_order_whose_answer_was_lost_is_looked_up_and_not_posted_again(alpaca, broker, lost, monkeypatch):
    monkeypatch.setattr(wire, "TIMEOUT", (1.0, 0.2))
    alpaca.says("POST", "/v2/orders", lost)
    alpaca.says("GET", BY_NAME, Answer(503), Answer(body=TOLD))
    assert broker.place_order(ORDER)[:2] == (NAME, "accepted")
    assert alpaca.count("POST", "/v2/orders") == 1
    assert alpaca.asked[-1].query == {"client_order_id": NAME}


def test_an_order_that_never_arrived_is_posted_again(alpaca, broker):
    alpaca.says("POST", "/v2/orders", CUT, Answer(body=TOLD))
    assert broker.place_order(ORDER).event == "accepted"
    assert [one.method for one in alpaca.asked] == ["POST", "GET", "POST"]


def test_an_order_that_can_be_told_neither_way_may_pass(alpaca, broker):
    alpaca.says("POST", "/v2/orders", CUT)
    alpaca.says("GET", BY_NAME, Answer(503))
    with pytest.raises(Unavailable) as told:
        broker.place_order(ORDER)
    assert told.value.may_pass and alpaca.count("POST", "/v2/orders") == 1


def test_an_order_that_is_never_answered_is_given_up_and_may_pass(alpaca, broker, slept):
    alpaca.says("POST", "/v2/orders", CUT)
    with pytest.raises(Unavailable, match=rf"no answer whether Alpaca took {NAME}") as told:
        broker.place_order(ORDER)
    assert told.value.may_pass and alpaca.count("POST", "/v2/orders") == len(WAITS) + 1


DUPLICATE = Answer(422, {"code": 40010001, "message": "client_order_id must be unique"})


@pytest.mark.parametrize(
    ("status", "fills", "event", "quantity"),
    [
        ("accepted", [], "accepted", 0),
        ("partially_filled", ["1"], "fill", 1),
        ("filled", ["1", "0.5"], "filled", Decimal("1.5")),
        ("filled", [], "accepted", 0),  # its fills are not told yet
        ("canceled", [], "canceled", 0),
    ],
)
def test_an_order_that_is_there_already_answers_how_it_stands(alpaca, broker, status, fills, event, quantity):
    filled = "1.5" if status == "filled" else str(sum(map(Decimal, fills)))
    alpaca.says("POST", "/v2/orders", DUPLICATE)
    alpaca.says("GET", BY_NAME, Answer(body=TOLD | {"status": status, "filled_qty": filled}))
    told = [fill(n, qty=qty) for n, qty in enumerate(fills)] + [fill(9, qty="7", order_id="another")]
    alpaca.says("GET", "/v2/account/activities/FILL", Answer(body=told))
    state = broker.place_order(ORDER)
    assert (state.client_order_id, state.event, state.quantity) == (NAME, event, quantity)
    assert alpaca.count("POST", "/v2/orders") == 1


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (Answer(403, {"code": 40310000, "message": "insufficient buying power"}), "insufficient buying power"),
        (Answer(422, {"code": 42210000, "message": "asset AAPL is not tradable"}), "asset AAPL is not tradable"),
        (Answer(404, {"code": 40410000, "message": "asset not found"}), "asset not found"),
    ],
)
def test_a_refusal_keeps_the_words_of_the_broker(alpaca, broker, refusal, words):
    alpaca.says("POST", "/v2/orders", refusal)
    with pytest.raises(OrderRejected, match=f"^{words}$"):
        broker.place_order(ORDER)
    assert alpaca.count("POST", "/v2/orders") == 1


def test_a_rate_limit_holds_an_order_up_and_no_more(alpaca, broker, slept):
    alpaca.says("POST", "/v2/orders", Answer(429, {"message": "too many"}, {"Retry-After": "3"}), Answer(body=TOLD))
    assert broker.place_order(ORDER).event == "accepted" and slept == [3]


def test_shares_that_are_not_held_are_never_sold_short(alpaca, broker):
    alpaca.says("GET", "/v2/positions/AAPL", Answer(body={"symbol": "AAPL", "qty": "1.4"}))
    with pytest.raises(OrderRejected, match=r"does not hold 1\.5 of AAPL"):
        broker.place_order(ORDER._replace(side="sell"))
    assert alpaca.count("POST", "/v2/orders") == 0


def test_a_sale_that_sold_everything_and_is_sent_again_answers_how_it_stands(alpaca, broker):
    alpaca.says("GET", BY_NAME, Answer(body=TOLD | {"status": "filled", "filled_qty": "1.5"}))
    alpaca.says("GET", "/v2/account/activities/FILL", Answer(body=[fill(1, qty="1.5", side="sell")]))
    assert broker.place_order(ORDER._replace(side="sell")).event == "filled"
    assert alpaca.count("POST", "/v2/orders") == 0


def test_the_states_of_an_order_are_its_fills_and_then_its_end(alpaca, broker):
    alpaca.says(
        "GET",
        "/v2/orders",
        Answer(body=[TOLD | {"status": "filled", "filled_qty": "1.5", "filled_at": "2026-11-20T15:01:00Z"}]),
    )
    alpaca.says(
        "GET",
        "/v2/account/activities/FILL",
        Answer(body=[fill(1, qty="1"), fill(2, qty="0.5", at="2026-11-20T15:01:00Z")]),
    )
    told = [(state.event, state.transaction_id, state.quantity) for state in broker.order_states(DAY)]
    assert told == [
        ("accepted", "", 0),
        ("fill", fill(1)["id"], 1),
        ("fill", fill(2)["id"], Decimal("0.5")),
        ("filled", "", Decimal("1.5")),
    ]


def test_an_order_is_not_told_as_ended_before_its_fills_are(alpaca, broker):
    ended = TOLD | {"status": "filled", "filled_qty": "1.5", "filled_at": "2026-11-20T15:01:00Z"}
    alpaca.says("GET", "/v2/orders", Answer(body=[ended]))
    alpaca.says("GET", "/v2/account/activities/FILL", Answer(body=[fill(1, qty="1")]))
    assert [state.event for state in broker.order_states(DAY)] == ["accepted", "fill"]


@pytest.mark.parametrize(
    ("status", "field", "event"),
    [
        ("canceled", "canceled_at", "canceled"),
        ("expired", "expired_at", "expired"),
        ("replaced", "replaced_at", "canceled"),
    ],
)
def test_an_order_that_ended_early_says_what_was_filled(alpaca, broker, status, field, event):
    alpaca.says(
        "GET",
        "/v2/orders",
        Answer(
            body=[TOLD | {"status": status, "filled_qty": "1", field: "2026-11-20T21:00:00Z", "replaced_by": "o-2"}]
        ),
    )
    alpaca.says("GET", "/v2/account/activities/FILL", Answer(body=[fill(1, qty="1")]))
    last = broker.order_states(DAY)[-1]
    assert (last.event, last.quantity) == (event, 1) and event in FINAL


def test_a_rejected_order_was_never_accepted(alpaca, broker):
    alpaca.says("GET", "/v2/orders", Answer(body=[TOLD | {"status": "rejected", "failed_at": "2026-11-20T14:30:01Z"}]))
    assert [state.event for state in broker.order_states(DAY)] == ["rejected"]


def test_what_happened_later_is_not_known_yet(alpaca, broker):
    """15:01 in London on the 21st; 23:30 on the 20th in New York is the 21st in London too."""
    ended = TOLD | {"status": "filled", "filled_qty": "2", "filled_at": "2026-11-21T15:01:00Z"}
    alpaca.says("GET", "/v2/orders", Answer(body=[ended, TOLD | {"id": "o-3", "submitted_at": "2026-11-21T15:00:00Z"}]))
    fills = [fill(1, at="2026-11-21T04:30:00Z"), fill(2, at="2026-11-21T15:01:00Z")]
    alpaca.says("GET", "/v2/account/activities/FILL", Answer(body=fills))
    assert [state.event for state in broker.order_states(DAY)] == ["accepted", "fill"]


def test_states_are_told_in_the_order_in_which_they_came_about(alpaca, broker):
    orders = [
        TOLD | {"id": f"o-{n}", "client_order_id": NAME[:-3] + f"{n}.1", "submitted_at": f"2026-11-20T14:3{n}:00.5Z"}
        for n in (1, 2)
    ]
    alpaca.says("GET", "/v2/orders", Answer(body=orders))
    fills = [fill(1, order_id="o-2", at="2026-11-20T14:40:00Z"), fill(2, order_id="o-1", at="2026-11-20T14:50:00Z")]
    alpaca.says("GET", "/v2/account/activities/FILL", Answer(body=fills))
    assert [(s.client_order_id[-3], s.event) for s in broker.order_states(DAY)] == [
        ("1", "accepted"),
        ("2", "accepted"),
        ("2", "fill"),
        ("1", "fill"),
    ]


def test_orders_of_others_are_none_of_ours(alpaca, broker):
    others = [
        TOLD | {"id": f"x-{n}", "client_order_id": name}
        for n, name in enumerate(("by hand", "2026-11-20.ira.daily.1.1.1"))
    ]
    alpaca.says("GET", "/v2/orders", Answer(body=[*others, TOLD]))
    assert {state.client_order_id for state in broker.order_states(DAY)} == {NAME}


def test_an_order_that_ended_is_not_canceled_any_more(alpaca, broker):
    alpaca.says("GET", BY_NAME, Answer(body=TOLD | {"status": "filled"}))
    broker.cancel_order(NAME)
    assert alpaca.count("DELETE", "/v2/orders/o-1") == 0


def test_an_order_that_ends_while_it_is_canceled_stays_as_it_ended(alpaca, broker):
    alpaca.says("GET", BY_NAME, Answer(body=TOLD))
    alpaca.says(
        "DELETE", "/v2/orders/o-1", Answer(422, {"code": 42210000, "message": 'order is already in "filled" state'})
    )
    broker.cancel_order(NAME)
    assert alpaca.count("DELETE", "/v2/orders/o-1") == 1


def test_an_unknown_order_cannot_be_canceled(broker):
    with pytest.raises(OrderRejected, match="knows no order"):
        broker.cancel_order(NAME)


def test_lots_are_first_in_first_out_and_cannot_be_told(broker):
    with pytest.raises(OrderRejected, match="takes no lots"):
        broker.tell_lots(NAME, "A:1", DAY)


# What is held ------------------------------------------------------------------------------------------


def test_positions_are_exact_and_say_their_cost(alpaca, broker):
    text = """[{"symbol": "AAPL", "qty": 0.10, "side": "long", "cost_basis": 33.3000000000000000001},
        {"symbol": "BTCUSD", "qty": "0.5", "side": "long", "cost_basis": "9"},
        {"symbol": "TSLA", "qty": "2", "side": "short", "cost_basis": "-500"}]"""
    alpaca.says("GET", "/v2/positions", Answer(200, text))
    assert broker.positions(DAY).rows.drop("line").rows() == [
        ("AAPL", "0.10", "33.3000000000000000001"),
        ("BTC/USD", "0.5", "9"),
        ("TSLA", "-2", "-500"),
        ("USD", "1000.50", ""),
    ]


def test_positions_of_an_earlier_day_are_todays_without_what_happened_since(alpaca, broker):
    alpaca.says("GET", "/v2/positions", Answer(body=[{"symbol": "AAPL", "qty": "5", "cost_basis": "50"}]))
    since = [
        fill(1, qty="1", price="9"),
        fill(2, qty="2", price="10.005", at="2026-11-21T15:00:00Z"),
        fill(3, qty="3", side="sell", symbol="MSFT", at="2026-11-21T15:00:00Z"),
        nta(4, "DIV", date="2026-11-21", net_amount="1.02", symbol="T", qty="2"),
        nta(5, "CSW", date="2026-11-21", net_amount="-50"),
    ]
    alpaca.says("GET", "/v2/account/activities", Answer(body=since))
    assert broker.positions(DAY).rows.drop("line").rows() == [
        ("AAPL", "3", ""),
        ("MSFT", "3", ""),
        ("USD", str(Decimal("1000.50") + Decimal("20.01") - 30 - Decimal("1.02") + 50), ""),
    ]


def test_balances_have_the_names_of_the_protocol(broker):
    assert dict(broker.balances(DAY).rows.drop("line").rows()) == {
        "equity_usd": "5000",
        "buying_power_usd": "2000",
        "long_usd": "4000",
        "options_level": "2",
        "is_blocked": "false",
        "day_trades": "1",
    }


@pytest.mark.parametrize(
    "said", [{"trading_blocked": True}, {"trade_suspended_by_user": True}, {"status": "ACCOUNT_CLOSED"}]
)
def test_a_blocked_account_says_so(alpaca, broker, said):
    alpaca.says("GET", "/v2/account", Answer(body=ACCOUNT | said))
    assert dict(broker.balances(DAY).rows.drop("line").rows())["is_blocked"] == "true"


# What happened -----------------------------------------------------------------------------------------


def test_a_fill_keeps_its_id_its_moment_and_its_digits(alpaca, broker):
    text = json.dumps([fill(1, qty="0.123456789", price="PRICE")]).replace('"PRICE"', "1.2300")
    alpaca.says("GET", "/v2/account/activities", Answer(200, text))
    delivery = broker.activities(DAY)
    row = delivery.rows.row(0, named=True)
    assert (row["id"], row["at"], row["kind"], row["side"]) == (fill(1)["id"], "2026-11-20T15:00:00Z", "trade", "buy")
    assert (row["quantity"], row["price_usd"], row["fee_usd"], row["amount_usd"]) == (
        "0.123456789",
        "1.2300",
        "0",
        "-0.15",
    )
    assert (row["alpaca_order_id"], row["alpaca_price"]) == ("o-1", "1.2300") and delivery.stated_on == DAY
    assert all(kind == (pl.Int64 if name == "line" else pl.String) for name, kind in delivery.rows.schema.items())


def test_a_new_field_becomes_a_column(alpaca, broker):
    alpaca.says("GET", "/v2/account/activities", Answer(body=[fill(1), fill(2, venue={"name": "X", "fee": 0.10})]))
    assert broker.activities(DAY).rows["alpaca_venue"].to_list() == ["", '{"name": "X", "fee": "0.1"}']


@pytest.mark.parametrize(
    "field", ["id", "activity_type", "transaction_time", "price", "qty", "side", "symbol", "order_id"]
)
def test_a_missing_field_stops_the_source_by_its_name(alpaca, broker, field):
    broken = fill(1)
    del broken[field]
    alpaca.says("GET", "/v2/account/activities", Answer(body=[fill(0), broken]))
    with pytest.raises(Unavailable, match=f"has no field {field}"):
        broker.activities(DAY)
    assert broker.balances(DAY).rows.height


# Pages -------------------------------------------------------------------------------------------------


class Pages(Scripted):
    """Alpaca's paging of activities and orders, as it is documented."""

    everything: tuple[dict, ...] = ()
    lists: tuple[dict, ...] = ()

    def next(self, asked):
        self.asked.append(asked)
        if asked.path == "/v2/orders":
            after = datetime.fromisoformat(asked.query["after"])
            later = [order for order in self.lists if datetime.fromisoformat(order["submitted_at"]) > after]
            return Answer(body=later[: int(asked.query["limit"])])
        token, size = asked.query.get("page_token", ""), min(int(asked.query["page_size"]), 100)
        return Answer(body=[one for one in self.everything if one["id"] > token][:size])


def test_activities_are_read_to_the_end(alpaca, broker):
    alpaca.__class__, alpaca.everything = Pages, [fill(n) for n in range(1, 301)]
    assert broker.activities(DAY).rows["id"].to_list() == [fill(n)["id"] for n in range(1, 301)]
    assert len(alpaca.asked) == 4


def test_a_page_that_comes_again_is_read_once(alpaca, broker):
    alpaca.says("GET", "/v2/account/activities", Answer(body=[fill(n) for n in range(100)]))
    rows = broker.activities(DAY).rows
    assert rows.height == 100 and (rows["alpaca_legs"] == "").all() and len(alpaca.asked) == 2


def test_orders_are_read_to_the_end_even_where_many_share_a_moment(alpaca, broker):
    alpaca.__class__ = Pages
    alpaca.lists = [
        TOLD
        | {
            "id": f"o-{n:05}",
            "client_order_id": f"2026-11-20.joint.daily.1.{n}.1",
            "submitted_at": f"2026-11-20T14:30:0{n // 300}.123456Z",
        }
        for n in range(1_201)
    ]
    assert len(broker.order_states(DAY)) == 1_201


# Prices ------------------------------------------------------------------------------------------------


def bars(**by_symbol) -> Answer:
    return Answer(body={"bars": by_symbol, "next_page_token": None})


def test_prices_are_as_traded_beside_adjusted(alpaca, market):
    old, new = {"t": "2026-11-19T05:00:00Z", "c": 20.02, "v": 7}, {"t": "2026-11-20T05:00:00Z", "c": 10.01, "v": 8}
    alpaca.says("GET", "/v2/stocks/bars", bars(AAPL=[old, new]), bars(AAPL=[old | {"c": 10.01}, new]))
    alpaca.says("GET", "/v1beta1/options/bars", bars(AAPL261218C00200000=[new | {"c": 1.5}]))
    alpaca.says("GET", "/v1beta3/crypto/us/bars", bars(**{"BTC/USD": [new | {"c": 90000, "v": 1.75}]}))
    told = market.prices(date(2026, 11, 6), DAY)
    assert told.rows.rows() == [
        ("AAPL", date(2026, 11, 19), 20.02, 10.01, 7),
        ("AAPL", DAY, 10.01, 10.01, 8),
        ("AAPL261218C00200000", DAY, 1.5, 1.5, 8),
        ("BTC/USD", DAY, 90000.0, 90000.0, 1),
    ]
    assert told.stated_on == DAY
    assert tables.prices(DAY).validate(told.rows) is not None
    raw, adjusted = alpaca.asked[:2]
    assert (raw.query["adjustment"], adjusted.query["adjustment"]) == ("raw", "all")
    assert (
        raw.query["feed"] == "iex" and raw.query["timeframe"] == "1Day" and raw.query["start"].startswith("2026-11-06")
    )


def test_the_feed_is_the_households(alpaca, market):
    market._prices = AlpacaPrices(feed="sip")
    alpaca.says(
        "GET", "/v2/stocks/trades/latest", Answer(body={"trades": {"AAPL": {"t": "2026-11-20T15:00:00Z", "p": 10.1}}})
    )
    market.quotes(["AAPL"])
    assert alpaca.asked[-1].query["feed"] == "sip"


def test_many_symbols_are_asked_in_batches_and_pages_are_read_to_the_end(alpaca, market, tmp_path):
    names = [f"S{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(150)]
    (tmp_path / "securities.csv").write_text("symbol,name,sector\n" + "".join(f"{name},x,y\n" for name in names))
    bar = {"t": "2026-11-20T05:00:00Z", "c": 1, "v": 1}
    page = [
        Answer(body={"bars": {names[0]: [bar | {"t": "2026-11-19T05:00:00Z"}]}, "next_page_token": "n"}),
        bars(**{names[0]: [bar]}),
    ]
    alpaca.says("GET", "/v2/stocks/bars", *page, *page, bars(**{names[149]: [bar]}), bars())
    assert market.prices(DAY, DAY).rows["symbol"].to_list() == [names[0], names[0], names[149]]
    assert [len(one.query["symbols"].split(",")) for one in alpaca.asked] == [100] * 4 + [50] * 2


def test_a_live_price_is_the_last_trade_or_the_middle_of_the_quote(alpaca, market):
    at = "2026-11-20T15:00:00.123456789Z"
    alpaca.says("GET", "/v2/stocks/trades/latest", Answer(body={"trades": {"AAPL": {"t": at, "p": 161.2958}}}))
    alpaca.says(
        "GET",
        "/v2/stocks/quotes/latest",
        Answer(body={"quotes": {"MSFT": {"t": at, "bp": 10.10, "ap": 10.20}, "XYZ": {"t": at, "bp": 0, "ap": 5}}}),
    )
    moment = datetime(2026, 11, 20, 15, 0, 0, 123456, tzinfo=UTC)
    assert market.quotes(["MSFT", "AAPL", "XYZ"]) == [
        ("MSFT", Decimal("10.15"), moment),
        ("AAPL", Decimal("161.2958"), moment),
    ]
    assert alpaca.asked[-1].query["symbols"] == "MSFT,XYZ"


def test_what_companies_do_is_told_exactly(alpaca, market):
    told = {
        "reverse_splits": [
            {
                "id": "1",
                "ex_date": "2026-11-10",
                "new_rate": 1,
                "old_rate": 50,
                "process_date": "2026-11-10",
                "symbol": "MNTS",
            }
        ],
        "stock_dividends": [
            {"id": "2", "ex_date": "2026-11-11", "process_date": "2026-11-11", "rate": 0.05, "symbol": "MSBC"}
        ],
        "cash_dividends": [
            {
                "id": "3",
                "ex_date": "2026-11-12",
                "process_date": "2026-11-19",
                "rate": 0.086928,
                "symbol": "AAPL",
                "foreign": False,
            }
        ],
        "stock_and_cash_mergers": [
            {
                "id": "4",
                "effective_date": "2026-11-13",
                "process_date": "2026-11-13",
                "acquiree_symbol": "MLVF",
                "acquiree_rate": 2,
                "acquirer_symbol": "FRBA",
                "acquirer_rate": 0.7733,
                "cash_rate": 7.8,
            }
        ],
        "a_new_sort": [{"id": "5", "process_date": "2026-11-14", "symbol": "X"}],
    }
    alpaca.says("GET", "/v1/corporate-actions", Answer(body={"corporate_actions": told, "next_page_token": None}))
    rows = market.corporate_actions(date(2026, 11, 1), DAY).rows
    assert rows.select("id", "kind", "symbol", "on", "ratio", "new_symbol", "cash_usd").rows() == [
        ("1", "split", "MNTS", "2026-11-10", "1:50", "", ""),
        ("2", "split", "MSBC", "2026-11-11", "1.05:1", "", ""),
        ("3", "dividend", "AAPL", "2026-11-12", "", "", "0.086928"),
        ("4", "merger", "MLVF", "2026-11-13", "0.7733:2", "FRBA", "3.9"),
        ("5", "a_new_sort", "X", "2026-11-14", "", "", ""),
    ]
    assert rows["alpaca_foreign"].to_list() == ["", "", "false", "", ""]


def test_more_than_a_thousand_corporate_actions_are_read_to_the_end(alpaca, market):
    def page(first: int, token: str | None) -> Answer:
        paid = [{"id": str(n), "ex_date": "2026-11-10", "rate": 1, "symbol": "AAPL"} for n in range(first, first + 800)]
        return Answer(body={"corporate_actions": {"cash_dividends": paid}, "next_page_token": token})

    alpaca.says("GET", "/v1/corporate-actions", page(0, "a"), page(800, "b"), page(1600, None))
    assert market.corporate_actions(date(2026, 11, 1), DAY).rows.height == 2400


@pytest.mark.parametrize(
    "body", [[], {"unknown": 1}, {"bars": []}, {"bars": {"AAPL": [{"c": 1}]}}, {"bars": {"AAPL": [{"t": "x", "c": 1}]}}]
)
def test_an_answer_of_another_shape_stops_the_prices(alpaca, market, body):
    alpaca.says("GET", "/v2/stocks/bars", Answer(body=body))
    with pytest.raises(Unavailable):
        market.prices(DAY, DAY)


# Real answers ------------------------------------------------------------------------------------------

STATEMENTS = Path(os.environ.get("THRESHER_TEST_DATA", Path(__file__).parents[2] / "shared")) / "statements"
OURS = {  # which samples of Alpaca's answers are read here, and as what
    "alpaca/broker__setup_reqmock_for_paginated_account_activities_response*.json": "activities",
    "alpaca/broker__test_get_activities_for_account_*.json": "activities",
    "alpaca_docs/schema_*TradeActivities_x-examples.json": "activities",
    "alpaca_docs/schema_TradingActivities_x-examples.json": "activities",
    "alpaca/*__test_get_all_positions*.json": "positions",
    "alpaca_docs/schema_Position_x-examples.json": "positions",
    "alpaca/trading__test_get_account.json": "account",
    "alpaca/broker__test_get_trade_account_by_id*.json": "account",
    "alpaca_docs/schema_Account_x-examples.json": "account",
    "alpaca/trading__test_get_order*.json": "orders",
    "alpaca/trading__test_[!cg]*_order.json": "orders",
    "alpaca/trading__test_order_position_intent*.json": "orders",
    "alpaca/*__test_close_position*.json": "orders",
    "alpaca_docs/schema_Order_x-examples.json": "orders",
    "alpaca/broker__test_get_account_account_not_found.json": "refusal",
    "alpaca/data__test_get_bars*.json": "bars",
    "alpaca/data__test_multisymbol_get_bars.json": "bars",
    "alpaca/data__test_get_crypto_bars.json": "bars",
    "alpaca/data__test_get_latest_trade*.json": "trades",
    "alpaca/data__test_get_multisymbol_latest_trade.json": "trades",
    "alpaca/data__test_get_crypto_latest_trade.json": "trades",
    "alpaca/data__test_get_latest_quote*.json": "quotes",
    "alpaca/data__test_get_crypto_latest_quote.json": "quotes",
    "alpaca/data__test_get_corporate_actions*.json": "corporate actions",
}
NOT_OURS = {  # and which are not, with the reason
    "alpaca/broker__*": "the interface for brokers: other people's accounts, journals, transfers, portfolios",
    "alpaca/trading__test_cancel_orders.json": "we cancel orders one by one",
    "alpaca/*__test_close_all_positions*": "we close no position without an order of our own",
    "alpaca/trading__test_get_account_configurations*": "what an account may do is in its balances",
    "alpaca/trading__test_get_*asset*": "what a security is, the household says",
    "alpaca/trading__test_get_announcements.json": "superseded by the corporate actions of the market data",
    "alpaca/trading__test_get_option_contract*": "an option's symbol says its terms",
    "alpaca/data__*": "single trades and quotes of the past, snapshots, news, screens",
    "alpaca_docs/account-*": "prose",
    "alpaca_docs/resp_get_v2_watchlists*": "watch lists",
    "alpaca_docs/schema_*": "assets, calendar, clock, watch lists, bodies of many orders",
}


def samples() -> list[str]:
    if not STATEMENTS.exists():
        return []
    return sorted(
        f"{folder}/{file.name}" for folder in ("alpaca", "alpaca_docs") for file in (STATEMENTS / folder).iterdir()
    )


def read_as(name: str) -> str | None:
    return next((what for pattern, what in OURS.items() if fnmatch(name, pattern)), None)


needs_samples = pytest.mark.skipif(
    not samples(), reason=f"no samples of Alpaca's answers in {STATEMENTS}: set THRESHER_TEST_DATA"
)


@needs_samples
def test_every_sample_is_read_or_is_none_of_ours():
    assert [
        name for name in samples() if not read_as(name) and not any(fnmatch(name, other) for other in NOT_OURS)
    ] == []
    assert sum(read_as(name) is not None for name in samples()) >= 40


def bodies(name: str) -> list[dict]:
    said = json.loads((STATEMENTS / name).read_text())
    if name.endswith("x-examples.json"):
        said = list(said.values())
    return said if isinstance(said, list) else [said]


@needs_samples
@pytest.mark.parametrize("name", [name for name in samples() if read_as(name)])
def test_a_real_answer_is_read(name, alpaca, broker, market):
    what, said = read_as(name), bodies(name)
    late = date(2030, 1, 1)
    if what == "activities":
        alpaca.says("GET", "/v2/account/activities", Answer(body=said), Answer(body=[]))
        rows = broker.activities(late).rows
        assert rows["id"].to_list() == sorted(one["id"] for one in said)
        assert set(rows["kind"]) <= {"trade", "deposit", "dividend"}
    elif what == "positions":
        for each in said:
            alpaca.says("GET", "/v2/positions", Answer(body=[each]))
            (told,) = broker.positions(late).rows.filter(pl.col("symbol") != "USD").iter_rows(named=True)
            assert (told["symbol"], told["quantity"], told["cost_usd"]) == (
                each["symbol"],
                each["qty"],
                each["cost_basis"],
            )
    elif what == "account":
        alpaca.says("GET", "/v2/account", Answer(body=said[0]))
        told = dict(broker.balances(late).rows.drop("line").rows())
        assert told["equity_usd"] == said[0]["equity"] and told["is_blocked"] in ("true", "false")
        assert broker.positions(late).rows.filter(symbol="USD")["quantity"].to_list() == [said[0]["cash"]]
    elif what == "orders":
        for each in said:
            alpaca.says("POST", "/v2/orders", Answer(body=each.get("body", each)))
            assert broker.place_order(ORDER).event == "accepted"
    elif what == "refusal":
        alpaca.says("POST", "/v2/orders", Answer(404, said[0]))
        with pytest.raises(OrderRejected, match=said[0]["message"]):
            broker.place_order(ORDER)
    else:
        _read_market(what, said[0], alpaca, market)


def _read_market(what: str, said: dict, alpaca: Scripted, market: Market) -> None:
    late = date(2030, 1, 1)
    if what == "bars":
        if said.get("next_page_token"):
            said = said | {"next_page_token": None}
        market._securities.write_text(
            "symbol,name,sector\n" + "".join(f"{name},x,y\n" for name in said["bars"] or ["AAPL"])
        )
        for path in ("/v2/stocks/bars", "/v1beta1/options/bars", "/v1beta3/crypto/us/bars"):
            alpaca.says("GET", path, Answer(body=said))
        rows = market.prices(None, late).rows
        told = {(name, Decimal(str(bar["c"]))) for name, bars in said["bars"].items() for bar in bars}
        assert {(name, Decimal(str(close))) for name, close in rows.select("symbol", "close_usd").rows()} == told
    elif what in ("trades", "quotes"):
        key = next(iter(said))
        empty = Answer(body={"trades": {}})
        for base, path in (
            ("/v2/stocks", "{}/latest"),
            ("/v1beta1/options", "{}/latest"),
            ("/v1beta3/crypto/us", "latest/{}"),
        ):
            alpaca.says("GET", f"{base}/{path.format('trades')}", Answer(body=said) if what == "trades" else empty)
            alpaca.says(
                "GET",
                f"{base}/{path.format('quotes')}",
                Answer(body=said) if what == "quotes" else Answer(body={"quotes": {}}),
            )
        assert {quote.security_id for quote in market.quotes(list(said[key]))} == set(said[key])
    else:
        alpaca.says("GET", "/v1/corporate-actions", Answer(body=said | {"next_page_token": None}))
        rows = market.corporate_actions(date(2020, 1, 1), late).rows
        assert rows["id"].to_list() and set(rows["id"]) == {
            one["id"] for many in said["corporate_actions"].values() for one in many
        }
