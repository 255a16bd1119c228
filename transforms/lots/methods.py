"""How lots are chosen when a sale names none: sort keys in a table.

A method is an order, nothing else: the first lots go first. What the broker can do decides which of them may be
used (flows/settings.py); the books follow what the broker relieved.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from transforms.lots.term import term


class Choice(NamedTuple):
    """A lot as a method sees it. Units: USD a share, exact."""

    lot_id: str
    acquired_on: date
    holding_since: date
    cost_usd: Fraction


class Asked(NamedTuple):
    """What the tax methods need to know. Units: USD a share; rates are fractions."""

    sold_on: date
    price_usd: Fraction
    rates: Mapping[str, Decimal]  # term -> the household's marginal rate


def _fifo(lot: Choice, _: Asked | None) -> tuple:
    return (lot.acquired_on, lot.lot_id.encode())


def _lifo(lot: Choice, _: Asked | None) -> tuple:
    return (-lot.acquired_on.toordinal(), tuple(-byte for byte in lot.lot_id.encode()), 1)


def _hifo(lot: Choice, _: Asked | None) -> tuple:
    return (-lot.cost_usd, *_fifo(lot, None))


def _lowest_tax(lot: Choice, asked: Asked | None) -> tuple:
    if asked is None:
        raise ValueError(
            "lowest_tax needs a price and the household's rates: choose the lots before the sale and name them"
        )
    gain = asked.price_usd - lot.cost_usd
    return (gain * Fraction(asked.rates[term(lot.holding_since, asked.sold_on)]), *_fifo(lot, None))


METHODS: dict[str, Callable[[Choice, Asked | None], tuple]] = {
    "fifo": _fifo,  # first in, first out: the law's own, Treas. Reg. 1.1012-1(c)(1)
    "lifo": _lifo,  # last in, first out
    "hifo": _hifo,  # highest cost first
    "lowest_tax": _lowest_tax,  # least tax by term and rate; a loss at the higher rate goes first
    "average": _fifo,  # one basis for all shares of a fund, the holding periods first in, first out: Reg. 1.1012-1(e)
}
BY_ITSELF = tuple(name for name in METHODS if name != "lowest_tax")  # need nothing but the lots


def ordered(lots: Sequence[Choice], method: str, asked: Asked | None = None) -> list[Choice]:
    """The lots in the order in which a method takes them.

    Law      Treas. Reg. 1.1012-1(c)(1)-(3), (e).
    Errors   ValueError for a method that nobody knows, and for lowest_tax without a price and rates.
    Omits    average cost of shares that were a gift with a lower market value.

    >>> lots = [Choice("A", date(2023, 1, 3), date(2023, 1, 3), Fraction(30)),
    ...         Choice("B", date(2025, 1, 3), date(2025, 1, 3), Fraction(29))]
    >>> [lot.lot_id for method in ("fifo", "lifo", "hifo") for lot in ordered(lots, method)[:1]]
    ['A', 'B', 'A']
    >>> rates = {"short": Decimal("0.32"), "long": Decimal("0.15")}
    >>> ordered(lots, "lowest_tax", Asked(date(2025, 6, 2), Fraction(20), rates))[0].lot_id  # 9 x 32 % beats 10 x 15 %
    'B'
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r} is not one of {', '.join(METHODS)}")
    return sorted(lots, key=lambda lot: METHODS[method](lot, asked))


def picked(
    lots: Sequence[Choice], left: Mapping[str, int], quantity: int, method: str, asked: Asked | None = None
) -> tuple[tuple[str, int], ...]:
    """The lots that a sale of so many shares takes by a method, as (lot_id, shares); nothing when they do not reach.

    Law      Treas. Reg. 1.1012-1(c)(1)-(3).
    Units    nano-shares.
    Omits    lots whose slices differ in basis or term (after a wash sale): a lot is chosen by its average and by the slice
             that leaves first.

    >>> lots = [Choice("A", date(2023, 1, 3), date(2023, 1, 3), Fraction(30)),
    ...         Choice("B", date(2025, 1, 3), date(2025, 1, 3), Fraction(29))]
    >>> picked(lots, {"A": 10, "B": 10}, 15, "lifo"), picked(lots, {"A": 10, "B": 10}, 21, "fifo")
    ((('B', 10), ('A', 5)), ())
    """
    taken, need = [], quantity
    for lot in ordered(lots, method, asked):
        part = min(need, left[lot.lot_id])
        if part:
            taken.append((lot.lot_id, part))
            need -= part
    return tuple(taken) if not need else ()
