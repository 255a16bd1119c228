"""What every broker promises, one list of sentences for all of them.

A stand is a broker of one sort in a market of its own: an account with 100,000 dollars and 100 shares of AAA, which trades
near 10. Another sort of broker is one more line of STANDS.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Protocol

import polars as pl
import pytest
from fake_alpaca.running import Running, running
from ib_gateway import Gateway, at_ibkr

from flows.accounts import Account, Alpaca, Simulation
from flows.calendar import NEW_YORK, next_session
from flows.connectors import FINAL, Broker, Order, OrderRejected, OrderState
from flows.connectors.brokers.alpaca import AlpacaBroker
from flows.connectors.brokers.ibkr import IbkrBroker
from flows.connectors.brokers.simulated import PriceTable, Simulated
from flows.connectors.brokers.statements import Statements
from flows.connectors.formats.gathered import Source
from flows.connectors.markets.folder import FolderMarket
from transforms.orders.identity import batch_id, client_order_id

FIRST = date(2022, 10, 13)
BALANCES = {"equity_usd", "buying_power_usd", "long_usd", "short_usd", "options_level", "is_blocked", "day_trades"}
HEAD = "id,at,kind,side,symbol,quantity,price_usd,fee_usd,amount_usd,lots\n"
HISTORY = (
    f"{HEAD}D1,2022-01-03,deposit,,,,,,101000,\nB1,2022-01-04,trade,buy,AAA,100,10,0,-1000,\n"
    "L1,2022-11-30,dividend,,AAA,,,,1,\n"
)  # fmt: skip


class Stand(Protocol):
    """A broker in its market. `day` is the last completed session; it is evening."""

    day: date

    def broker(self) -> Broker:
        """The connector, as a new run has it: it remembers nothing."""
        ...

    def trade(self) -> date:
        """Let a session pass."""
        ...


class SimulatedStand:
    """The simulated broker on a folder of prices; each session fills a part of what is left."""

    def __init__(self, folder: Path, least_fill: str):
        self.day, self._folder, self._least_fill = FIRST, folder, least_fill
        days = [FIRST + timedelta(days=n) for n in range(-20, 40) if (FIRST + timedelta(days=n)).weekday() < 5]
        rows = [("AAA", day, 10.37, 10.37, 1_000_000) for day in days]
        columns = {
            "ticker": pl.String,
            "date": pl.Date,
            "close": pl.Float64,
            "adj_close": pl.Float64,
            "volume": pl.Int64,
        }
        pl.DataFrame(rows, schema=columns, orient="row").write_parquet(folder / "us_x_daily_y.parquet")
        (folder / "securities.csv").write_text("symbol,name,sector\nAAA,A,Things\n")
        (folder / "joint.csv").write_text(HISTORY)

    def broker(self) -> Broker:
        return Simulated(
            "joint", self._folder / "joint.csv", self._folder / "orders.jsonl", PriceTable(FolderMarket(self._folder)),
            date(2022, 12, 30), takes_lots=False, simulation=Simulation(least_fill=Decimal(self._least_fill)), as_of=self.day,
        )  # fmt: skip

    def trade(self) -> date:
        self.day = next_session(self.day)
        return self.day


class AlpacaStand:
    """An account of its own at the local Alpaca, whose clock is moved from evening to evening."""

    def __init__(self, server: Running, name: str, patch: pytest.MonkeyPatch):
        self._server = server
        self.day = date.fromisoformat(server.admin("")["clock"][:10])
        opened = server.admin("/accounts", {"account": name, "cash": 100000})
        server.admin(
            "/activities", {"account": name, "activity_type": "ACATS", "symbol": "AAA", "qty": "100", "price": "10"}
        )
        for url in ("THRESHER_ALPACA_URL", "THRESHER_ALPACA_DATA_URL"):
            patch.setenv(url, server.address)
        patch.setenv("CONTRACT_API_KEY", opened["key_id"])
        patch.setenv("CONTRACT_SECRET_KEY", opened["secret_key"])

    def broker(self) -> Broker:
        keys = Alpaca(key_name="CONTRACT")
        account = Account(id="joint", name="Joint", type="taxable", owner="joint", broker="alpaca", alpaca=keys)
        return AlpacaBroker(account, lambda _: None)

    def trade(self) -> date:
        self.day = next_session(self.day)
        self._server.admin("/clock", {"at": f"{self.day}T22:00:00Z"})
        return self.day


class IbkrStand:
    """A gateway that fills what it has in the morning, in two parts; the Flex statement speaks to the evening before."""

    def __init__(self, stack: ExitStack, patch: pytest.MonkeyPatch):
        self.day = date(2026, 11, 19)
        self._gateway = Gateway(
            now=datetime(2026, 11, 20, 9, 0, tzinfo=NEW_YORK), held={"AAA": (Decimal(100), Decimal(10))}, known={"AAA"}
        )
        stack.enter_context(at_ibkr(patch, self._gateway))

    def broker(self) -> Broker:
        settings = self._gateway.settings()
        return IbkrBroker(
            Account(id="joint", name="Joint", type="taxable", owner="joint", broker="ibkr", ibkr=settings)
        )

    def trade(self) -> date:
        self.day = next_session(self.day)
        self._gateway.now = self._gateway.now.replace(hour=11)
        for order in [order for order in self._gateway.orders if order.is_open]:
            if order.kind == "LMT" and Decimal(order.limit) < Decimal("10.37"):
                self._gateway.end(order.ref)
                continue
            if order.quantity % 2 == 0:
                self._gateway.fill(order.ref, "10.37", str(order.quantity / 2))
            self._gateway.fill(order.ref, "10.37")
        self._gateway.now = self._gateway.now.replace(hour=17)
        return self.day


class StatementsStand:
    """Files of what was; nothing trades."""

    def __init__(self, folder: Path):
        self.day, self._folder = FIRST, folder
        (folder / "joint.csv").write_text(HISTORY)
        held = "".join(
            f"AAA,100,{day}\nUSD,100000,{day}\n" for day in (FIRST - timedelta(days=7), FIRST, date(2022, 12, 29))
        )
        (folder / "held.csv").write_text(f"symbol,quantity,as_of\n{held}")

    def broker(self) -> Broker:
        source = Source("joint", self._folder / "joint.csv", "thresher", "", {})
        return Statements(source, self._folder / "held.csv", date(2022, 12, 30))

    def trade(self) -> date:
        raise AssertionError("nothing trades in a statement")


class Given(NamedTuple):
    """What a stand is made of."""

    folder: Path
    name: str
    patch: pytest.MonkeyPatch
    alpaca: Callable[[], Running]
    stack: ExitStack


STANDS: dict[str, Callable[[Given], Stand]] = {
    "simulated": lambda given: SimulatedStand(given.folder, "1"),
    "simulated in parts": lambda given: SimulatedStand(given.folder, "0.3"),
    "alpaca": lambda given: AlpacaStand(given.alpaca(), given.name, given.patch),
    "ibkr": lambda given: IbkrStand(given.stack, given.patch),
    "statements": lambda given: StatementsStand(given.folder),
}
TRADING = [name for name in STANDS if name != "statements"]


@pytest.fixture(scope="module")
def local_alpaca(tmp_path_factory) -> Iterator[Callable[[], Running]]:
    """One local Alpaca for all tests, started when it is asked for; a third of what is ordered is filled in pieces."""
    with ExitStack() as stack:
        started: list[Running] = []

        def server() -> Running:
            if not started:
                journal = tmp_path_factory.mktemp("alpaca") / "journal.jsonl"
                options = ("--clock", f"{FIRST}T22:00:00Z", "--no-sync", "--account", "nobody:0", "--partial", "1")
                started.append(stack.enter_context(running(journal, *options)))
                started[0].admin("/prices", [{"symbol": "AAA", "price": "10.37", "at": f"{FIRST}T14:00:00Z"}])
            return started[0]

        yield server


@pytest.fixture
def stand(request, tmp_path, monkeypatch, local_alpaca) -> Iterator[Stand]:
    with ExitStack() as stack:
        yield STANDS[request.param](Given(tmp_path, request.node.name, monkeypatch, local_alpaca, stack))


every_broker = pytest.mark.parametrize("stand", STANDS, indirect=True)
every_trading_broker = pytest.mark.parametrize("stand", TRADING, indirect=True)


def order_of(stand: Stand, side: str = "buy", quantity: str = "12", line: int = 1, limit: str | None = None) -> Order:
    name = client_order_id(batch_id(next_session(stand.day), "joint"), line)
    return Order(name, side, "AAA", Decimal(quantity), "", stand.day, None if limit is None else Decimal(limit))


def states_of(stand: Stand, order: Order, until: date | None = None) -> list[OrderState]:
    told = stand.broker().order_states(until or stand.day)
    return [state for state in told if state.client_order_id == order.client_order_id]


def held(stand: Stand, until: date | None = None) -> dict[str, Decimal]:
    """Shares, and cash by trade date."""
    rows = stand.broker().positions(until or stand.day).rows.filter(pl.col("symbol") != "USD.settled")
    return dict(zip(rows["symbol"], map(Decimal, rows["quantity"]), strict=True))


def fills_of(stand: Stand, order: Order) -> list[dict[str, str]]:
    """The activities of an order's fills."""
    ids = [state.transaction_id for state in states_of(stand, order) if state.event == "fill"]
    return [row for row in stand.broker().activities(stand.day).rows.iter_rows(named=True) if row["id"] in ids]


# What is asked -------------------------------------------------------------------------------------------


@every_broker
def test_it_holds_what_it_holds_and_says_its_cash(stand):
    assert held(stand) == {"AAA": 100, "USD": 100_000}


@every_broker
def test_every_value_comes_as_text_with_its_line(stand):
    for delivery in (
        stand.broker().activities(stand.day),
        stand.broker().positions(stand.day),
        stand.broker().balances(stand.day),
    ):
        assert delivery.source == "joint" and delivery.stated_on == stand.day
        assert {name: kind for name, kind in delivery.rows.schema.items() if kind != pl.String} == {"line": pl.Int64}
        assert delivery.rows.null_count().sum_horizontal().sum() == 0


@every_broker
def test_the_names_of_balances_are_those_of_the_protocol(stand):
    rows = stand.broker().balances(stand.day).rows
    assert set(rows["name"]) <= BALANCES and rows["name"].is_unique().all()
    for name, value in rows.select("name", "value").iter_rows():
        assert value in ("true", "false") if name == "is_blocked" else Decimal(value).is_finite()


@every_broker
def test_it_tells_the_time_or_keeps_none(stand):
    now = stand.broker().now()
    assert now is None or (now.tzinfo is None and now.date().year > 2000)


@every_broker
def test_asking_twice_gives_the_same_answer(stand):
    first, second = (
        (b.activities(stand.day).rows.rows(), b.positions(stand.day).rows.rows(), b.order_states(stand.day))
        for b in (stand.broker(), stand.broker())
    )
    assert first == second


@every_broker
def test_what_happens_after_a_day_is_not_known_on_it(stand):
    days = stand.broker().activities(stand.day).rows["at"].str.slice(0, 10)
    assert days.len() and (days <= str(stand.day)).all()


@every_broker
def test_an_order_that_it_never_heard_of_is_neither_canceled_nor_given_lots(stand):
    with pytest.raises(OrderRejected):
        stand.broker().cancel_order("2022-10-14.joint.daily.1.99.1")
    with pytest.raises(OrderRejected):
        stand.broker().tell_lots("2022-10-14.joint.daily.1.99.1", "B1:5", stand.day)


@pytest.mark.parametrize("stand", ["statements"], indirect=True)
def test_statements_take_no_orders(stand):
    with pytest.raises(OrderRejected, match="place the order at the broker yourself"):
        stand.broker().place_order(order_of(stand))


# Orders --------------------------------------------------------------------------------------------------


@every_trading_broker
def test_an_order_is_accepted_and_tells_that_it_is(stand):
    order = order_of(stand)
    assert stand.broker().place_order(order)[:3] == (order.client_order_id, "accepted", "")
    assert [state.event for state in states_of(stand, order)] == ["accepted"]


@every_trading_broker
def test_placing_twice_places_once(stand):
    order = order_of(stand)
    first, again = (stand.broker().place_order(order) for _ in range(2))
    assert first.event == again.event == "accepted"
    stand.trade()
    late = stand.broker().place_order(order)
    known = states_of(stand, order)[-1]
    assert (late.event, late.quantity) == (known.event, known.quantity)
    events = [state.event for state in states_of(stand, order)]
    assert events.count("accepted") == 1 and sum(event in FINAL for event in events) == 1
    assert held(stand)["AAA"] == 100 + states_of(stand, order)[-1].quantity > 100


@every_trading_broker
def test_a_sale_that_sold_all_there_was_can_be_placed_twice_too(stand):
    order = order_of(stand, "sell", "100")
    stand.broker().place_order(order)
    stand.trade()
    assert stand.broker().place_order(order).event == states_of(stand, order)[-1].event
    assert held(stand).get("AAA", 0) == 100 - sum(Decimal(row["quantity"]) for row in fills_of(stand, order))


@every_trading_broker
def test_what_is_not_held_is_not_sold(stand):
    order, before = order_of(stand, "sell", "100.5"), held(stand)
    with pytest.raises(OrderRejected):
        stand.broker().place_order(order)
    stand.trade()
    assert [s.event for s in states_of(stand, order) if s.event not in ("accepted", "rejected")] == []
    assert held(stand) == before


@every_trading_broker
@pytest.mark.parametrize("quantity", ["12", "0.123456789"])
def test_its_fills_are_told_once_each_here_and_among_the_activities(stand, quantity):
    order = order_of(stand, quantity=quantity)
    stand.broker().place_order(order)
    stand.trade()
    told = {s.transaction_id: s.quantity for s in states_of(stand, order) if s.event == "fill"}
    rows = fills_of(stand, order)
    assert told and {row["id"]: Decimal(row["quantity"]) for row in rows} == told and len(rows) == len(told)
    assert all((row["kind"], row["side"], row["symbol"]) == ("trade", "buy", "AAA") for row in rows)
    assert stand.broker().activities(stand.day).rows["id"].is_unique().all()


@every_trading_broker
def test_its_fills_add_up_to_what_it_says_at_the_end(stand):
    order = order_of(stand, "sell", "60")
    stand.broker().place_order(order)
    stand.trade()
    states = states_of(stand, order)
    assert states[0].event == "accepted" and states[-1].event in FINAL
    assert {state.event for state in states[1:-1]} == {"fill"}
    assert states[-1].quantity == sum(state.quantity for state in states[1:-1])
    assert (states[-1].event == "filled") == (states[-1].quantity == 60)


@every_trading_broker
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_shares_and_cash_move_by_its_fills_and_by_nothing_else(stand, side):
    before = held(stand)
    order = order_of(stand, side, "37")
    stand.broker().place_order(order)
    stand.trade()
    rows, after = fills_of(stand, order), held(stand)
    shares = sum(Decimal(row["quantity"]) for row in rows)
    assert after["AAA"] - before["AAA"] == (shares if side == "buy" else -shares) != 0
    assert after["USD"] - before["USD"] == sum(Decimal(row["amount_usd"]) for row in rows)
    for row in rows:
        worth = Decimal(row["quantity"]) * Decimal(row["price_usd"]) * (-1 if side == "buy" else 1)
        assert abs(worth - Decimal(row["fee_usd"]) - Decimal(row["amount_usd"])) <= Decimal("0.005")


@every_trading_broker
def test_on_an_earlier_day_nothing_of_it_was_known(stand):
    evening, before = stand.day, held(stand)
    order = order_of(stand)
    stand.broker().place_order(order)
    known = stand.broker().activities(evening).rows.rows()
    stand.trade()
    assert fills_of(stand, order)
    assert [state.event for state in states_of(stand, order, evening)] == ["accepted"]
    assert stand.broker().activities(evening).rows.rows() == known
    assert held(stand, evening) == before


@every_trading_broker
def test_two_orders_do_not_mix(stand):
    orders = [order_of(stand, "buy", quantity, line) for line, quantity in enumerate(("7", "5"), 1)]
    for order in orders:
        stand.broker().place_order(order)
    stand.trade()
    for order in orders:
        told = [state.quantity for state in states_of(stand, order) if state.event == "fill"]
        assert sum(Decimal(row["quantity"]) for row in fills_of(stand, order)) == sum(told) <= order.quantity
    ids = [state.transaction_id for order in orders for state in states_of(stand, order) if state.transaction_id]
    assert len(ids) == len(set(ids)) >= 2


@every_trading_broker
def test_a_limit_that_is_not_reached_fills_nothing(stand):
    order = order_of(stand, limit="9.50")
    stand.broker().place_order(order)
    stand.trade()
    last = states_of(stand, order)[-1]
    assert last.event in ("expired", "canceled") and last.quantity == 0
    assert held(stand) == {"AAA": 100, "USD": 100_000}


@every_trading_broker
def test_a_canceled_order_ends_and_fills_nothing_more(stand):
    order = order_of(stand)
    stand.broker().place_order(order)
    stand.broker().cancel_order(order.client_order_id)
    stand.broker().cancel_order(order.client_order_id)
    stand.trade()
    last = states_of(stand, order)[-1]
    assert last.event == "canceled" and last.quantity == 0 == len(fills_of(stand, order))
    assert held(stand) == {"AAA": 100, "USD": 100_000}


@every_trading_broker
def test_canceling_what_has_ended_changes_nothing(stand):
    order = order_of(stand)
    stand.broker().place_order(order)
    stand.trade()
    states, positions = states_of(stand, order), held(stand)
    stand.broker().cancel_order(order.client_order_id)
    assert states[-1].event in FINAL
    assert states_of(stand, order) == states and held(stand) == positions
