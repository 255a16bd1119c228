"""What would explain a difference between a broker and the ledger.

The problem. A difference is a number: so many shares, so many dollars. The person who has to mend it wants to know where
to look, and the answer is nearly always one row: a trade, a dividend, a fee, a split.

The choice. Each cause is a function that looks at the difference, the account's other differences and what is known
around them (recent rows, orders, the market's feed of corporate actions), and answers with a sentence or with nothing.
They are asked from the most certain to the least; the first that fits is the guess. A guess stays a guess: whatever it says,
shares and cash that differ hold the account's orders back.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

CENT = Decimal("0.01")
SMALL_USD = Decimal(100)  # cash that is less by no more than this is a fee rather than a withdrawal
NEAR = Decimal("0.15")  # how far a trade's price may lie from the latest one
SPLITS = [Fraction(n, d) for n, d in (
    (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (10, 1), (15, 1), (20, 1), (25, 1), (30, 1), (40, 1), (50, 1), (3, 2), (5, 2),
)]  # fmt: skip
SPLIT_NEAR = 0.04  # how far a price may lie from what a split would make of it


class Break(NamedTuple):
    """A difference. Units: shares, or USD where the security is USD."""

    account_id: str
    security_id: str
    broker: Decimal
    ledger: Decimal

    @property
    def difference(self) -> Decimal:
        return self.broker - self.ledger


class Row(NamedTuple):
    """A recent row of the account's ledger. Units: shares; USD, signed."""

    transaction_id: str
    kind: str
    security_id: str
    quantity: Decimal
    fee_usd: Decimal
    amount_usd: Decimal
    on: date
    is_settled: bool


class Told(NamedTuple):
    """What the market's feed tells of a company. Units: ratio in new shares an old one; USD a share."""

    kind: str
    security_id: str
    on: date
    ratio: Fraction
    new_security_id: str
    cash_usd: Decimal


class Sent(NamedTuple):
    """An order of ours with shares that no booked fill explains; signed: a sale is negative."""

    client_order_id: str
    security_id: str
    left: Decimal


class Seen(NamedTuple):
    """What is known around the differences of one account."""

    breaks: Sequence[Break]
    has_set_aside: bool
    rows: Sequence[Row]
    told: Sequence[Told]
    sent: Sequence[Sent]
    held: Mapping[str, Decimal]  # shares by the ledger
    prices: Mapping[str, Decimal]


def guess(one: Break, seen: Seen) -> str:
    """The likely cause.

    >>> short = Break("joint", "ABC", Decimal(300), Decimal(100))
    >>> guess(short, Seen([short], False, [], [], [], {}, {}))
    'the broker holds 3:1 of what the ledger does: a split is missing'
    """
    causes = _OF_CASH if one.security_id == "USD" else _OF_SHARES
    return next(said for cause in causes if (said := cause(one, seen)))


def _set_aside(one: Break, seen: Seen) -> str:
    return "rows of this account were set aside; correct them at the source" if seen.has_set_aside else ""


def _told_split(one: Break, seen: Seen) -> str:
    for told in seen.told:
        is_it = told.kind == "split" and told.security_id == one.security_id
        if is_it and one.ledger and Fraction(one.broker) == Fraction(one.ledger) * told.ratio:
            return (
                f"the split {ratio_text(told.ratio)} of {told.on} is in the market's feed and not among the activities"
            )
    return ""


def _split(one: Break, seen: Seen) -> str:
    made = split_of(one.broker, one.ledger)
    return f"the broker holds {made} of what the ledger does: a split is missing" if made else ""


def _new_symbol(one: Break, seen: Seen) -> str:
    """Shares that are here under one symbol and there, as many, under another."""
    for other in seen.breaks:
        if other.security_id in ("USD", one.security_id):
            continue
        old, new = (one, other) if not one.broker else (other, one)
        if not old.broker and not new.ledger and old.ledger == new.broker:
            known = any(
                t.kind == "symbol_change" and (t.security_id, t.new_security_id) == (old.security_id, new.security_id)
                for t in seen.told
            )
            source = "the market's feed says so, " if known else ""
            return f"{old.security_id} is {new.security_id} at the broker, as many shares: {source}a symbol change is missing"
    return ""


def _fill(one: Break, seen: Seen) -> str:
    for order in seen.sent:
        same_way = order.security_id == one.security_id and (order.left > 0) == (one.difference > 0)
        if same_way and abs(one.difference) <= abs(order.left):
            return f"order {order.client_order_id} was sent: its fill is not among the activities yet"
    return ""


def _reinvestment(one: Break, seen: Seen) -> str:
    """Shares that a dividend bought: the dividend is booked, or the feed has it, and its dollars are the shares' worth."""
    price = seen.prices.get(one.security_id)
    if one.difference <= 0 or not price:
        return ""
    paid = [(row.amount_usd, row.on) for row in seen.rows if _is_dividend(row, one.security_id)]
    held = seen.held.get(one.security_id, Decimal(0))
    paid += [(told.cash_usd * held, told.on) for told in seen.told if _pays(told, one.security_id)]
    for usd, on in paid:
        if usd > 0 and abs(one.difference * price - usd) <= NEAR * usd:
            return f"the reinvestment of the dividend of {on} is missing"
    return ""


def _of_the_shares(one: Break, seen: Seen) -> str:
    """One trade that explains the shares and the cash together."""
    shares, cash = (
        [b for b in seen.breaks if b.security_id != "USD"],
        [b for b in seen.breaks if b.security_id == "USD"],
    )
    if len(shares) != 1 or len(cash) != 1 or (shares[0].difference > 0) == (cash[0].difference > 0):
        return ""
    price = -cash[0].difference / shares[0].difference
    latest = seen.prices.get(shares[0].security_id)
    if latest is None or abs(price - latest) > NEAR * latest:
        return ""
    for cause in (_fill, _reinvestment):
        if said := cause(shares[0], seen):
            return said
    bought = shares[0].difference > 0
    return (
        f"a {'purchase' if bought else 'sale'} of {plain(abs(shares[0].difference))} {shares[0].security_id} at about "
        f"${price:,.2f} is missing"
    )


def _dividend(one: Break, seen: Seen) -> str:
    """A dividend that one side has and the other does not: paid and not delivered, or booked and pending."""
    for row in seen.rows:
        if row.kind == "dividend" and row.amount_usd == -one.difference:
            return f"the dividend of {row.security_id} of {row.on} is booked ({row.transaction_id}) and pending at the broker"
    for told in seen.told:
        held = seen.held.get(told.security_id, Decimal(0))
        if held > 0 and _pays(told, told.security_id) and abs(told.cash_usd * held - one.difference) <= CENT:
            return f"the dividend of {told.security_id}, ex {told.on}, is missing"
    return ""


def _unsettled(one: Break, seen: Seen) -> str:
    waiting = [row for row in seen.rows if not row.is_settled]
    if waiting and sum(row.amount_usd for row in waiting) == -one.difference:
        return "the broker's cash leaves out trades that have not settled: it is settled cash, not cash by trade date"
    for row in waiting:
        if row.amount_usd == -one.difference:
            return f"trade {row.transaction_id} has not settled, and the broker's cash leaves it out"
    return ""


def _fee(one: Break, seen: Seen) -> str:
    for row in seen.rows:
        if row.fee_usd and abs(one.difference) == row.fee_usd:
            return (
                f"it is the fee of {row.transaction_id}, ${row.fee_usd:,.2f}: one side counts it and the other does not"
            )
    if -SMALL_USD <= one.difference < 0:
        return "the broker reports a little less than the ledger: a fee or a tax withheld is missing"
    return ""


def _less_or_more(one: Break, seen: Seen) -> str:
    if one.difference < 0:
        return "the broker reports less than the ledger: a sale or transfer is missing"
    return "the broker reports more than the ledger: a purchase, deposit or transfer is missing"


Cause = Callable[[Break, Seen], str]
_OF_SHARES: tuple[Cause, ...] = (
    _set_aside, _told_split, _new_symbol, _fill, _of_the_shares, _split, _reinvestment, _less_or_more,
)  # fmt: skip
_OF_CASH: tuple[Cause, ...] = (_set_aside, _of_the_shares, _dividend, _unsettled, _fee, _less_or_more)


def _is_dividend(row: Row, security_id: str) -> bool:
    return row.kind == "dividend" and row.security_id == security_id


def _pays(told: Told, security_id: str) -> bool:
    return told.kind == "dividend" and told.security_id == security_id


def split_of(broker: Decimal, ledger: Decimal) -> str:
    """The split that would explain a difference, as new shares for old ones; nothing where none of the usual ones does.

    >>> split_of(Decimal(300), Decimal(100)), split_of(Decimal(15), Decimal(120)), split_of(Decimal(101), Decimal(100))
    ('3:1', '1:8', '')
    """
    if broker <= 0 or ledger <= 0:
        return ""
    ratio = Fraction(broker) / Fraction(ledger)
    is_usual = min(ratio.as_integer_ratio()) <= 3 and max(ratio.as_integer_ratio()) <= 50
    return ratio_text(ratio) if is_usual else ""


def split_in_price(price_usd: Decimal, before_usd: Decimal) -> str:
    """The usual split that a price of one session to the next looks like; nothing where it looks like none.

    >>> split_in_price(Decimal("50.40"), Decimal("100.00")), split_in_price(Decimal("1010"), Decimal("100"))
    ('2:1', '1:10')
    >>> split_in_price(Decimal("90"), Decimal("100"))
    ''
    """
    for split in SPLITS:
        for ratio in (split, 1 / split) if split.denominator == 1 else (split,):
            if abs(float(price_usd) / float(before_usd) * float(ratio) - 1) <= SPLIT_NEAR:
                return ratio_text(ratio)
    return ""


class Trade(NamedTuple):
    """A purchase (quantity above zero) or a sale of one security in one account. Units: shares; cost_usd with the fee."""

    quantity: Decimal
    cost_usd: Decimal


def average_cost(trades: Iterable[Trade]) -> Decimal:
    """What the shares that are left cost if every share cost the same: as an interface that knows averages only says.

    >>> buys = [Trade(Decimal(10), Decimal(100)), Trade(Decimal(10), Decimal(200))]
    >>> average_cost([*buys, Trade(Decimal(-5), Decimal(0))])
    Decimal('225')
    """
    held, cost = Decimal(0), Decimal(0)
    for trade in trades:
        if trade.quantity < 0 and held > 0:
            cost -= cost * min(-trade.quantity, held) / held
        elif trade.quantity > 0:
            cost += trade.cost_usd
        held += trade.quantity
    return cost


def ratio_text(ratio: Fraction) -> str:
    return f"{ratio.numerator}:{ratio.denominator}"


def plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
