"""What a company does to its shares: the lots of every account take another shape, and so do the losses that wait.

Each lot, and in it each slice, is reshaped by itself (Pub. 550: lot by lot); basis and holding period travel.
Relief has reshaped the quantities by the same cumulative rounding, so both walks always agree.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from transforms.exact import apportioned, half_up
from transforms.lots.held import Held, Slice, term_of
from transforms.lots.relief import scaled
from transforms.model import Action, Books, Disposal

if TYPE_CHECKING:
    from transforms.lots.book import Key, Loss


def reshape(
    action: Action, held: dict["Key", Held], waiting: Iterable["Loss"], groups: Mapping[str, str], books: Books
) -> None:
    """Do to every open lot of a security, and to the losses on it that wait, what its company did.

    Law      split, new symbol: 26 USC 305(a), 307, 1036; Pub. 550 pp. 63-64. Spin-off: 355, 358; Pub. 550 pp. 70-71.
             Merger: 354, 356(a), (c), 358: with cash, the gain counts up to the cash, a loss does not. Return of
             capital: 301(c)(2), (3): against the basis, what is above it is gain. The holding period: 1223(1), (4).
    Units    as in Action; a gain without a sale is a disposal of no shares.
    Omits    a dividend within the gain of a merger (26 USC 356(a)(2)); a merger for cash alone, which is a sale.
    """
    lots = sorted(
        (lot for lot in held.values() if lot.security_id == action.security_id and (lot.remains or lot.unmatched)),
        key=lambda lot: (lot.account_id, lot.is_short, lot.acquired_on, lot.lot_id.encode()),
    )
    for account in dict.fromkeys((lot.account_id, lot.is_short) for lot in lots):
        own = [lot for lot in lots if (lot.account_id, lot.is_short) == account]
        if action.kind == "return_of_capital":
            _return(action, own, books)
            continue
        sizes = scaled([lot.remains for lot in own], action.ratio)
        for lot, size in zip(own, sizes, strict=True):
            if action.kind == "spin_off":
                _spin_off(action, lot, size, held)
            else:
                _exchange(action, lot, size, held, groups, books)
    for loss in waiting:
        if loss.security_id == action.security_id and action.kind in ("split", "symbol_change"):
            loss.per *= action.ratio
            loss.security_id = action.new_security_id or loss.security_id


def _exchange(
    action: Action, lot: Held, size: int, held: dict["Key", Held], groups: Mapping[str, str], books: Books
) -> None:
    """Old shares become new ones: a split, a new symbol, a merger."""
    to = action.new_security_id or action.security_id
    if action.cash_usd:
        for part, cash, value in _cash(action, lot, size):
            gain = min(cash, max(0, value + cash - part.worth))
            if gain and not lot.is_deferred:
                books.disposals.append(_gain(action, lot, part, cash, cash - gain))
            part.size, part.gone, part.amount = part.remains, 0, part.worth - cash + gain
            if part.loss_amount is not None:
                part.loss_amount = part.loss_amount - cash + gain
    del held[lot.account_id, lot.security_id, lot.is_short, lot.lot_id]
    parts = list(zip(lot.parts(), _shared(lot, size), strict=True))
    lot.unmatched = half_up(lot.unmatched * action.ratio.numerator, action.ratio.denominator)
    lot.matched, was, lot.security_id = [], lot.rest, to
    lot.rest = Slice(0, 0, was.holding_since)
    if action.kind == "merger" and lot.replaces:
        lot.replaces |= {groups.get(to, to)}
    there = held.setdefault((lot.account_id, to, lot.is_short, lot.lot_id), lot)
    made = [(_resized(part, count), part is not was) for part, count in parts if count]
    if not made:  # a deferred account's purchase replaces whether its shares are held or not
        return
    made[-1][0].amount += sum(part.worth for part, count in parts if not count)  # of slices too small to be said
    for new, is_matched in made:
        there.add(new, is_matched=is_matched)


def _spin_off(action: Action, lot: Held, size: int, held: dict["Key", Held]) -> None:
    """Part of the basis goes with the new shares, which are no purchase."""
    to = action.new_security_id
    there = held.setdefault(
        (lot.account_id, to, lot.is_short, lot.lot_id),
        Held(
            lot.lot_id, lot.account_id, to, lot.is_deferred, lot.is_short, lot.acquired_on, lot.order,
            Slice(0, 0, lot.rest.holding_since),
        ),
    )  # fmt: skip
    rate = action.basis_rate
    for part, count in zip(lot.parts(), _shared(lot, size), strict=True):
        goes = half_up(part.worth * rate.numerator, rate.denominator)
        low = part.loss_amount
        child = Slice(count, goes, part.holding_since)
        if low is not None:
            low = apportioned(low, part.gone, part.size, part.size)
            child.loss_amount = half_up(low * rate.numerator, rate.denominator)
            child.gift_on = part.gift_on
            part.loss_amount = low - child.loss_amount
        part.size, part.gone, part.amount = part.remains, 0, part.worth - goes
        there.add(child, is_matched=part is not lot.rest)


def _return(action: Action, lots: list[Held], books: Books) -> None:
    """Each share gives back the same: less basis, and gain where there is none left."""
    passed = 0
    for lot in lots:
        if lot.is_deferred:
            continue
        for part in lot.parts():
            cash = _cents(passed + part.remains, action.cash_usd) - _cents(passed, action.cash_usd)
            passed += part.remains
            gain = max(0, cash - part.worth)
            if gain:
                books.disposals.append(_gain(action, lot, part, gain, 0))
            part.size, part.gone, part.amount = part.remains, 0, part.worth - cash + gain
            if part.loss_amount is not None:
                part.loss_amount = max(0, part.loss_amount - cash)


def _cash(action: Action, lot: Held, size: int) -> list[tuple[Slice, int, int]]:
    """Each slice of a lot with its part of the cash and of the new shares' value, in cents."""
    old = new = 0
    made = []
    for part, count in zip(lot.parts(), _shared(lot, size), strict=True):
        cash = _cents(old + part.remains, action.cash_usd) - _cents(old, action.cash_usd)
        value = _cents(new + count, action.price_usd) - _cents(new, action.price_usd)
        old, new = old + part.remains, new + count
        made.append((part, cash, value))
    return made


def _cents(nano: int, usd: Decimal) -> int:
    amount = Fraction(usd) * nano / 10**7
    return half_up(amount.numerator, amount.denominator)


def _shared(lot: Held, size: int) -> list[int]:
    """The new size of a lot over its slices."""
    made, passed = [], 0
    for part in lot.parts():
        made.append(apportioned(size, passed, passed + part.remains, lot.remains))
        passed += part.remains
    return made


def _resized(part: Slice, size: int) -> Slice:
    low = part.loss_amount
    if low is not None:
        low = apportioned(low, part.gone, part.size, part.size)
    return Slice(size, part.worth, part.holding_since, 0, None, low, part.gift_on)


def _gain(action: Action, lot: Held, part: Slice, proceeds: int, basis: int) -> Disposal:
    on = action.traded_on
    return Disposal(
        action.trade_id, lot.lot_id, lot.account_id, action.security_id, 0, lot.acquired_on, part.holding_since, on,
        proceeds, basis, 0, 0, term_of(lot, part.holding_since, on),
    )  # fmt: skip
