"""Lots whose loss is worth taking, by what the broker lets us reach.

The problem. Five thousand lots are valued anew at every scan, and nearly all of them are no harvest.

The choice. Lots are put in order once. A scan first looks at them in floating point, with a margin that no rounding
reaches, and only a holding in which some lot may pass is then reckoned exactly; a test holds it equal to reckoning all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from itertools import groupby
from typing import NamedTuple

import numpy as np

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
    turns: tuple[tuple[date, Decimal], ...] = ()  # of its short-term parts the day each turns long-term, and its loss

    @property
    def name(self) -> str:
        return f"sell {self.account_id} {self.security_id} from {self.lots[0][0]}"

    @property
    def loss_usd(self) -> Decimal:
        return self.short_loss_usd + self.long_loss_usd

    @property
    def turns_long_on(self) -> date | None:
        """The first day on which a part of the short-term loss is long-term."""
        return self.turns[0][0] if self.turns else None

    def turning_usd(self, by: date) -> Decimal:
        """What of the short-term loss is long-term by a day."""
        turned = sum((loss for on, loss in self.turns if on <= by), Decimal(0))
        return min(max(turned, Decimal(0)), self.short_loss_usd)


class Holdings(NamedTuple):
    """Open lots by holding, an account's lots of one security; slice by slice in `shares` and `basis_usd`, as floats.

    Shape    `whole`: the lots of each holding in order of acquisition, each with its slices; the arrays go by slice
             and (`holding_of`) by lot, in that order.
    """

    whole: tuple[tuple[tuple[OpenLot, ...], ...], ...]
    shares: np.ndarray
    basis_usd: np.ndarray
    lot_of: np.ndarray  # of a slice, among all lots
    holding_of: np.ndarray  # of a lot

    def may_pass(self, prices: Mapping[str, Decimal], min_loss_usd: Decimal, min_loss_rate: Decimal) -> list[int]:
        """The holdings with a price in which some lot could qualify: all that do, and perhaps a few that do not."""
        price = np.array([float(prices.get(lots[0][0].security_id, "nan")) for lots in self.whole])
        value = self.shares * price[self.holding_of[self.lot_of]]
        value, basis = (np.bincount(self.lot_of, each, len(self.holding_of)) for each in (value, self.basis_usd))
        slices = np.bincount(self.lot_of, minlength=len(self.holding_of))
        margin = 0.01 * slices + 1e-9 * (np.abs(value) + np.abs(basis))  # each slice is rounded to the cent
        least = np.minimum(float(min_loss_usd), float(min_loss_rate) * basis)
        return np.unique(self.holding_of[basis - value >= np.maximum(least, 0) - margin]).tolist()


def holdings(lots: Iterable[OpenLot]) -> Holdings:
    ordered = sorted(lots, key=lambda lot: (lot.account_id, lot.security_id, lot.acquired_on, lot.lot_id, lot.slice))
    whole = tuple(
        tuple(tuple(slices) for _, slices in groupby(held, key=lambda lot: lot.lot_id))
        for _, held in groupby(ordered, key=lambda lot: lot[:2])
    )
    sizes = [len(slices) for lots_of in whole for slices in lots_of]
    return Holdings(
        whole,
        np.array([float(part.quantity) for part in ordered]),
        np.array([float(part.basis_usd) for part in ordered]),
        np.repeat(np.arange(len(sizes)), sizes),
        np.repeat(np.arange(len(whole)), [len(lots_of) for lots_of in whole]),
    )


def candidates(
    held: Holdings,
    prices: Mapping[str, Decimal],
    reaches_any_lot: Mapping[str, bool],
    min_loss_usd: Decimal,
    min_loss_rate: Decimal,
    on: date,
    takes: Callable[[Sequence[OpenLot], Decimal, Decimal], bool] | None = None,
) -> list[Candidate]:
    """One candidate for each account and security with a loss that passes a threshold.

    A lot qualifies when its loss is at least `min_loss_usd`, or at least `min_loss_rate` of its basis. A broker
    that takes the lots it is told sells just those; one that relieves first in, first out sells from the oldest
    lot on, so there the harvest ends before the first lot that does not qualify, and what lies behind it is
    shown as refused. `takes` is asked besides, where a policy says more: of a lot's slices, its value and its loss.

    Rows     a security without a price has none.

    >>> old = OpenLot("a", "XYZ", date(2020, 1, 2), "L1", 1, Decimal(10), Decimal(2000), date(2021, 1, 3))
    >>> thresholds = Decimal(1000), Decimal("0.05"), date(2022, 10, 17)
    >>> [found] = candidates(holdings([old]), {"XYZ": Decimal(80)}, {"a": True}, *thresholds)
    >>> found.long_loss_usd, found.lots, found.refusal
    (Decimal('1200.00'), (('L1', Decimal('10')),), '')
    """
    near = (held.whole[which] for which in held.may_pass(prices, min_loss_usd, min_loss_rate))
    found = []
    for whole in near:
        first = whole[0][0]
        price = prices[first.security_id]
        worth = [_result(slices, price) for slices in whole]
        right = [
            loss > 0
            and (loss >= min_loss_usd or loss >= min_loss_rate * basis)
            and (takes is None or takes(slices, value, loss))
            for slices, (value, basis, loss) in zip(whole, worth, strict=True)
        ]
        if not any(right):
            continue
        reach = len(whole) if all(right) or reaches_any_lot[first.account_id] else right.index(False)
        taken = [slices for slices, is_right in zip(whole[:reach], right[:reach], strict=True) if is_right]
        behind = [slices for slices, is_right in zip(whole[reach:], right[reach:], strict=True) if is_right]
        if taken:
            found.append(_candidate(taken, price, on, ""))
        if behind:
            *_, loss = worth[reach]
            before = whole[reach][0]
            found.append(
                _candidate(
                    behind, price, on,
                    f"the broker sells first in, first out and would take lot {before.lot_id} of {before.acquired_on} "
                    f"first, {'a gain' if loss < 0 else 'a loss too small'} ({_dollars(-loss)})",
                )
            )  # fmt: skip
    return found


def _result(slices: Sequence[OpenLot], price: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """Value, basis and loss of a lot."""
    value = sum((cents(part.quantity * price) for part in slices), Decimal(0))
    basis = sum((part.basis_usd for part in slices), Decimal(0))
    return value, basis, basis - value


def _candidate(lots: list[tuple[OpenLot, ...]], price: Decimal, on: date, refusal: str) -> Candidate:
    slices = [part for lot in lots for part in lot]
    value, basis, loss = _result(slices, price)
    long = sum((p.basis_usd - cents(p.quantity * price) for p in slices if on >= p.long_term_from), Decimal(0))
    long = min(max(long, Decimal(0)), loss)  # slices of one lot can differ in sign; the lots taken are losses
    return Candidate(
        slices[0].account_id, slices[0].security_id, sum((p.quantity for p in slices), Decimal(0)),
        tuple((lot[0].lot_id, sum((part.quantity for part in lot), Decimal(0))) for lot in lots),
        price, basis, value, loss - long, long, refusal,
        tuple(sorted((p.long_term_from, p.basis_usd - cents(p.quantity * price)) for p in slices if on < p.long_term_from)),
    )  # fmt: skip


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def _dollars(amount: Decimal) -> str:
    return f"{'-' if amount < 0 else '+'}${abs(amount):,.2f}"
