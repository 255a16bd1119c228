"""What a harvested loss that its own year could not use has saved in the years after.

The problem. A loss beyond the year's gains and the limit is carried over. What it saves then is real, and a ledger that
leaves it at a guess for ever is wrong by the first year that uses it; but the return does not say whose loss was used.

The choice. Every later year is reckoned twice by the carryovers of Schedule D: as it was, and as if no harvest of an earlier year
had been. The difference of the tax is what those losses saved in it, and the difference of what is carried on is what is
left of them. Both are divided between the harvests by what was left of each: no loss is older than another.

Omits    a carryover that the household states itself: from that year on the books cannot tell whose it is, and what was
left then stays so.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise

from transforms.harvest.benefit import tax_on, unused
from transforms.harvest.candidates import cents
from transforms.harvest.followed import Harvest, RatesOf

_ZERO = Decimal(0)
Results = Mapping[int, tuple[Decimal, Decimal]]  # by year: net short-term and long-term, signed
CarriedInto = Callable[[int, Results], tuple[Decimal, Decimal]]


def used_later(
    harvests: Sequence[Harvest], results: Results, carried: CarriedInto, rates: RatesOf
) -> list[tuple[Decimal, Decimal]]:
    """What the loss carried over of each harvest has saved since, and how much of it is carried still.

    Law      26 USC 1211(b), 1212(b), by `carried`.
    Units    USD; `left_usd` of the harvests is what their own year could not use.
    Order    as given.
    """
    years = [one.sold[0].sold_on.year for one in harvests]
    losses = {year: _losses(harvests, years, year) for year in set(years)}
    without = {year: _plus(result, losses.get(year, (_ZERO, _ZERO))) for year, result in results.items()}
    used, left = [_ZERO] * len(harvests), [one.left_usd for one in harvests]
    for year in sorted(results):
        earlier = [at for at, of in enumerate(years) if of < year and left[at] > 0]
        with_them, without_them = carried(year, results), carried(year, without)
        before = sum(with_them) - sum(without_them)
        if not earlier or before <= 0:
            continue
        ours, theirs = (
            (without[year][0] - short, without[year][1] - long) for short, long in (with_them, without_them)
        )
        saved = tax_on(*theirs, rates(year)) - tax_on(*ours, rates(year))
        after = unused(*ours, rates(year)) - unused(*theirs, rates(year))
        weights = [left[at] for at in earlier]
        for at, part, rest in zip(earlier, _divided(saved, weights), _divided(after, weights), strict=True):
            used[at] += part
            left[at] = rest
    return list(zip(used, left, strict=True))


def _losses(harvests: Sequence[Harvest], years: Sequence[int], year: int) -> tuple[Decimal, Decimal]:
    """The losses of a year's harvests by term, as booked; negative where they were gains."""
    sold = [piece for one, of in zip(harvests, years, strict=True) if of == year for piece in one.sold]
    short, long = (-sum((p.gain_usd for p in sold if p.term == term), _ZERO) for term in ("short", "long"))
    return short, long


def _plus(one: tuple[Decimal, Decimal], other: tuple[Decimal, Decimal]) -> tuple[Decimal, Decimal]:
    return one[0] + other[0], one[1] + other[1]


def _divided(amount: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """An amount in cents by weights, so that the parts add up to it.

    >>> [str(part) for part in _divided(Decimal(100), [Decimal(1)] * 3)]
    ['33.33', '33.34', '33.33']
    """
    whole, done, ends = sum(weights), _ZERO, [_ZERO]
    for weight in weights:
        done += weight
        ends.append(cents(amount * done / whole))
    return [after - before for before, after in pairwise(ends)]
