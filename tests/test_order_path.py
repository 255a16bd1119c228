"""From a decision to fills at a broker that is a program of its own: the local Alpaca over HTTP."""

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from alpaca_house import NEW_YORK, SESSION, AlpacaHouse, alpaca_house, ask_as

import flows.connectors.alpaca
import flows.connectors.brokers.alpaca
from flows.hand import order


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The household after its decision. To be copied."""
    folder = tmp_path_factory.mktemp("evening") / "world"
    folder.mkdir()
    with alpaca_house(folder) as house:
        assert "sell 200 ZAA in taxable" in house.evening().summary.plain()
    return folder


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connector asks again at once: what is tried here is what becomes of an order, not how long it takes."""
    monkeypatch.setattr(flows.connectors.alpaca, "WAITS", (0.0,) * 3)
    monkeypatch.setattr(flows.connectors.brokers.alpaca, "WAITS", (0.0,) * 3)


@pytest.fixture
def house(evening: Path, tmp_path: Path) -> Iterator[AlpacaHouse]:
    """The household after its decision, and its broker started again on its journal."""
    shutil.copytree(evening, tmp_path / "world", ignore=shutil.ignore_patterns("backups", "expectations", "reports"))
    with alpaca_house(tmp_path / "world") as house:
        yield house


def orders(house: AlpacaHouse) -> list[dict]:
    """What the broker was told by Thresher, in order."""
    key, secret = house.server.keys["taxable"]
    told = ask_as(house.server, key, secret, "/v2/orders?status=all&direction=asc&limit=500")
    return [one for one in told if one["client_order_id"].startswith("2026-")]


def sides(house: AlpacaHouse) -> list[tuple[str, str]]:
    return [(one["side"], one["symbol"]) for one in orders(house)]


def settled(house: AlpacaHouse) -> None:
    assert house.ask("SELECT * FROM mart.breaks WHERE blocks") == []
    house.assert_books_are_the_brokers()


def test_a_harvest_is_decided_in_the_evening_and_done_in_the_morning_and_the_books_are_the_brokers(house):
    assert {status for status, *_ in house.statuses().values()} == {"waiting"} and not orders(house)
    waits = house.ask("SELECT gate, reason FROM core.waiting")
    assert {gate for gate, _ in waits} == {"market_closed"}
    house.morning()
    said = house.statuses()
    assert said["sell", "ZAA"] == ("filled", 200.0, 1) and said["buy", "ZBB"][0] == "filled"
    settled(house)
    assert len(orders(house)) == 2, "with the cash at hand the sale and its replacement went out together"
    assert {one["type"] for one in orders(house)} == {"limit"}
    for one in orders(house):
        away = Decimal(one["limit_price"]) / Decimal(one["filled_avg_price"]) - 1
        assert (away >= 0 if one["side"] == "buy" else away <= 0) and abs(away) < Decimal("0.025")
    before = house.ask("FROM ledger.order_events ORDER BY ALL"), house.server.admin("/journal")
    house.morning(hour=9, minute=50)
    assert (house.ask("FROM ledger.order_events ORDER BY ALL"), orders(house)) == (before[0], orders(house))
    house.evening(SESSION)
    settled(house)
    assert house.ask("SELECT count(*), sum(quantity) FROM core.disposals") == [(1, Decimal(200))]


def test_without_cash_the_replacement_waits_for_the_proceeds_and_is_bought_once(tmp_path):
    with alpaca_house(tmp_path, cash=20_500) as house:
        house.server.admin("/liquidity", {"symbol": "ZAA", "plan": [[90, "0.5"], [200, "0.5"]]})
        house.evening()
        house.morning()
        assert sides(house) == [("sell", "ZAA"), ("buy", "ZBB")]
        sold, bought = orders(house)
        assert bought["submitted_at"] >= sold["filled_at"], "after the whole sale, not after a part of it"
        assert (
            house.ask("SELECT count(*) FROM ledger.order_events WHERE event = 'fill' AND transaction_id LIKE '%'")[0][0]
            >= 3
        )
        assert house.statuses()["sell", "ZAA"] == ("filled", 200.0, 1)
        settled(house)


@pytest.mark.parametrize(("risen", "limit_is_what_the_cash_pays"), [("1.012", True), ("1.03", False)])
def test_a_replacement_whose_price_rose_costs_no_more_than_the_sale_brought(
    tmp_path, risen, limit_is_what_the_cash_pays
):
    with alpaca_house(tmp_path, cash=19_320) as house:
        house.server.admin("/liquidity", {"symbol": "ZAA", "plan": [[60, "0.98"], [120, "0.02"]]})
        house.evening()
        [(decided, close)] = house.ask("SELECT quantity, price_usd FROM mart.orders WHERE side = 'buy'")
        house.at(SESSION, 9, 40)
        house.server.admin("/prices", {"symbol": "ZBB", "price": f"{close * Decimal(risen):.2f}"})
        house.morning()
        bought = orders(house)[-1]
        sold_for, cash = Decimal(orders(house)[0]["filled_avg_price"]) * 200, Decimal(19_320 - 19_308)
        assert bought["symbol"] == "ZBB" and bought["status"] == "filled"
        assert Decimal(bought["qty"]) * Decimal(bought["limit_price"]) <= sold_for + cash
        assert (Decimal(bought["qty"]) == decided) is limit_is_what_the_cash_pays, "else it is cut to what was brought"
        assert house.ask("SELECT cash_usd >= 0 FROM mart.cash WHERE account_id = 'taxable'") == [(True,)]
        settled(house)


def test_a_pair_does_not_stand_on_one_leg_for_longer_than_the_policy_lets_it(house):
    house.server.admin("/liquidity", {"symbol": "ZBB", "plan": [[30, "0.25"], [90_000, "0.75"]]})
    house.meanwhile = lambda: house.server.admin("/liquidity", {"symbol": "ZBB", "plan": [[0, "1"]]})
    house.morning()
    assert house.statuses()["sell", "ZAA"] == ("filled", 200.0, 1)
    bought = [one for one in orders(house) if one["side"] == "buy"]
    assert [(one["type"], one["status"]) for one in bought] == [("limit", "canceled"), ("market", "filled")]
    lapse = datetime.fromisoformat(bought[1]["submitted_at"]) - datetime.fromisoformat(orders(house)[0]["filled_at"])
    assert timedelta(minutes=5) <= lapse < timedelta(minutes=7)
    assert Decimal(bought[1]["qty"]) == Decimal(bought[0]["qty"]) - Decimal(bought[0]["filled_qty"]), (
        "what was left of it"
    )
    settled(house)


def test_a_replacement_far_dearer_than_what_is_there_waits_and_is_bought_whole_when_the_price_is_back(tmp_path):
    with alpaca_house(tmp_path, cash=19_320) as house:
        house.evening()
        [(decided, close)] = house.ask("SELECT quantity, price_usd FROM mart.orders WHERE side = 'buy'")
        house.at(SESSION, 9, 40)
        house.server.admin("/prices", {"symbol": "ZBB", "price": f"{close * Decimal('1.08'):.2f}"})  # until 10:00
        house.morning()
        sold, bought = orders(house)
        assert (sold["symbol"], bought["symbol"], Decimal(bought["qty"])) == ("ZAA", "ZBB", decided)
        assert datetime.fromisoformat(bought["submitted_at"]).astimezone(NEW_YORK).hour == 10
        settled(house)


def test_what_is_tried_at_the_market_costs_no_more_than_there_is_even_if_the_price_jumps(tmp_path):
    with alpaca_house(tmp_path, cash=19_320) as house:
        house.evening()
        house.server.admin("/liquidity", {"symbol": "ZBB", "plan": [[90_000, "1"]]})
        house.meanwhile = lambda: (
            ("buy", "ZBB") in sides(house) and house.server.admin("/liquidity", {"symbol": "ZBB", "plan": [[0, "1"]]})
        )
        house.at(SESSION, 9, 40)
        house.server.admin("/prices", {"symbol": "ZBB", "price": "85.80"})
        house.morning()
        first, last = [one for one in orders(house) if one["side"] == "buy"]
        sold_for = Decimal(orders(house)[0]["filled_avg_price"]) * 200 + 12
        assert (first["status"], last["type"], last["status"]) == ("canceled", "market", "filled")
        assert Decimal(last["qty"]) < Decimal(first["qty"])
        assert Decimal(last["qty"]) * Decimal("85.80") * Decimal("1.02") <= sold_for
        settled(house)


@pytest.mark.parametrize("kind", ["lost_answer", "refused", "504", "500", "truncated"])
def test_whatever_becomes_of_an_answer_there_is_one_order_of_each(house, kind):
    house.server.admin("/faults", [{"match": {"method": "POST", "path": "/v2/orders"}, "kind": kind, "times": 2}])
    house.morning()
    assert sides(house) == [("sell", "ZAA"), ("buy", "ZBB")]
    assert house.statuses()["sell", "ZAA"] == ("filled", 200.0, 1)
    settled(house)


def test_a_broker_that_is_down_in_the_morning_gets_its_orders_when_it_is_back(house):
    house.at(SESSION, 9, 45)
    house.server.admin("/faults", [{"match": {"path": "/v2/"}, "kind": "503", "times": 60}])
    house.morning()
    assert not orders(house) or sides(house) == [("sell", "ZAA"), ("buy", "ZBB")]
    house.server.admin("/faults", method="DELETE")
    house.morning(hour=10)
    assert sides(house) == [("sell", "ZAA"), ("buy", "ZBB")]
    settled(house)


def test_the_kill_switch_cancels_what_is_worked(house):
    house.server.admin("/liquidity", {"symbol": "*", "plan": [[30, "0.5"], [90_000, "0.5"]]})
    house.settings()
    file = house.home / "portfolio.toml"
    file.write_text(
        file.read_text()
        .replace("work_minutes = 60", "work_minutes = 1")
        .replace("max_lapse_minutes = 5", "max_lapse_minutes = 500")
    )
    house.morning()
    assert {status for status, *_ in house.statuses().values()} == {"working"}
    (house.home / "STOP").touch()
    house.morning(hour=9, minute=55)
    assert {one["status"] for one in orders(house)} == {"canceled"}
    assert {status for status, *_ in house.statuses().values()} == {"partly filled"}
    settled(house)


def test_a_decision_of_yesterday_is_not_carried_out_today(house):
    house.morning(hour=16, minute=30)
    assert not orders(house)
    said = {gate for (gate,) in house.ask("SELECT gate FROM ledger.refusals UNION SELECT gate FROM core.waiting")}
    assert "expired" in said


def test_a_persons_own_orders_go_the_same_way(house, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("account,side,symbol,quantity\nroth,buy,ZAA,10\n")
    assert "washes" in order(house.settings(), file, only_check=True, clock=house.clock)
    file.write_text("account,side,symbol,quantity\nroth,buy,ZCC,10\n")
    said = order(house.settings(), file, only_check=False, clock=house.clock)
    assert "decided: 2026-03-03.roth.hand.1" in said
    house.morning()
    assert house.ask("SELECT account_id, security_id, status FROM mart.orders WHERE method = 'hand'") == [
        ("roth", "ZCC", "filled")
    ]
    settled(house)


def test_an_order_for_what_is_decided_already_is_left_out(house, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("account,side,symbol,quantity\ntaxable,sell,ZAA,10\n")
    said = order(house.settings(), file, only_check=False, clock=house.clock)
    assert "left out: sell ZAA in taxable: an order of it is decided or worked already" in said


def test_a_live_price_that_nobody_would_believe_stops_the_order_and_its_pair(house):
    house.at(SESSION, 9, 40)
    house.server.admin("/prices", {"symbol": "ZBB", "price": "20"})
    house.morning()
    assert not orders(house)
    said = dict(house.ask("SELECT gate, reason FROM ledger.refusals"))
    assert "ZBB moved -7" in said["price"] and "pair" in said


@pytest.mark.parametrize(("shares", "bought"), [("whole", "194"), ("notional", None), ("fractional", "194.")])
def test_an_order_is_in_whole_shares_in_dollars_or_in_fractions_as_its_broker_takes_it(house, shares, bought):
    file = house.home / "portfolio.toml"
    file.write_text(file.read_text().replace('mode = "auto"', f'mode = "auto"\nshares = "{shares}"'))
    house.server.admin("/liquidity", {"symbol": "ZBB", "plan": [[30, "1"]]})
    house.meanwhile = lambda: house.server.admin(
        "/prices", {"symbol": "ZBB", "price": "85.40"}
    )  # a little dearer by then
    house.morning()
    [buy] = [one for one in orders(house) if one["side"] == "buy"]
    assert (
        buy["qty"] is None
        if bought is None
        else buy["qty"].startswith(bought) and ("." in buy["qty"]) == ("." in bought)
    )
    assert buy["status"] == "filled" and (buy["notional"] is None) == (bought is not None)
    house.morning(hour=10)
    assert len(orders(house)) == 2, "what is filled for its dollars is not bought again, whatever the shares"
    settled(house)
