"""The simulated broker: what an order meets in its sessions, what it costs, and what companies pay."""

import json
import os
import time as clock
from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.accounts import Account, Simulation
from flows.connectors import (
    CORPORATE_ACTIONS,
    FINAL,
    Broker,
    Delivery,
    Order,
    OrderRejected,
    OrderState,
    Quote,
    Unavailable,
)
from flows.connectors.brokers.simulated import PriceTable, Simulated
from flows.connectors.markets.skfolio import SkfolioMarket
from flows.day import day_of
from flows.settings import Settings, read_portfolio

HEAD = "id,at,kind,side,symbol,quantity,price_usd,fee_usd,amount_usd,lots,note\n"
PAID_IN = "C-1,2026-01-02,deposit,,,,,,100000.00,,\n"
BOUGHT = "B-1,2026-01-05,trade,buy,ABC,1000,50.00,0,-50000.00,,\n"
MON, TUE, WED, THU, FRI = (date(2026, 3, day) for day in range(2, 7))
TODAY, LATER = date(2026, 6, 1), date(2026, 5, 29)


class Table:
    """A market that is a table: rows of symbol, session, close, adjusted close and volume, and a feed where there is one."""

    def __init__(self, rows: Sequence[tuple], actions: Sequence[dict[str, str]] = ()):
        self._rows, self._actions, self.asked = rows, actions, 0

    def securities(self) -> Delivery:
        return Delivery("table", "securities", None, pl.DataFrame())

    def prices(self, since: date | None, until: date) -> Delivery:
        self.asked += 1
        schema = {
            "symbol": pl.String, "session_on": pl.Date, "close_usd": pl.Float64, "adjusted_close_usd": pl.Float64,
            "volume": pl.Int64,
        }  # fmt: skip
        rows = pl.DataFrame([row for row in self._rows if (since or date.min) <= row[1] <= until], schema, orient="row")
        return Delivery("table", "prices", until, rows)

    def corporate_actions(self, since: date, until: date) -> Delivery:
        columns = ("line", *CORPORATE_ACTIONS, "payable_on")
        rows = [dict.fromkeys(columns, "") | row for row in self._actions if str(since) <= row["on"] <= str(until)]
        schema = {name: pl.Int64 if name == "line" else pl.String for name in columns}
        return Delivery("table", "corporate_actions", until, pl.DataFrame([r | {"line": 1} for r in rows], schema))

    def quotes(self, symbols: Collection[str]) -> list[Quote]:
        raise Unavailable("closes only")


def table(closes: str, volume: int | None = None, first: date = MON, actions: Sequence[dict[str, str]] = ()) -> Table:
    """ABC's closes, one a weekday from a Monday on."""
    days = (first + timedelta(days=n) for n in range(100))
    on = [day for day in days if day.weekday() < 5]
    return Table(
        [("ABC", day, float(x), float(x), volume) for day, x in zip(on, closes.split(), strict=False)], actions
    )


class Shop:
    """A folder with a history and a journal; every `broker` is a new program that reads them."""

    def __init__(self, folder: Path, market: Table | SkfolioMarket, history: str = PAID_IN + BOUGHT, **rules: object):
        self.history, self.journal = folder / "joint.csv", folder / "orders.jsonl"
        self.history.write_text(HEAD + history)
        self.prices, self.rules = PriceTable(market), Simulation.model_validate(rules)

    def broker(
        self, as_of: date | None = None, *, takes_lots: bool = True, takes_lots_until: time | None = None
    ) -> Simulated:
        return Simulated(
            "joint", self.history, self.journal, self.prices, TODAY, takes_lots=takes_lots,
            takes_lots_until=takes_lots_until, simulation=self.rules, as_of=as_of,
        )  # fmt: skip

    def fills(self, until: date = LATER) -> list[tuple[str, str, str, str, str, str]]:
        columns = ("id", "at", "quantity", "price_usd", "fee_usd", "amount_usd")
        rows = self.broker().activities(until).rows.filter(pl.col("id").str.starts_with("fill-"))
        return rows.select(columns).rows()

    def held(self, until: date = LATER) -> dict[str, Decimal]:
        rows = self.broker().positions(until).rows
        return {symbol: Decimal(quantity) for symbol, quantity in rows.select("symbol", "quantity").iter_rows()}


def order(name: str = "O-1", side: str = "buy", quantity: str = "100", **more: object) -> Order:
    said = {"lots": "", "placed_after": MON} | more
    return Order(name, side, "ABC", Decimal(quantity), **said)  # type: ignore[arg-type]


def events(states: list[OrderState]) -> list[tuple[str, Decimal]]:
    return [(state.event, state.quantity) for state in states]


# Prices and limits ------------------------------------------------------------------------------------


def test_a_whole_fill_is_one_row_at_the_next_close_under_the_orders_name(tmp_path):
    shop = Shop(tmp_path, table("50 51.5 52"))
    shop.broker().place_order(order())
    row = shop.broker().activities(TUE).rows.row(-1, named=True)
    assert row == {
        "line": 4, "id": "fill-O-1", "at": "2026-03-03", "kind": "trade", "side": "buy", "symbol": "ABC", "quantity": "100",
        "price_usd": "51.50", "fee_usd": "0", "amount_usd": "-5150.00", "lots": "", "note": "order O-1",
    }  # fmt: skip
    assert shop.broker().order_states(TUE) == [
        OrderState("O-1", "accepted", "", Decimal(0), "fills in the next session"),
        OrderState("O-1", "fill", "fill-O-1", Decimal(100), "100 at 51.50 on 2026-03-03"),
        OrderState("O-1", "filled", "", Decimal(100), "100 filled by 2026-03-03"),
    ]


@pytest.mark.parametrize(
    ("side", "limit", "close", "is_filled"),
    [
        ("buy", "51", "51", True),
        ("buy", "50.99", "51", False),
        ("sell", "51", "51", True),
        ("sell", "51.01", "51", False),
    ],
)
def test_a_limit_order_of_the_day_fills_within_its_limit_or_expires_at_the_close(
    tmp_path, side, limit, close, is_filled
):
    shop = Shop(tmp_path, table(f"50 {close} 51 51"))
    shop.broker().place_order(order(side=side, limit_usd=Decimal(limit)))
    assert events(shop.broker().order_states(TUE)) == (
        [("accepted", 0), ("fill", 100), ("filled", 100)] if is_filled else [("accepted", 0), ("expired", 0)]
    )
    assert shop.broker().order_states(LATER) == shop.broker().order_states(TUE)


def test_an_order_that_is_good_till_canceled_waits_for_its_limit(tmp_path):
    shop = Shop(tmp_path, table("50 51 52 48.5 47"))
    shop.broker().place_order(order(limit_usd=Decimal(49), time_in_force="gtc"))
    assert events(shop.broker().order_states(WED)) == [("accepted", 0)]
    assert shop.fills() == [("fill-O-1", "2026-03-05", "100", "48.50", "0", "-4850.00")]


def test_a_canceled_order_fills_no_more_and_says_so(tmp_path):
    shop = Shop(tmp_path, table("50 51 52 48.5"))
    shop.broker().place_order(order(limit_usd=Decimal(49), time_in_force="gtc"))
    shop.broker(as_of=WED).cancel_order("O-1")
    assert events(shop.broker().order_states(TUE)) == [("accepted", 0)]
    assert events(shop.broker().order_states(LATER)) == [("accepted", 0), ("canceled", 0)]
    assert shop.fills() == []


def test_a_cancel_takes_nothing_back_that_was_told(tmp_path):
    shop = Shop(tmp_path, table("50 51 52 53"), volume_share="0.5")
    shop.prices = PriceTable(table("50 51 52 53", volume=60))
    shop.broker().place_order(order(time_in_force="gtc"))
    broker = shop.broker(as_of=MON)
    assert events(broker.order_states(WED)) == [("accepted", 0), ("fill", 30), ("fill", 30)]
    broker.cancel_order("O-1")
    assert events(broker.order_states(WED)) == [("accepted", 0), ("fill", 30), ("fill", 30), ("canceled", 60)]
    assert broker.order_states(LATER) == shop.broker().order_states(LATER) == broker.order_states(WED)


def test_what_was_filled_before_the_cancel_is_told_whatever_was_asked_first(tmp_path):
    shop = Shop(tmp_path, table("50 51 52 53", volume=60), volume_share="0.5")
    shop.broker().place_order(order(time_in_force="gtc"))
    shop.broker(as_of=WED).cancel_order("O-1")
    broker = shop.broker()
    assert events(broker.order_states(TUE)) == [("accepted", 0), ("fill", 30)]
    assert events(broker.order_states(THU)) == [("accepted", 0), ("fill", 30), ("fill", 30), ("canceled", 60)]


def test_canceling_what_has_ended_changes_nothing_and_what_is_unknown_is_refused(tmp_path):
    shop = Shop(tmp_path, table("50 51 52"))
    shop.broker().place_order(order())
    before, written = shop.broker().order_states(LATER), shop.journal.read_text()
    shop.broker(as_of=TUE).cancel_order("O-1")
    assert shop.broker().order_states(LATER) == before and shop.journal.read_text() == written
    with pytest.raises(OrderRejected, match="joint knows no order O-2"):
        shop.broker().cancel_order("O-2")


def test_an_order_that_finds_no_session_for_two_weeks_expires(tmp_path):
    shop = Shop(tmp_path, table("50 51"))
    shop.broker().place_order(order(placed_after=TUE))
    assert events(shop.broker().order_states(TUE + timedelta(days=13))) == [("accepted", 0)]
    assert events(shop.broker().order_states(TUE + timedelta(days=14))) == [("accepted", 0), ("expired", 0)]


def test_states_come_in_the_order_in_which_they_came_about(tmp_path):
    shop = Shop(tmp_path, table("50 51 52 53"))
    shop.broker().place_order(order("O-2", placed_after=TUE))
    shop.broker().place_order(order("O-1"))
    states = [(state.client_order_id, state.event) for state in shop.broker().order_states(WED)]
    assert states == [
        ("O-1", "accepted"), ("O-1", "fill"), ("O-1", "filled"), ("O-2", "accepted"), ("O-2", "fill"), ("O-2", "filled"),
    ]  # fmt: skip
    assert {state.client_order_id for state in shop.broker().order_states(MON)} == {"O-1"}


@pytest.mark.parametrize(("close", "price"), [("0.51234", "0.5123"), ("0.0000123", "0.0000123"), ("1.005", "1.01")])
def test_what_trades_below_a_dollar_is_not_rounded_to_cents(tmp_path, close, price):
    shop = Shop(tmp_path, table(f"1 {close}"))
    shop.broker().place_order(order())
    assert shop.fills()[0][3] == price


def test_a_session_without_a_usable_price_is_none(tmp_path):
    shop = Shop(tmp_path, table("50 nan 0 -1 52"))
    shop.broker().place_order(order())
    assert [fill[1:4] for fill in shop.fills()] == [("2026-03-06", "100", "52.00")]


# What it costs ----------------------------------------------------------------------------------------


def test_slippage_goes_against_the_trade_to_the_last_digit(tmp_path):
    shop = Shop(tmp_path, table("50 51.50"), slippage_bps="12.5")
    shop.broker().place_order(order("O-1", "buy"))
    shop.broker().place_order(order("O-2", "sell"))
    assert [fill[3] for fill in shop.fills()] == ["51.564375", "51.435625"]
    assert [fill[5] for fill in shop.fills()] == ["-5156.44", "5143.56"]


def test_slippage_never_carries_a_price_beyond_the_limit(tmp_path):
    shop = Shop(tmp_path, table("50 50"), slippage_bps=200)
    shop.broker().place_order(order("O-1", "buy", limit_usd=Decimal("50.30")))
    shop.broker().place_order(order("O-2", "sell", limit_usd=Decimal("49.80")))
    assert [fill[3] for fill in shop.fills()] == ["50.30", "49.80"]


@pytest.mark.parametrize(
    ("volume", "price"), [(1000, "50.50"), (100, "55.00"), (10, "55.00"), (0, "55.00"), (None, "50.00")]
)
def test_impact_is_in_proportion_to_the_share_of_the_volume(tmp_path, volume, price):
    shop = Shop(tmp_path, table("50 50", volume), impact_bps=1000)
    shop.broker().place_order(order())
    assert shop.fills()[0][3] == price


@pytest.mark.parametrize(
    ("rules", "fee"),
    [
        ({}, "0"),
        ({"commission_order_usd": "4.95"}, "4.95"),
        ({"commission_share_usd": "0.005"}, "0.50"),
        ({"commission_share_usd": "0.00125"}, "0.13"),
        ({"commission_share_usd": "0.005", "commission_min_usd": "1"}, "1.00"),
        ({"commission_share_usd": "1", "commission_max_usd": "20"}, "20.00"),
    ],
)
def test_a_commission_is_whole_cents_of_the_order(tmp_path, rules, fee):
    shop = Shop(tmp_path, table("50 50"), **rules)
    shop.broker().place_order(order("O-1", "buy"))
    shop.broker().place_order(order("O-2", "sell"))
    assert [row[4] for row in shop.fills()] == [fee, fee]
    assert [Decimal(row[5]) for row in shop.fills()] == [-5000 - Decimal(fee), 5000 - Decimal(fee)]


def test_the_commissions_of_the_parts_are_that_of_the_whole(tmp_path):
    rules = {"volume_share": "0.5", "commission_share_usd": "0.003", "commission_min_usd": "0.25"}
    shop = Shop(tmp_path, table("50 50 50 50 50", volume=66), **rules)
    shop.broker().place_order(order(time_in_force="gtc"))
    assert [row[2] for row in shop.fills()] == ["33", "33", "33", "1"]
    assert [row[4] for row in shop.fills()] == ["0.25", "0", "0.05", "0"]


def test_an_account_without_a_word_on_costs_has_none():
    said = {"id": "a", "name": "a", "type": "taxable", "owner": "self", "broker": "simulated", "activities": "a.csv"}
    assert Account.model_validate(said).simulation == Simulation()
    with pytest.raises(ValidationError, match="simulation is for an account whose broker is simulated"):
        Account.model_validate(said | {"broker": "statements", "positions": "b.csv", "simulation": {"slippage_bps": 1}})
    with pytest.raises(ValidationError, match="commission_order_usd or commission_share_usd, not both"):
        Simulation(commission_order_usd=Decimal(1), commission_share_usd=Decimal(1))
    with pytest.raises(ValidationError, match="commission_max_usd is below commission_min_usd"):
        Simulation(commission_min_usd=Decimal(2), commission_max_usd=Decimal(1))


def test_portfolio_toml_says_what_it_costs(tmp_path):
    (tmp_path / "portfolio.toml").write_text("""
        [household]
        name = "The Smalls"
        filing_status = "mfj"
        taxable_income_usd = 210000
        linked = true
        [prices]
        source = "folder"
        folder = "."
        [[accounts]]
        id = "joint"
        name = "joint"
        type = "taxable"
        owner = "joint"
        broker = "simulated"
        activities = "joint.csv"
        [accounts.simulation]
        slippage_bps = 12.5
        commission_share_usd = 0.005
    """)
    (tmp_path / "joint.csv").write_text(HEAD + PAID_IN + BOUGHT)
    rows = [("ABC", MON, 50.0), ("ABC", TUE, 51.5), ("ABC", WED, 40.0)]
    prices = pl.DataFrame(rows, ["ticker", "date", "close"], orient="row")
    prices = prices.with_columns(adj_close=pl.col("close"), volume=pl.lit(None, pl.Int64))
    prices.write_parquet(tmp_path / "us_x_daily_y.parquet")
    portfolio = read_portfolio(tmp_path / "portfolio.toml")
    at = Settings(home=tmp_path, portfolio_file=tmp_path / "portfolio.toml", portfolio=portfolio)

    def broker(as_of: date) -> Broker:
        return day_of(at, as_of, datetime(2026, 6, 1)).broker(portfolio.accounts[0])

    broker(MON).place_order(order("O-1"))
    broker(MON).place_order(order("O-2", limit_usd=Decimal(45), time_in_force="gtc"))
    broker(TUE).cancel_order("O-2")  # after Tuesday's close, by a program that was asked nothing
    row = broker(WED).activities(WED).rows.row(-1, named=True)
    assert (row["id"], row["price_usd"], row["fee_usd"]) == ("fill-O-1", "51.564375", "0.50")
    assert [state.event for state in broker(WED).order_states(WED)][-1] == "canceled"


# Parts ------------------------------------------------------------------------------------------------


def test_a_session_fills_a_share_of_its_volume_and_the_rest_of_a_day_order_expires(tmp_path):
    shop = Shop(tmp_path, table("50 51 52", volume=250), volume_share="0.1")
    shop.broker().place_order(order())
    assert shop.broker().order_states(LATER)[1:] == [
        OrderState("O-1", "fill", "fill-O-1-1", Decimal(25), "25 at 51.00 on 2026-03-03"),
        OrderState("O-1", "expired", "", Decimal(25), "25 filled by 2026-03-03"),
    ]
    assert shop.held() == {"ABC": 1025, "USD": 50000 - 25 * 51}


def test_the_rest_of_a_gtc_order_fills_in_the_sessions_that_follow(tmp_path):
    shop = Shop(tmp_path, table("50 51 52 53 54 55", volume=405), volume_share="0.1")
    shop.broker().place_order(order(time_in_force="gtc"))
    assert [fill[:4] for fill in shop.fills()] == [
        ("fill-O-1-1", "2026-03-03", "40", "51.00"),
        ("fill-O-1-2", "2026-03-04", "40", "52.00"),
        ("fill-O-1-3", "2026-03-05", "20", "53.00"),
    ]
    assert events(shop.broker().order_states(LATER))[-1] == ("filled", 100)
    assert events(shop.broker().order_states(WED)) == [("accepted", 0), ("fill", 40), ("fill", 40)]


def test_parts_are_drawn_from_the_orders_name_and_every_program_draws_the_same(tmp_path):
    shop = Shop(tmp_path, table("50 " * 40), least_fill="0.2")
    for number in range(8):
        shop.broker().place_order(order(f"O-{number}", time_in_force="gtc"))
    fills = shop.fills()
    assert fills == shop.fills()
    firsts = [Decimal(fill[2]) for fill in fills if fill[0].endswith("-1")]
    assert len(set(firsts)) > 3 and all(20 <= first < 100 for first in firsts)
    ended = [state for state in shop.broker().order_states(LATER) if state.event == "filled"]
    assert [state.quantity for state in ended] == [100] * 8


def test_lots_are_cut_where_the_fills_are_cut(tmp_path):
    shop = Shop(tmp_path, table("50 51 52 53", volume=40), volume_share="1")
    shop.broker().place_order(order(side="sell", lots="B-1:30;B-2:25.5;B-3:44.5", time_in_force="gtc"))
    rows = shop.broker().activities(LATER).rows
    assert rows["lots"].to_list()[2:] == ["B-1:30;B-2:10", "B-2:15.5;B-3:24.5", "B-3:20"]
    assert set(shop.broker(takes_lots=False).activities(LATER).rows["lots"]) == {""}


def test_a_purchase_in_dollars_buys_what_they_pay_for(tmp_path):
    shop = Shop(tmp_path, table("50 53.27"), slippage_bps=10, commission_order_usd="1")
    shop.broker().place_order(order(quantity="20", notional_usd=Decimal(1000)))
    [(name, _, quantity, price, fee, amount)] = shop.fills()
    assert (name, price, fee) == ("fill-O-1", "53.32327", "1.00")
    assert Decimal(quantity) * Decimal(price) <= 1000 < (Decimal(quantity) + Decimal("0.000000001")) * Decimal(price)
    assert amount == "-1001.00"


# Lots told after the trade ----------------------------------------------------------------------------


def test_lots_told_on_the_evening_of_the_fill_stand_in_its_row(tmp_path):
    shop = Shop(tmp_path, table("50 51 52"))
    shop.broker().place_order(order(side="sell"))
    late = {"takes_lots": False, "takes_lots_until": time(20, 30)}
    taken = shop.broker(**late).tell_lots("O-1", "B-1:100", MON)
    assert (str(taken.at), str(taken.until)) == ("2026-03-03 18:00:00", "2026-03-03 20:30:00")
    row = shop.broker(**late).activities(TUE).rows.row(-1, named=True)
    assert (row["lots"], row["identified_at"]) == ("B-1:100", "2026-03-03 18:00:00")
    with pytest.raises(OrderRejected, match="too late"):
        shop.broker(**late).tell_lots("O-1", "B-1:100", WED)


def test_of_an_order_filled_over_days_only_the_fill_of_the_evening_takes_lots(tmp_path):
    shop = Shop(tmp_path, table("50 51 52", volume=60), volume_share="1")
    shop.broker().place_order(order(side="sell", time_in_force="gtc"))
    late = {"takes_lots": False, "takes_lots_until": time(20, 30)}
    assert shop.broker(**late).tell_lots("O-1", "B-1:70;B-2:30", TUE).at == datetime(2026, 3, 3, 18)
    shop.journal.write_text(shop.journal.read_text().splitlines()[0] + "\n")
    shop.broker(**late).tell_lots("O-1", "B-1:70;B-2:30", WED)
    rows = shop.broker(**late).activities(LATER).rows
    assert rows["lots"].to_list()[2:] == ["", "B-1:10;B-2:30"]


# What it does not take --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (order(side="hold"), "side 'hold' is not buy or sell"),
        (order(quantity="0"), "quantity 0 is not above zero"),
        (order(quantity="-5"), "quantity -5 is not above zero"),
        (order(quantity="NaN"), "quantity NaN is not above zero"),
        (order(quantity="0.0000000001"), "is not above zero with 9 decimals"),
        (order(limit_usd=Decimal("NaN")), "a limit and an amount in dollars are above zero"),
        (order(limit_usd=Decimal(0)), "a limit and an amount in dollars are above zero"),
        (order(side="sell", notional_usd=Decimal(5)), "only a purchase can be in dollars"),
        (order(time_in_force="opg"), "'opg' is not day or gtc"),
        (order(side="sell", quantity="1001"), "joint does not hold 1001 of ABC"),
    ],
)
def test_an_order_that_makes_no_sense_is_rejected_with_the_reason_and_leaves_no_trace(tmp_path, wrong, words):
    shop = Shop(tmp_path, table("50 51"))
    with pytest.raises(OrderRejected, match=words):
        shop.broker().place_order(wrong)
    assert not shop.journal.exists()


def test_the_same_shares_are_not_sold_twice(tmp_path):
    shop = Shop(tmp_path, table("50 51 52"))
    shop.broker().place_order(order("O-1", "sell", "700"))
    with pytest.raises(OrderRejected, match="holds 1000 of ABC, and other orders sell 700 of them"):
        shop.broker().place_order(order("O-2", "sell", "301"))
    shop.broker().place_order(order("O-3", "sell", "300"))
    assert shop.held() == {"USD": 50000 + 51000}


def test_what_expired_in_its_session_may_be_tried_again_in_it(tmp_path):
    shop = Shop(tmp_path, table("50 51"))
    shop.broker().place_order(order("O.1", "sell", "1000", limit_usd=Decimal(60)))
    assert events(shop.broker().order_states(TUE)) == [("accepted", 0), ("expired", 0)]
    shop.broker().place_order(order("O.2", "sell", "1000"))
    assert shop.held(TUE) == {"USD": 101000}


def test_an_account_that_minds_its_cash_rejects_what_it_cannot_pay(tmp_path):
    shop = Shop(tmp_path, table("50 50"), buying_power="cash", slippage_bps=100, commission_order_usd="1")
    with pytest.raises(OrderRejected, match=r"can buy for 50000.00 USD, and O-1 would cost about 50501.00"):
        shop.broker().place_order(order("O-1", "buy", "1000"))
    broker = shop.broker()
    broker.place_order(order("O-2", "sell", "20"))  # brings 20 x 49.50 - 1
    broker.place_order(order("O-3", "buy", "1009"))  # costs 1009 x 50.50 + 1 = 50955.50 of 50989.00
    told = shop.broker().balances(MON).rows.select("name", "value").rows()
    assert told == [("buying_power_usd", "33.50")]
    with pytest.raises(OrderRejected, match=r"can buy for 33.50 USD"):
        broker.place_order(order("O-4", "buy", "1"))
    shop.broker().place_order(order("O-5", "buy", "1", limit_usd=Decimal("32.50")))


def test_what_an_open_order_holds_back_is_said_without_looking_ahead(tmp_path):
    shop = Shop(tmp_path, table("50 50 50"), buying_power="cash")
    shop.broker().place_order(order("O-1", "buy", "100", limit_usd=Decimal(40)))  # it will expire
    said = [shop.broker().balances(day).rows["value"].to_list() for day in (MON, TUE)]
    assert said == [["46000.00"], ["50000.00"]]
    shop.broker().place_order(order("O-2", "buy", "1000"))


def test_what_has_no_price_yet_needs_a_limit_where_cash_is_minded(tmp_path):
    shop = Shop(tmp_path, table("50 50"), buying_power="cash")
    new = order()._replace(security_id="NEW")
    with pytest.raises(OrderRejected, match="NEW has no price to reckon with; give a limit"):
        shop.broker().place_order(new)
    assert shop.broker().place_order(new._replace(limit_usd=Decimal(10))).event == "accepted"


def test_an_account_whose_history_is_away_takes_no_order(tmp_path):
    shop = Shop(tmp_path, table("50 50"))
    shop.history.unlink()
    with pytest.raises(Unavailable, match=r"joint\.csv"):
        shop.broker().place_order(order())


def test_a_table_that_grows_is_seen_by_the_next_program(tmp_path):
    market = table("50")
    shop = Shop(tmp_path, market)
    shop.broker().place_order(order())
    assert events(shop.broker().order_states(TUE)) == [("accepted", 0)]
    market._rows = table("50 51")._rows
    assert events(shop.broker().order_states(TUE)) == [("accepted", 0), ("fill", 100), ("filled", 100)]


def test_an_account_that_does_not_mind_says_nothing_of_its_buying_power(tmp_path):
    shop = Shop(tmp_path, table("50 50"))
    shop.broker().place_order(order("O-1", "buy", "5000"))
    assert shop.broker().balances(MON).rows.is_empty() and shop.held()["USD"] == -200000


# What companies do ------------------------------------------------------------------------------------

DIVIDEND = {
    "id": "D-1",
    "kind": "dividend",
    "symbol": "ABC",
    "on": str(WED),
    "payable_on": str(FRI),
    "cash_usd": "0.255",
}


def made(shop: Shop, until: date = LATER) -> list[tuple]:
    rows = shop.broker().activities(until).rows
    rows = rows.filter(~pl.col("id").str.starts_with("fill-"))[2:]
    return rows.select("id", "at", "kind", "symbol", "amount_usd").rows()


def test_a_dividend_is_paid_on_its_day_for_the_shares_held_before_the_ex_date(tmp_path):
    shop = Shop(tmp_path, table("50 51 52 53 54", actions=[DIVIDEND]))
    shop.broker().place_order(order("O-1", "buy", "1"))  # filled on Tuesday: before the ex-date
    shop.broker().place_order(order("O-2", "buy", "100", placed_after=TUE))  # on Wednesday: too late
    shop.broker().place_order(order("O-3", "sell", "1000", placed_after=WED))  # sold before it is paid
    assert made(shop, THU) == []
    assert made(shop) == [("dividend-joint-D-1", "2026-03-06", "dividend", "ABC", "255.26")]
    assert shop.held()["USD"] - shop.held(THU)["USD"] == Decimal("255.26")
    note = shop.broker().activities(LATER).rows["note"].to_list()[-1]
    assert note == "0.255 a share on 1001 shares, ex-date 2026-03-04"


def test_a_dividend_whose_pay_date_nobody_knows_is_paid_on_its_ex_date(tmp_path):
    shop = Shop(tmp_path, table("50 51 52", actions=[DIVIDEND | {"payable_on": ""}]))
    assert made(shop, TUE) == [] and made(shop, WED)[0][:2] == ("dividend-joint-D-1", "2026-03-04")


@pytest.mark.parametrize(("on", "paid"), [("2026-03-03", 1), ("2026-03-04", 0), ("2026-03-30", 0), ("2026-04-20", 1)])
def test_a_dividend_that_the_history_has_is_not_paid_again(tmp_path, on, paid):
    told = f"V-1,{on},dividend,,ABC,,,,255.00,,\n"
    shop = Shop(tmp_path, table("50 51 52", actions=[DIVIDEND]), PAID_IN + BOUGHT + told)
    assert sum(row[0].startswith("dividend-") for row in made(shop)) == paid


def test_dividends_may_be_left_out(tmp_path):
    assert made(Shop(tmp_path, table("50 51 52", actions=[DIVIDEND]), dividends="none")) == []


def adjusted(close_is_known: bool) -> Table:
    """A dividend of 0.51 goes ex on Wednesday."""
    kept = 1 - 0.51 / 51
    closes = [(MON, 50.0, 50 * kept), (TUE, 51.0, 51 * kept), (WED, 50.5, 50.5), (THU, 52.0, 52.0)]
    rows = [("ABC", on, close if close_is_known else None, was, None) for on, close, was in closes]
    return Table(rows, [] if close_is_known else [DIVIDEND])


def test_dividends_are_derived_from_adjusted_closes_only_where_asked_for_and_say_so(tmp_path):
    assert made(Shop(tmp_path, adjusted(True))) == []
    shop = Shop(tmp_path, adjusted(True), dividends="derived")
    assert made(shop) == [("dividend-joint-ABC-2026-03-04", "2026-03-04", "dividend", "ABC", "510.00")]
    note = shop.broker().activities(LATER).rows["note"].to_list()[-1]
    assert note == "0.51 a share on 1000 shares, ex-date 2026-03-04, derived from the adjusted closes"
    assert shop.held(TUE)["USD"] == 50000 and shop.held(WED)["USD"] == 50510


def test_where_closes_are_adjusted_only_dividends_are_in_the_price_and_no_cash(tmp_path):
    told = "V-1,2026-03-02,dividend,,ABC,,,,255.00,,\n"
    shop = Shop(tmp_path, adjusted(False), PAID_IN + BOUGHT + told, dividends="derived")
    assert [row[0] for row in made(shop)] == ["V-1"] and shop.held(THU) == {"ABC": 1000, "USD": 50000}
    by_feed = Shop(tmp_path, adjusted(False), PAID_IN + BOUGHT + told)
    assert [row[0] for row in made(by_feed, FRI)] == ["V-1"] and by_feed.held(FRI)["USD"] == 50000


def test_derived_dividends_are_those_that_were_declared():
    root = Path(__file__).parents[1].parent / "shared"
    folder = Path(os.environ.get("THRESHER_TEST_DATA") or root) / "data"
    if not (folder / "us_stocks_daily_2000_2025.parquet").exists():
        pytest.skip(f"no real prices in {folder}: THRESHER_TEST_DATA names the folder above it")
    from flows.connectors.markets.folder import FolderMarket

    found = PriceTable(FolderMarket(folder)).derived_dividends(date(2024, 1, 1), date(2024, 12, 31))
    cola = [(action.on, round(action.cash_usd, 3)) for action in found if action.symbol == "KO"]
    days = (date(2024, 3, 14), date(2024, 6, 14), date(2024, 9, 13), date(2024, 11, 29))
    assert cola == [(on, Decimal("0.485")) for on in days]


def test_a_dividend_of_the_first_session_of_a_year_is_seen():
    rows = [("ABC", date(2025, 12, 31), 50.0, 49.5, None), ("ABC", date(2026, 1, 2), 50.0, 50.0, None)]
    [found] = PriceTable(Table(rows)).derived_dividends(date(2026, 1, 1), date(2026, 1, 31))
    assert (found.on, found.cash_usd) == (date(2026, 1, 2), Decimal("0.5"))


SPLIT = {"id": "S-1", "kind": "split", "symbol": "ABC", "on": str(WED), "ratio": "3:2"}


def test_a_split_of_the_feed_comes_before_the_days_trades(tmp_path):
    shop = Shop(tmp_path, table("50 51 34 35", actions=[SPLIT]))
    shop.broker().place_order(order("O-1", "buy", "10", placed_after=TUE))
    assert made(shop) == [("split-joint-S-1", "2026-03-04", "split", "ABC", "")]
    assert shop.broker().activities(LATER).rows["ratio"].to_list()[-1] == "3:2"
    assert (shop.held(TUE)["ABC"], shop.held(WED)["ABC"]) == (1000, 1510)


def test_a_split_that_the_history_has_is_not_done_again(tmp_path):
    said = PAID_IN + BOUGHT + "X-1,2026-03-06,split,,ABC,,,,,,\n"
    (tmp_path / "other").mkdir()
    shop = Shop(tmp_path / "other", table("50 51 34 35", actions=[SPLIT]), said)
    shop.history.write_text((HEAD + said).replace("lots,note", "lots,ratio").replace(",,,,,,\n", ",,,,,,3:2\n"))
    assert [row[0] for row in made(shop)] == ["X-1"] and shop.held()["ABC"] == 1500


def test_a_new_symbol_carries_the_shares_on_and_its_dividend_is_paid(tmp_path):
    renamed = {"id": "N-1", "kind": "symbol_change", "symbol": "ABC", "on": str(TUE), "new_symbol": "NEW"}
    shop = Shop(tmp_path, table("50 51 52", actions=[renamed, DIVIDEND | {"symbol": "NEW"}]))
    assert shop.held() == {"NEW": 1000, "USD": 50255}


def test_a_third_of_a_share_is_kept_to_the_billionth(tmp_path):
    shop = Shop(tmp_path, table("50 51 52", actions=[SPLIT | {"ratio": "1:3"}]))
    assert shop.held()["ABC"] == Decimal("333.333333333")


def test_an_order_for_an_earlier_day_does_not_sell_what_one_for_a_later_day_sells(tmp_path):
    shop = Shop(tmp_path, table("50 51 52"))
    shop.broker().place_order(order("O-1", "sell", "600", placed_after=TUE))
    with pytest.raises(OrderRejected, match="holds 1000 of ABC, and other orders sell 600 of them"):
        shop.broker().place_order(order("O-2", "sell", "401", placed_after=MON))
    assert shop.broker().place_order(order("O-3", "sell", "400", placed_after=MON)).event == "accepted"


# The journal ------------------------------------------------------------------------------------------


def test_placing_a_name_twice_places_once_whoever_places_it(tmp_path):
    shop = Shop(tmp_path, table("50 51"))
    one, other = shop.broker(), shop.broker()
    assert other.positions(TUE).rows["quantity"].to_list() == ["1000", "50000.00"]
    assert one.place_order(order()).event == "accepted"
    assert other.place_order(order(quantity="7")).event == "filled", "as it stands on Tuesday, of which it has told"
    assert shop.broker(as_of=TUE).place_order(order()).event == "filled"
    assert len(shop.journal.read_text().splitlines()) == 1
    assert other.positions(TUE).rows.equals(one.positions(TUE).rows)


def test_a_journal_of_before_is_read_as_it_was_meant(tmp_path):
    shop = Shop(tmp_path, table("50 51"))
    old = {"account_id": "joint", "client_order_id": "O-1", "side": "sell", "security_id": "ABC", "quantity": "10", "lots": "",
           "placed_after": str(MON)}  # fmt: skip
    others = old | {"account_id": "roth", "client_order_id": "O-2"}
    again = old | {"quantity": "11"}
    shop.journal.write_text("\n".join(map(json.dumps, (old, again, others))))  # and without the end of its last line
    shop.broker().place_order(order("O-3", "sell", "20"))
    assert [fill[:3] for fill in shop.fills()] == [("fill-O-1", str(TUE), "10"), ("fill-O-3", str(TUE), "20")]


def test_a_line_that_was_cut_off_is_named_with_what_to_do(tmp_path):
    shop = Shop(tmp_path, table("50 51"))
    shop.broker().place_order(order())
    with shop.journal.open("a") as file:
        file.write('{"account_id": "joint", "client_or')
    for ask in (lambda b: b.activities(TUE), lambda b: b.place_order(order("O-2"))):
        with pytest.raises(Unavailable, match=r"orders\.jsonl:2 is not a line .* delete that line"):
            ask(shop.broker())


# Whatever happens -------------------------------------------------------------------------------------

SYMBOLS, DAYS = ("ABC", "XYZ"), [MON + timedelta(days=7 * week + day) for week in range(3) for day in range(5)]
RULES = st.fixed_dictionaries(
    {
        "slippage_bps": st.sampled_from(["0", "5", "37.5"]),
        "impact_bps": st.sampled_from(["0", "250"]),
        "commission_share_usd": st.sampled_from(["0", "0.0035"]),
        "commission_min_usd": st.sampled_from(["0", "0.35"]),
        "volume_share": st.sampled_from([None, "0.1", "1"]),
        "least_fill": st.sampled_from(["1", "0.3"]),
    }
)
PRICES = st.lists(
    st.tuples(st.integers(100, 20_000), st.integers(0, 500) | st.none()), min_size=30, max_size=30
)  # cents and volume
ORDERS = st.lists(
    st.tuples(
        st.sampled_from(SYMBOLS), st.sampled_from(["buy", "sell"]), st.decimals("0.001", "300", places=3),
        st.sampled_from(DAYS[:12]), st.none() | st.decimals(1, 200, places=2), st.sampled_from(["day", "gtc"]),
        st.none() | st.decimals(1, 5000, places=2), st.none() | st.integers(0, 14),
    ),
    max_size=12,
)  # fmt: skip
ACTIONS = [DIVIDEND, SPLIT | {"on": str(DAYS[7])}]


def happened(folder: Path, prices: list, rules: dict, orders: list) -> tuple[Shop, list[tuple]]:
    """A shop in which orders were placed, and some canceled."""
    keys = [(symbol, day) for symbol in SYMBOLS for day in DAYS]
    rows = [(s, day, cents / 100, cents / 100, v) for (s, day), (cents, v) in zip(keys, prices, strict=True)]
    history = PAID_IN + BOUGHT + "B-2,2026-01-06,trade,buy,XYZ,77.25,100,0,-7725.00,,\n"
    shop = Shop(folder, Table(rows, ACTIONS), history, **rules)
    shop.journal.unlink(missing_ok=True)
    for number, (symbol, side, quantity, after, limit, force, dollars, canceled) in enumerate(orders):
        placed = Order(
            f"O-{number}", side, symbol, quantity, "", after, limit, dollars if side == "buy" else None, force
        )
        try:
            shop.broker().place_order(placed)
        except OrderRejected:
            continue
        if canceled is not None:
            shop.broker(as_of=DAYS[canceled]).cancel_order(placed.client_order_id)
    return shop, rows


@given(prices=PRICES, rules=RULES, orders=ORDERS, shuffled=st.permutations(DAYS))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shares_and_cash_are_history_and_fills_and_every_question_has_one_answer(
    tmp_path, prices, rules, orders, shuffled
):
    shop, rows = happened(tmp_path, prices, rules, orders)
    close = {(symbol, on): Decimal(str(price)) for symbol, on, price, *_ in rows}
    volume = {(symbol, on): v for symbol, on, _, _, v in rows}
    told = {state.client_order_id for state in shop.broker().order_states(LATER)}
    limit = {f"O-{number}": row[4] for number, row in enumerate(orders) if f"O-{number}" in told}
    fresh, asked = {}, shop.broker()
    for day in DAYS:
        broker = shop.broker()
        fresh[day] = broker.order_states(day), broker.activities(day).rows.rows(), broker.positions(day).rows.rows()
        held: dict[str, Decimal] = {}
        for row in sorted(broker.activities(day).rows.iter_rows(named=True), key=lambda row: row["at"] + row["kind"]):
            if row["kind"] == "split":  # sorts before the day's trades
                held["ABC"] = (held["ABC"] * 3 / 2).quantize(Decimal("0.000000001"), "ROUND_HALF_UP")
            elif row["kind"] == "trade":
                signed = Decimal(row["quantity"]) * (1 if row["side"] == "buy" else -1)
                held[row["symbol"]] = held.get(row["symbol"], Decimal(0)) + signed
            held["USD"] = held.get("USD", Decimal(0)) + Decimal(row["amount_usd"] or 0)
        assert shop.held(day) == {name: quantity for name, quantity in held.items() if quantity}
        assert all(held[symbol] >= 0 for symbol in SYMBOLS), "no share is sold that is not there"
    for day in shuffled:
        assert (asked.order_states(day), asked.activities(day).rows.rows(), asked.positions(day).rows.rows()) == fresh[
            day
        ]
    for before, after in pairwise(DAYS):
        assert set(fresh[before][0]) <= set(fresh[after][0]), "what was told stays told"
    for row in shop.broker().activities(LATER).rows.filter(pl.col("id").str.starts_with("fill-")).iter_rows(named=True):
        key, price = (row["symbol"], date.fromisoformat(row["at"])), Decimal(row["price_usd"])
        is_buy, most = row["side"] == "buy", limit[row["note"].removeprefix("order ")]
        assert price >= close[key] if is_buy else price <= close[key]
        assert most is None or (price <= most if is_buy else price >= most)
        if rules["volume_share"] and volume[key] is not None:
            assert Decimal(row["quantity"]) <= volume[key] * Decimal(rules["volume_share"])
    states = shop.broker().order_states(LATER)
    for name in limit:
        own = [state for state in states if state.client_order_id == name]
        filled = sum((state.quantity for state in own if state.event == "fill"), Decimal(0))
        assert own[0].event == "accepted" and sum(state.event in FINAL for state in own) <= 1
        assert own[-1].event not in FINAL or own[-1].quantity == filled


@given(prices=PRICES, rules=RULES, orders=ORDERS, until=st.sampled_from(DAYS))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_after_the_day_asked_for_shows(tmp_path, prices, rules, orders, until):
    shop, rows = happened(tmp_path, prices, rules, orders)
    told = shop.broker().order_states(until), shop.broker().activities(until).rows, shop.broker().positions(until).rows
    shop.prices = PriceTable(
        Table([row for row in rows if row[1] <= until], [a for a in ACTIONS if a["on"] <= str(until)])
    )
    assert shop.broker().order_states(until) == told[0]
    assert shop.broker().activities(until).rows.rows() == told[1].rows()
    assert shop.broker().positions(until).rows.rows() == told[2].rows()


def test_a_thousand_orders_are_told_in_well_under_a_second_and_the_prices_are_read_once(tmp_path):
    market = table(" ".join(str(50 + n % 9) for n in range(70)), volume=10**6)
    shop = Shop(tmp_path, market, slippage_bps=5, volume_share="0.01", least_fill="0.5", buying_power="cash")
    shop.history.write_text(HEAD + PAID_IN.replace("100000", "100000000") + BOUGHT)
    broker = shop.broker()
    for number in range(1000):
        broker.place_order(order(f"O-{number}", "buy", "11", placed_after=(MON, TUE, WED)[number // 334]))
    started, broker = clock.perf_counter(), shop.broker()
    states, rows = broker.order_states(LATER), broker.activities(LATER).rows
    took = clock.perf_counter() - started
    assert len(states) >= 3000 and rows.height == 1002
    assert took < 1, f"{took:.2f} s"
    assert market.asked == 1


def test_250_sessions_at_100_basis_points_cost_exactly_the_slippage(tmp_path):
    """Real closes: one order a session, bought and sold in turn; the difference is 1 % of every dollar traded."""
    market = SkfolioMarket(tmp_path / "none.csv")
    days = market.prices(date(2021, 1, 4), date(2022, 12, 27)).rows["session_on"].unique().sort().to_list()[:252]
    rows = market.prices(days[0], days[-1]).rows.select("symbol", "session_on", "adjusted_close_usd").iter_rows()
    closes = {(name, on): Decimal(str(price)).quantize(Decimal("0.01"), "ROUND_HALF_UP") for name, on, price in rows}
    cash = {}
    for bps in (0, 100):
        (folder := tmp_path / str(bps)).mkdir()
        shop = Shop(folder, market, PAID_IN.replace("2026-01-02", str(days[0])), slippage_bps=bps)
        broker = shop.broker()
        for number, after in enumerate(days[:250]):
            side = "sell" if number % 2 else "buy"
            symbol = ("KO", "JPM", "MSFT")[number // 2 % 3]
            broker.place_order(Order(f"O-{number}", side, symbol, Decimal(100), "", after))
        cash[bps] = shop.held(days[-1])
    traded = sum(
        closes[("KO", "JPM", "MSFT")[number // 2 % 3], days[number + 1]] * 100 for number in range(250)
    )  # each is a whole number of dollars, so that 1 % of it is a whole number of cents
    assert set(cash[0]) == set(cash[100]) == {"USD"}
    assert cash[0]["USD"] - cash[100]["USD"] == traded / 100 > 0
