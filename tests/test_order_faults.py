"""What may change between a decision, its intents and its orders, and must not cost money."""

import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from alpaca_house import DAY, SESSION, AlpacaHouse, alpaca_house, ask_as
from conftest import _without_report

import flows.connectors.alpaca
import flows.connectors.brokers.alpaca
import flows.orders
from flows import approvals
from flows.csv_file import Unreadable
from flows.daily import daily, final, is_unfinished
from flows.day import Clock, day_of
from flows.decide import decide_now
from flows.hand import order
from flows.settings import SettingsError, read_portfolio
from transforms.orders.arbiter import Proposed
from warehouse.db import writer

NEVER = [[90_000, "1"]]
IN_HALVES = [[30, "0.5"], [90_000, "0.5"]]


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The household after its decision. To be copied."""
    folder = tmp_path_factory.mktemp("evening") / "world"
    folder.mkdir()
    with alpaca_house(folder) as house:
        house.evening()
    return folder


@pytest.fixture
def house(evening: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AlpacaHouse]:
    """The household after its decision; the final flow looks once, and connectors ask again at once."""
    monkeypatch.setattr(flows.connectors.alpaca, "WAITS", (0.0,) * 3)
    monkeypatch.setattr(flows.connectors.brokers.alpaca, "WAITS", (0.0,) * 3)
    shutil.copytree(evening, tmp_path / "world", ignore=shutil.ignore_patterns("backups", "expectations", "reports"))
    with alpaca_house(tmp_path / "world") as made:
        change(made, "work_minutes = 60", "work_minutes = 0")
        yield made


def change(house: AlpacaHouse, old: str, new: str) -> None:
    file = house.home / "portfolio.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def orders(house: AlpacaHouse, account: str = "taxable") -> list[dict]:
    key, secret = house.server.keys[account]
    told = ask_as(house.server, key, secret, "/v2/orders?status=all&direction=asc&limit=500")
    return [one for one in told if one["client_order_id"].startswith("2026-")]


def down(house: AlpacaHouse, method: str, path: str) -> None:
    house.server.admin("/faults", [{"match": {"method": method, "path": path}, "kind": "500", "times": 500}])


def up(house: AlpacaHouse) -> None:
    house.server.admin("/faults", method="DELETE")


def by_hand(house: AlpacaHouse, *rows: str) -> str:
    file = house.home / "mine.csv"
    file.write_text("\n".join(("account,side,symbol,quantity", *rows, "")))
    return order(house.settings(), file, only_check=False, clock=house.clock)


def liquidity(house: AlpacaHouse, plan: list[list], symbol: str = "*") -> None:
    house.server.admin("/liquidity", {"symbol": symbol, "plan": plan})


@pytest.fixture
def stored(house: AlpacaHouse) -> AlpacaHouse:
    """Intents are stored, and nothing was sent: the broker took no orders in the morning."""
    down(house, "POST", "/v2/orders")
    house.morning()
    up(house)
    assert not orders(house) and house.ask("SELECT count(*) FROM ledger.intents") == [(2,)]
    return house


def test_an_intent_that_was_not_sent_is_not_sent_when_trading_is_stopped(stored):
    (stored.home / "STOP").touch()
    stored.morning(hour=10)
    assert not orders(stored)


def test_an_intent_that_was_not_sent_is_not_sent_from_an_account_that_is_a_dry_run_now(stored):
    change(stored, 'mode = "auto"', 'mode = "dry_run"')
    stored.morning(hour=10)
    assert not orders(stored)


def test_an_intent_that_was_not_sent_is_not_sent_after_its_session(stored):
    down(stored, "GET", "/v2/account/activities/FILL")
    stored.morning(hour=16, minute=10)
    assert not orders(stored)


def test_an_intent_that_was_not_sent_is_sent_by_the_next_pass_when_nothing_has_changed(stored):
    stored.morning(hour=10)
    assert len(orders(stored)) == 2


def test_what_the_morning_leaves_is_gone_on_with_later_in_the_session(house):
    liquidity(house, NEVER)
    house.morning()
    assert is_unfinished(house.settings())
    by_hand(house, "roth,buy,ZCC,10")
    house.at(SESSION, 11)
    final(
        house.settings(),
        house.now(),
        clock=house.clock,
        once=True,
        step=_without_report,
    )
    assert [one["symbol"] for one in orders(house, "roth")] == ["ZCC"]


def test_a_purchase_waits_for_the_cash_of_a_sale_that_is_not_its_pair_too(house):
    key, secret = house.server.keys["roth"]
    house.at(SESSION, 9, 35)
    told = {"symbol": "ZDD", "qty": "440", "side": "buy", "type": "market", "time_in_force": "day"}
    ask_as(house.server, key, secret, "/v2/orders", told)
    house.evening(SESSION)
    by_hand(house, "roth,sell,ZDD,400", "roth,buy,ZCC,300")
    liquidity(house, NEVER, "ZDD")
    house.morning(date(2026, 3, 4))
    assert [one["side"] for one in orders(house, "roth")] == ["sell"]
    assert float(ask_as(house.server, key, secret, "/v2/account")["cash"]) > 0
    assert "waits for $" in house.ask("SELECT reason FROM core.waiting")[0][0]


def test_a_purchase_by_hand_that_would_wash_a_harvest_that_still_waits_is_left_out(house):
    said = by_hand(house, "roth,buy,ZAA,10")
    assert "of loss would be disallowed" in said and "left out: buy ZAA in roth" in said
    house.morning()
    assert [one["side"] for one in orders(house)] == ["sell", "buy"] and not orders(house, "roth")


def test_a_harvest_is_held_back_when_purchases_cannot_be_seen_any_more(house):
    house.change(
        "UPDATE core.source_status SET is_sound = false, reason = 'gone' WHERE source = 'roth' AND kind = 'activities'"
    )
    house.morning()
    assert not orders(house)
    assert house.ask("SELECT reason FROM ledger.refusals WHERE gate = 'wash_sale'") == [
        ("a purchase that nobody has seen yet could wash it: gone",)
    ]


def test_what_is_a_dry_run_counts_for_nothing_that_is_not(house):
    file = house.home / "portfolio.toml"
    head, tail = file.read_text().split('id = "roth"')
    file.write_text(head + 'id = "roth"' + tail.replace('mode = "auto"', 'mode = "dry_run"'))
    change(house, "max_daily_turnover = 1.0", "max_daily_turnover = 0.35")
    by_hand(house, "roth,buy,ZCC,400")
    house.morning()
    assert [one["side"] for one in orders(house)] == ["sell", "buy"], "what is only shown uses up no limit"
    assert not orders(house, "roth")


def test_an_order_by_itself_keeps_its_limit_when_its_rest_is_sent_again(house):
    by_hand(house, "roth,buy,ZCC,100")
    liquidity(house, IN_HALVES, "ZCC")
    house.morning()
    house.at(SESSION, 9, 55)
    key, secret = house.server.keys["roth"]
    ask_as(house.server, key, secret, f"/v2/orders/{orders(house, 'roth')[0]['id']}", method="DELETE")
    house.morning(hour=10)
    assert orders(house, "roth")[0]["filled_qty"] == "50"
    assert [one["type"] for one in orders(house, "roth")] == ["limit", "limit"]


def test_a_decision_that_was_sent_cannot_be_refused_any_more(house):
    liquidity(house, IN_HALVES)
    house.morning()
    batch, digest = house.ask("SELECT batch_id, batch_hash FROM ledger.batches WHERE account_id = 'taxable'")[0]
    with pytest.raises(approvals.NotApproved, match="was sent already"):
        approvals.answer(house.settings(), batch, digest, "refuse", clock=house.clock)


def test_an_account_whose_open_orders_cannot_be_asked_for_takes_no_new_ones(house):
    by_hand(house, "taxable,buy,ZCC,10")
    liquidity(house, NEVER)
    house.morning()
    before = len(orders(house))
    by_hand(house, "taxable,buy,ZDD,10")
    down(house, "GET", "/v2/account/activities/FILL")
    house.morning(hour=10)
    assert len(orders(house)) == before
    assert not house.ask(
        "SELECT * FROM ledger.intents JOIN ledger.batch_lines USING (batch_id, line) WHERE security_id = 'ZDD'"
    )
    up(house)
    house.morning(hour=12)
    assert len(orders(house)) == before + 1


def test_an_order_of_our_name_that_says_something_else_is_not_taken_for_ours(house):
    key, secret = house.server.keys["taxable"]
    house.at(SESSION, 9, 31)
    other = {"symbol": "ZCC", "qty": "5", "side": "buy", "type": "market", "time_in_force": "day"}
    ask_as(house.server, key, secret, "/v2/orders", other | {"client_order_id": "2026-03-03.taxable.daily.1.1.1"})
    house.morning()
    assert [(one["side"], one["symbol"]) for one in orders(house)] == [("buy", "ZCC")], "and nothing is bought for it"


def test_an_earlier_day_that_was_booked_again_is_put_right_before_anything_is_sent(house, monkeypatch):
    house.at(DAY, 20)
    daily(
        house.settings(),
        date(2026, 2, 27),
        house.now(),
        clock=house.clock,
        step=_without_report,
    )
    with pytest.raises(Unreadable, match="thresher run first"):
        by_hand(house, "roth,buy,ZCC,10")
    asked: list[date] = []
    before = flows.orders.held_back_by_gates

    def looking(warehouse, *given):
        asked.append(warehouse.value("SELECT max(session_on) FROM core.latest_prices"))
        return before(warehouse, *given)

    monkeypatch.setattr(flows.orders, "held_back_by_gates", looking)
    house.morning()
    assert len(orders(house)) == 2 and set(asked) == {DAY}, "the gates look at the closes that it was decided on"


def test_a_persons_order_after_the_close_is_not_decided_for_the_session_that_is_over(house):
    house.at(SESSION, 17)
    with pytest.raises(Unreadable, match="session of 2026-03-03 is over"):
        by_hand(house, "roth,buy,ZCC,10")


def test_two_accounts_that_are_one_at_the_broker_are_refused_when_the_file_is_read(house):
    change(house, "ALPACA_ROTH", "ALPACA_TAXABLE")
    with pytest.raises(SettingsError, match="two accounts are reached the same way"):
        read_portfolio(house.home / "portfolio.toml")


def test_without_a_live_price_an_order_waits_for_one(house):
    down(house, "GET", "/v2/stocks/")
    house.morning()
    assert not orders(house)
    assert {gate for (gate,) in house.ask("SELECT gate FROM core.waiting")} == {"live_price"}
    up(house)
    house.morning(hour=10)
    assert len(orders(house)) == 2


def test_a_clock_that_is_behind_sends_nothing_when_the_brokers_session_is_over(house):
    house.at(SESSION, 18, 15)
    behind = Clock(lambda: house.now() - timedelta(hours=8), house.clock.sleep)
    final(house.settings(), behind.now(), clock=behind, step=_without_report)
    assert house.ask("SELECT count(*) FROM ledger.intents") == [(2,)] and not orders(house)
    house.evening(SESSION)
    assert house.ask("SELECT DISTINCT status FROM mart.orders WHERE session_on = '2026-03-03'") == [("unfilled",)]


MOVE = [("taxable", "buy", "ZCC"), ("roth", "buy", "ZDD")]


@pytest.fixture
def moved(house: AlpacaHouse) -> AlpacaHouse:
    """A move between accounts is decided: what it does in the one is no good without what it does in the other."""
    with writer(house.settings().warehouse) as warehouse:
        day = day_of(house.settings(), DAY, house.now(), house.clock)
        proposed = [
            Proposed("a move", "location", account, side, security, Decimal(10), Decimal(100), "", Decimal(0), Decimal(0), "why")
            for account, side, security in MOVE
        ]  # fmt: skip
        assert len(decide_now(warehouse, day, proposed, "daily")) == 2
    return house


def symbols(house: AlpacaHouse) -> set[str]:
    return {one["symbol"] for account in ("taxable", "roth") for one in orders(house, account)} - {"ZAA", "ZBB"}


def test_a_move_between_accounts_goes_out_whole(moved):
    moved.morning()
    assert symbols(moved) == {"ZCC", "ZDD"}


def test_a_move_stays_where_one_account_is_a_dry_run_now_and_says_so(moved):
    change(
        moved,
        'type = "roth_ira"\nowner = "self"\nbroker = "alpaca"\nmode = "auto"',
        'type = "roth_ira"\nowner = "self"\nbroker = "alpaca"\nmode = "dry_run"',
    )
    moved.morning()
    assert symbols(moved) == set() and len(orders(moved)) == 2, "the harvest goes on"
    assert moved.ask("SELECT reason FROM core.waiting WHERE gate = 'pair'") == [("roth sends nothing of its pair",)]


def test_a_move_stays_where_a_gate_holds_back_its_other_half(moved):
    change(moved, "[gates]", '[gates]\ndo_not_trade = ["ZDD"]')
    moved.morning()
    assert symbols(moved) == set()
    assert ("its pair, buy ZDD in roth, is held back",) in moved.ask("SELECT reason FROM ledger.refusals")


def test_a_move_stays_where_a_person_refused_its_other_half(moved):
    with writer(moved.settings().warehouse) as warehouse:
        asked = "SELECT batch_id, batch_hash FROM ledger.batches WHERE account_id = 'roth' AND sequence = 2"
        [(batch, digest)] = warehouse.rows(asked).rows()
    approvals.answer(moved.settings(), batch, digest, "refuse", clock=moved.clock)
    moved.morning()
    assert symbols(moved) == set()
    assert moved.ask("SELECT reason FROM core.waiting WHERE gate = 'pair'") == [("roth sends nothing of its pair",)]


@pytest.mark.parametrize("account", ["taxable", "roth"])
def test_a_move_stays_where_the_broker_of_one_account_is_down_and_goes_when_it_is_back(moved, account):
    match = {"method": "GET", "path": "/v2/clock", "key": moved.server.keys[account][0]}
    moved.server.admin("/faults", [{"match": match, "kind": "500", "times": 500}])
    moved.morning()
    assert symbols(moved) == set()
    up(moved)
    moved.morning(hour=10)
    assert symbols(moved) == {"ZCC", "ZDD"}
