"""How an order goes through its sessions at the simulated broker.

The problem: only the close of a session is known, and yet an order should meet what orders meet: a price that is
worse than the one it was decided on, a market too thin for it, a limit that is not reached, a commission.

The choice: in its session an order trades at the close, made worse by so many basis points, and by more the larger
its share of the day's volume is (in proportion; where the table has no volume there is no such part). A limit order
trades when the close itself is within the limit, and never at a price beyond it. A session fills no more than a
share of its volume; and, where asked for, only a part that is drawn from the order's own name and the day, so that
the same question always has the same answer. What is left goes on (gtc) or expires at the close (day). Orders do
not see each other: each meets the session alone.
"""

from collections.abc import Iterable
from datetime import date
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from fractions import Fraction
from hashlib import sha256
from typing import NamedTuple

from flows.accounts import Simulation
from flows.connectors import Order
from transforms.exact import nano_shares, shares, shares_text, trade_cents, usd
from transforms.lots.relief import read_picks

CENT, NANO = Decimal("0.01"), Decimal("0.000000001")


class Session(NamedTuple):
    """What a security did on a day. Units: USD a share; shares."""

    on: date
    close_usd: Decimal
    volume: int | None


class Fill(NamedTuple):
    """`number` is 0 where the whole order was filled at once, else 1, 2, ...; `before` is what was filled earlier."""

    order: Order
    number: int
    session_on: date
    quantity: Decimal
    before: Decimal
    price_usd: Decimal
    fee_usd: Decimal

    @property
    def transaction_id(self) -> str:
        return f"fill-{self.order.client_order_id}" + (f"-{self.number}" if self.number else "")

    @property
    def amount_usd(self) -> Decimal:
        """Effect on cash: a purchase costs its fee, a sale brings it less."""
        if self.order.side == "buy":
            return -usd(trade_cents(self.quantity, self.price_usd, self.fee_usd))
        return usd(trade_cents(self.quantity, self.price_usd, -self.fee_usd))


class Life(NamedTuple):
    """The fills of an order and how it ended; `event` is empty while it is open."""

    fills: tuple[Fill, ...] = ()
    event: str = ""
    ended_on: date | None = None

    def until(self, day: date) -> "Life":
        """As much of it as had come about at the end of a day."""
        fills = tuple(fill for fill in self.fills if fill.session_on <= day)
        return self._replace(fills=fills) if self.ended_on and self.ended_on <= day else Life(fills)

    @property
    def quantity(self) -> Decimal:
        return sum((fill.quantity for fill in self.fills), Decimal(0))


def life(order: Order, sessions: Iterable[Session], rules: Simulation, canceled_after: date | None) -> Life:
    """An order from the first session after it was placed on, as far as the sessions go."""
    fills: list[Fill] = []
    done = spent = charged = Decimal(0)
    for session in sessions:
        if canceled_after is not None and session.on > canceled_after:
            break
        quantity, price, is_all = _part(order, session, rules, done, spent)
        if quantity:
            fee = commission(done + quantity, rules) - charged
            number = 0 if is_all and not fills else len(fills) + 1
            fills.append(Fill(order, number, session.on, quantity, done, price, fee))
            done, charged = done + quantity, charged + fee
            spent += usd(trade_cents(quantity, price, Decimal(0)))
        if quantity and is_all:
            return Life(tuple(fills), "filled", session.on)
        if order.time_in_force != "gtc":
            return Life(tuple(fills), "expired", session.on)
    return Life(tuple(fills), "canceled", canceled_after) if canceled_after is not None else Life(tuple(fills))


def commission(quantity: Decimal, rules: Simulation) -> Decimal:
    """What the broker charges for so many shares of an order, in whole cents; each fill pays what it adds to it.

    >>> rules = Simulation(commission_share_usd=Decimal("0.005"), commission_min_usd=Decimal(1))
    >>> commission(Decimal(100), rules), commission(Decimal(1001), rules)
    (Decimal('1.00'), Decimal('5.01'))
    """
    charged = max(rules.commission_order_usd + quantity * rules.commission_share_usd, rules.commission_min_usd)
    if rules.commission_max_usd is not None:
        charged = min(charged, rules.commission_max_usd)
    return charged.quantize(CENT, ROUND_HALF_UP)


def price_of(order: Order, session: Session, quantity: Decimal, rules: Simulation) -> Decimal:
    """The close made worse by slippage and impact, never beyond the limit.

    >>> order = Order("A", "buy", "ABC", Decimal(100), "", date(2022, 10, 14), limit_usd=Decimal("50.20"))
    >>> price_of(order, Session(date(2022, 10, 17), Decimal("50.00"), None), order.quantity, Simulation(slippage_bps=10))
    Decimal('50.050000000')
    >>> price_of(order, Session(date(2022, 10, 17), Decimal("50.00"), None), order.quantity, Simulation(slippage_bps=90))
    Decimal('50.20')
    """
    worse = rules.slippage_bps
    if rules.impact_bps and session.volume is not None:
        worse += rules.impact_bps * (min(quantity / session.volume, Decimal(1)) if session.volume else 1)
    if not worse:
        return session.close_usd
    is_buy = order.side == "buy"
    price = (session.close_usd * (10_000 + (worse if is_buy else -worse)) / 10_000).quantize(NANO, ROUND_HALF_UP)
    if order.limit_usd is None:
        return price
    return min(price, order.limit_usd) if is_buy else max(price, order.limit_usd)


def lots_of(fill: Fill, lots: str) -> str:
    """The lots that fall on a fill: an order's lots are taken in their order, those of the unfilled rest not at all."""
    if not fill.number or not lots:
        return lots
    first, last = nano_shares(fill.before), nano_shares(fill.before + fill.quantity)
    taken, at = [], 0
    for lot_id, picked in read_picks(lots):
        if (part := min(at + picked, last) - max(at, first)) > 0:
            taken.append(f"{lot_id}:{shares_text(part)}")
        at += picked
    return ";".join(taken)


def _part(
    order: Order, session: Session, rules: Simulation, done: Decimal, spent: Decimal
) -> tuple[Decimal, Decimal, bool]:
    """How many shares a session fills, at which price, and whether that is all that was left."""
    if order.limit_usd is not None and (
        session.close_usd > order.limit_usd if order.side == "buy" else session.close_usd < order.limit_usd
    ):
        return Decimal(0), session.close_usd, False
    left = order.quantity - done
    if order.notional_usd is not None:
        left = _shares_for(order.notional_usd - spent, session.close_usd)
    quantity = _most(order.client_order_id, session, rules, left)
    is_all = quantity == left
    price = price_of(order, session, quantity, rules)
    if order.notional_usd is not None and is_all:
        quantity = _shares_for(order.notional_usd - spent, price)
    return quantity, price, is_all


def _most(name: str, session: Session, rules: Simulation, left: Decimal) -> Decimal:
    """The most of what is left that a session takes: all of it, or whole shares."""
    most = left
    if rules.least_fill < 1:
        drawn = int.from_bytes(sha256(f"{name} {session.on}".encode()).digest()[:8])
        part = Fraction(rules.least_fill) + (1 - Fraction(rules.least_fill)) * Fraction(drawn, 2**64)
        most = Decimal(int(Fraction(left) * part)) or left  # less than a share is not worth another fill
    if rules.volume_share is not None and session.volume is not None:
        volume = (session.volume * rules.volume_share).to_integral_value(ROUND_FLOOR)
        most = min(most, volume)
    return most


def _shares_for(dollars: Decimal, price_usd: Decimal) -> Decimal:
    """As many shares as dollars buy, to the billionth of a share.

    >>> _shares_for(Decimal(100), Decimal(3))
    Decimal('33.333333333')
    """
    return shares(int(Fraction(dollars) / Fraction(price_usd) * 10**9))
