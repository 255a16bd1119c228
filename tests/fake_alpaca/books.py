"""Accounts, lots and orders: what the lines of the journal make of them, one by one.

The broker decides by writing an event; `Books.apply` is the only way to change anything, so that reading the journal
again leads to the same books. Lots are relieved first in, first out, as Alpaca does. A trade's amount is rounded to the
cent once; a part of a lot takes its part of the cost by cumulative rounding, so that the parts add up.
"""

from bisect import insort
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

from tests.fake_alpaca.journal import Event
from tests.fake_alpaca.market import Market, is_crypto, is_option, new_york

CENT = Decimal("0.01")
NANO = Decimal("0.000000001")
ENDED = {"filled", "canceled", "expired", "replaced", "rejected"}


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def text(number: Decimal | None) -> str | None:
    """
    >>> text(Decimal("5.000")), text(Decimal("1E+3"))
    ('5', '1000')
    """
    return None if number is None else format(number.normalize() + 0, "f")


def iso(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def number(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value)


class Lot(NamedTuple):
    """Units: quantity in shares, negative when sold short; cost in USD, with the sign of the quantity."""

    lot_id: str
    acquired_at: str
    quantity: Decimal
    cost: Decimal


def relieved(lots: list[Lot], quantity: Decimal, cost: Decimal, lot_id: str, at: str) -> tuple[list[Lot], list[Lot]]:
    """The lots after a trade, and the parts of lots that it took; what it does not close opens a lot.

    >>> bought = [Lot("1", "", Decimal(2), Decimal(20)), Lot("2", "", Decimal(3), Decimal(36))]
    >>> left, taken = relieved(bought, Decimal(-4), Decimal(-50), "3", "")
    >>> left[0].cost, [lot.cost for lot in taken]
    (Decimal('12.00'), [Decimal('20'), Decimal('24.00')])
    """
    left, taken = [], []
    open_quantity = quantity
    for lot in lots:
        part = min(abs(open_quantity), abs(lot.quantity)) if lot.quantity * open_quantity < 0 else Decimal(0)
        if not part:
            left.append(lot)
            continue
        signed = part.copy_sign(lot.quantity)
        its = lot.cost if signed == lot.quantity else cents(lot.cost * signed / lot.quantity)
        taken.append(lot._replace(quantity=signed, cost=its))
        open_quantity += signed
        if signed != lot.quantity:
            left.append(lot._replace(quantity=lot.quantity - signed, cost=lot.cost - its))
    if open_quantity:
        left.append(Lot(lot_id, at, open_quantity, cents(cost * open_quantity / quantity)))
    return left, taken


@dataclass
class Order:
    id: str
    client_order_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    qty: Decimal | None
    notional: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    extended_hours: bool
    position_intent: str
    status: str
    submitted_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    reserve_price: Decimal  # what a share of it holds of the buying power
    plan: list[list]  # of its liquidity: so many seconds after the one before, this part of it
    to_reject: str | None = None  # why it will not meet the market
    replaces: str | None = None
    replaced_by: str | None = None
    ended_at: dict[str, datetime] = field(default_factory=dict)
    filled_qty: Decimal = Decimal(0)
    filled_value: Decimal = Decimal(0)
    executions: int = 0
    due_at: datetime | None = None
    is_triggered: bool = False

    @property
    def is_open(self) -> bool:
        return self.status not in ENDED

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1

    @property
    def leaves(self) -> Decimal:
        """Shares still to come; of a purchase in dollars about so many."""
        if self.qty is None:
            return (self.notional or Decimal(0)) / self.reserve_price if self.is_open else Decimal(0)
        return self.qty - self.filled_qty


@dataclass
class Account:
    id: str
    number: str
    name: str
    opened_at: datetime
    multiplier: int
    shorting: bool
    configurations: dict[str, Any]
    cash: Decimal = Decimal(0)
    last_equity: Decimal = Decimal(0)
    unsettled: list[tuple[date, Decimal]] = field(default_factory=list)
    lots: dict[str, list[Lot]] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    by_client_id: dict[str, Order] = field(default_factory=dict)
    working: dict[str, Order] = field(default_factory=dict)
    activities: list[tuple[str, Event]] = field(default_factory=list)  # by id
    entitled: dict[str, Decimal] = field(default_factory=dict)  # shares that a dividend is paid on
    traded: dict[date, dict[str, set[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))

    def quantity(self, symbol: str) -> Decimal:
        return sum((lot.quantity for lot in self.lots.get(symbol, ())), Decimal(0))

    def cost(self, symbol: str) -> Decimal:
        return sum((lot.cost for lot in self.lots.get(symbol, ())), Decimal(0))


class Books:
    def __init__(self, market: Market):
        self.market = market
        self.accounts: dict[str, Account] = {}
        self.actions: dict[str, Event] = {}
        self.pending: dict[str, tuple[Event, datetime, str]] = {}  # what companies are still to do
        self.liquidity: dict[str, list[list]] = {}
        self.to_reject: dict[str, str] = {}
        self.now: datetime | None = None
        self.seed = ""
        self.count = 0

    def apply(self, event: Event) -> None:
        self.count += 1
        self.now = max(self.now or datetime.fromisoformat(event["at"]), datetime.fromisoformat(event["at"]))
        account = self.accounts.get(event.get("account", ""))
        _APPLY[event["kind"]](self, account, event)
        if account is None:
            return
        if cash := Decimal(event.get("cash", 0)):
            account.cash += cash
            if event.get("settles_on") and cash > 0:
                today = new_york(self.now)
                account.unsettled = [row for row in account.unsettled if row[0] > today]
                account.unsettled.append((date.fromisoformat(event["settles_on"]), cash))
        for symbol, lots in event.get("lots", {}).items():
            account.lots[symbol] = [Lot(i, at, Decimal(q), Decimal(c)) for i, at, q, c in lots]
            if not lots:
                del account.lots[symbol]
        if row := event.get("activity"):
            insort(account.activities, (row["id"], row), key=lambda one: one[0])

    def _account(self, _: None, event: Event) -> None:
        self.accounts[event["of"]] = Account(
            id=event["id"],
            number=event["number"],
            name=event["of"],
            opened_at=datetime.fromisoformat(event["at"]),
            multiplier=event["multiplier"],
            shorting=event["shorting"],
            configurations=event["configurations"],
        )

    def _order(self, account: Account, event: Event) -> None:
        said = event["order"]
        at = datetime.fromisoformat(event["at"])
        order = Order(
            **{
                **said,
                **{name: number(said[name]) for name in ("qty", "notional", "limit_price", "stop_price")},
                "reserve_price": Decimal(said["reserve_price"]),
                "expires_at": datetime.fromisoformat(said["expires_at"]) if said["expires_at"] else None,
            },
            submitted_at=at,
            updated_at=at,
        )
        account.orders[order.id] = account.by_client_id[order.client_order_id] = account.working[order.id] = order
        self.to_reject.pop(event.get("uses", ""), None)

    def _order_state(self, account: Account, event: Event) -> None:
        order = account.orders[event["order_id"]]
        order.updated_at = datetime.fromisoformat(event["at"])
        order.status = event["status"]
        order.is_triggered |= event.get("is_triggered", False)
        order.replaced_by = event.get("replaced_by")
        if "due_at" in event:
            order.due_at = datetime.fromisoformat(event["due_at"])
        if not order.is_open:
            order.ended_at[order.status] = order.updated_at
            account.working.pop(order.id, None)

    def _execution(self, account: Account, event: Event) -> None:
        order = account.orders[event["order_id"]]
        at, row = datetime.fromisoformat(event["at"]), event["activity"]
        quantity = Decimal(row["qty"])
        order.filled_qty += quantity
        order.filled_value += quantity * Decimal(row["price"])
        order.executions += 1
        order.updated_at = at
        order.status = row["order_status"]
        order.due_at = datetime.fromisoformat(event["next_at"]) if event["next_at"] else None
        if order.status == "filled":
            order.ended_at["filled"] = at
            account.working.pop(order.id, None)
        symbol, signed = order.symbol, quantity * order.sign
        left, _ = relieved(
            account.lots.get(symbol, []), signed, -Decimal(event["cash"]), event["execution_id"], event["at"]
        )
        account.lots[symbol] = left
        if not left:
            del account.lots[symbol]
        account.traded[new_york(at)][symbol].add(order.side)

    def _price(self, _: None, event: Event) -> None:
        self.market.tell(event["symbol"], datetime.fromisoformat(event["price_at"]), Decimal(event["price"]))

    def _announced(self, _: None, event: Event) -> None:
        action = event["action"]
        self.actions[action["id"]] = action
        for step, at in event["steps"].items():
            self.pending[f"{action['id']}:{step}"] = (action, datetime.fromisoformat(at), step)

    def _applied(self, _: None, event: Event) -> None:
        del self.pending[event["step"]]

    def _entitled(self, account: Account, event: Event) -> None:
        account.entitled[event["action_id"]] = Decimal(event["quantity"])

    def _configured(self, account: Account, event: Event) -> None:
        account.configurations = event["configurations"]

    def _closed(self, account: Account, event: Event) -> None:
        account.last_equity = Decimal(event["equity"])

    def _liquidity(self, _: None, event: Event) -> None:
        self.liquidity[event["symbol"]] = event["plan"]

    def _reject_next(self, _: None, event: Event) -> None:
        self.to_reject[event["symbol"]] = event["reason"]

    def _nothing(self, _: Account | None, event: Event) -> None:
        """The line says all of it: cash, shares, lots, the time."""

    def _began(self, _: None, event: Event) -> None:
        self.seed = event["seed"]


_APPLY: dict[str, Any] = {
    "began": Books._began,
    "account": Books._account,
    "order": Books._order,
    "order_state": Books._order_state,
    "execution": Books._execution,
    "activity": Books._nothing,
    "clock": Books._nothing,
    "price": Books._price,
    "announced": Books._announced,
    "applied": Books._applied,
    "entitled": Books._entitled,
    "configured": Books._configured,
    "closed": Books._closed,
    "liquidity": Books._liquidity,
    "reject_next": Books._reject_next,
}


def settled_cash(account: Account, today: date) -> Decimal:
    """Cash without the proceeds that have not settled."""
    return account.cash - sum((amount for on, amount in account.unsettled if on > today), Decimal(0))


def held_for_orders(account: Account) -> Decimal:
    """USD that the open purchases may cost."""
    return sum(
        (
            cents(order.leaves * order.reserve_price * size_of(order.symbol))
            for order in account.working.values()
            if order.sign > 0
        ),
        Decimal(0),
    )


def size_of(symbol: str) -> int:
    """Shares of a unit: an option's contract is on a hundred."""
    return 100 if is_option(symbol) else 1


def position_symbol(symbol: str) -> str:
    """How a position is named: BTC/USD is held as BTCUSD."""
    return symbol.replace("/", "") if is_crypto(symbol) else symbol
