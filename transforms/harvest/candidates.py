"""Lots whose loss is worth taking, by what the broker lets us reach."""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from itertools import groupby
from typing import NamedTuple

CENT = Decimal("0.01")


class OpenLot(NamedTuple):
    """A slice of an open lot in a taxable account. Units: shares, USD."""

    account_id: str
    security_id: str
    acquired_on: date
    lot_id: str
    slice: int
    quantity: Decimal
    basis_usd: Decimal
    long_term_from: date


class Candidate(NamedTuple):
    """A loss in one security of one account. Units: shares, USD; losses positive."""

    account_id: str
    security_id: str
    quantity: Decimal
    lots: tuple[tuple[str, Decimal], ...]
    price_usd: Decimal
    basis_usd: Decimal
    value_usd: Decimal
    short_loss_usd: Decimal
    long_loss_usd: Decimal
    refusal: str  # empty: it may be harvested

    @property
    def loss_usd(self) -> Decimal:
        return self.short_loss_usd + self.long_loss_usd


def candidates(
    lots: Iterable[OpenLot],
    prices: Mapping[str, Decimal],
    reaches_any_lot: Mapping[str, bool],
    min_loss_usd: Decimal,
    min_loss_rate: Decimal,
    on: date,
) -> list[Candidate]:
    """One candidate for each account and security with a loss that passes a threshold.

    A lot qualifies when its loss is at least `min_loss_usd`, or at least `min_loss_rate` of its basis. A broker
    that takes the lots it is told sells just those; one that relieves first in, first out sells from the oldest
    lot on, so there the harvest ends before the first lot that does not qualify, and what lies behind it is
    shown as refused.

    Errors   KeyError for a security without a price: those are to be left out before.

    >>> old = OpenLot("a", "XYZ", date(2020, 1, 2), "L1", 1, Decimal(10), Decimal(2000), date(2021, 1, 3))
    >>> found = candidates([old], {"XYZ": Decimal(80)}, {"a": True}, Decimal(1000), Decimal("0.05"), date(2022, 10, 17))
    >>> found[0].long_loss_usd, found[0].lots, found[0].refusal
    (Decimal('1200.00'), (('L1', Decimal('10')),), '')
    """
    found = []
    ordered = sorted(lots, key=lambda lot: (lot.account_id, lot.security_id, lot.acquired_on, lot.lot_id, lot.slice))
    for (account_id, security_id), held in groupby(ordered, key=lambda lot: lot[:2]):
        price = prices[security_id]
        whole = [list(slices) for _, slices in groupby(held, key=lambda lot: lot.lot_id)]
        worth = [_result(slices, price) for slices in whole]
        right = [loss >= min_loss_usd or loss >= min_loss_rate * basis for _, basis, loss in worth]
        right = [is_right and loss > 0 for is_right, (_, _, loss) in zip(right, worth, strict=True)]
        if not any(right):
            continue
        reach = len(whole) if reaches_any_lot[account_id] else right.index(False) if False in right else len(whole)
        taken = [slices for slices, is_right in zip(whole[:reach], right[:reach], strict=True) if is_right]
        behind = [slices for slices, is_right in zip(whole[reach:], right[reach:], strict=True) if is_right]
        if taken:
            found.append(_candidate(taken, price, on, ""))
        if behind:
            *_, loss = worth[reach]
            first = whole[reach][0]
            found.append(
                _candidate(
                    behind, price, on,
                    f"the broker sells first in, first out and would take lot {first.lot_id} of {first.acquired_on} "
                    f"first, {'a gain' if loss < 0 else 'a loss too small'} ({_dollars(-loss)})",
                )
            )  # fmt: skip
    return found


def _result(slices: list[OpenLot], price: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """Value, basis and loss of a lot."""
    value = sum((cents(part.quantity * price) for part in slices), Decimal(0))
    basis = sum((part.basis_usd for part in slices), Decimal(0))
    return value, basis, basis - value


def _candidate(lots: list[list[OpenLot]], price: Decimal, on: date, refusal: str) -> Candidate:
    slices = [part for lot in lots for part in lot]
    value, basis, loss = _result(slices, price)
    long = sum((p.basis_usd - cents(p.quantity * price) for p in slices if on >= p.long_term_from), Decimal(0))
    long = min(max(long, Decimal(0)), loss)  # slices of one lot can differ in sign; the lots taken are losses
    return Candidate(
        slices[0].account_id, slices[0].security_id, sum((p.quantity for p in slices), Decimal(0)),
        tuple((lot[0].lot_id, sum((part.quantity for part in lot), Decimal(0))) for lot in lots),
        price, basis, value, loss - long, long, refusal,
    )  # fmt: skip


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def _dollars(amount: Decimal) -> str:
    return f"{'-' if amount < 0 else '+'}${abs(amount):,.2f}"
