"""Bands around targets: when a class has strayed, where it is brought back to, and whether that is worth it.

The problem. Rebalancing on a calendar trades when nothing has happened and waits when much has. A band trades when a class
has strayed, but one width fits no two classes: 5 points are nothing to 60 % and everything to 4 %.

The choice. A band is absolute (5 points) and relative (20 % of the target), the tighter of the two by default, as advisers
use "5/25": large classes are held by points, small ones by their own size. It is looked at every two weeks and traded back
to half the band: the rest of the way costs as much and is worth less (Daryanani, 2008). Money that sales bring goes to what
is furthest below its target, and what purchases need comes from what is furthest above.

What less drift is worth. Distance from the targets is priced as the risk that it adds: an investor of risk aversion A, for
whom the targets are best, gives up A/2 x (tracking variance against them) of the household's value a year. The tracking
variance is d'Sd, of the distances d in weights and the covariance S of the classes' returns. The saving counts for the
years that the drift would otherwise last.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal
from math import copysign
from typing import NamedTuple

import numpy as np

from transforms.portfolio.cash_flow import ZERO, levelled

CASH = "Cash"
LOOKS = {"daily": 0, "weekly": 1, "biweekly": 2}  # weeks of a period that is looked at once; 0: every day
PART = {"target": 0.0, "half": 0.5, "edge": 1.0}  # of the band that a class is brought back to


class Held(NamedTuple):
    """A class of the targets. Units: USD; fractions of the household."""

    value_usd: Decimal
    target_weight: float
    band: float


def half_width(target: float, absolute: float, relative: float, of_both: str = "tighter", scale: float = 1.0) -> float:
    """How far a class may stray, either way.

    Units    fractions of the household; `relative` is a fraction of the target, `scale` a factor (volatility_bands.py).
    Rows     a class without a target has the absolute band alone: a fraction of nothing is no band.

    >>> [round(half_width(target, 0.05, 0.20), 4) for target in (0.60, 0.10, 0)]
    [0.05, 0.02, 0.05]
    >>> round(half_width(0.60, 0.05, 0.20, "wider"), 4)
    0.12
    """
    if target <= 0:
        return absolute * scale
    return scale * (min if of_both == "tighter" else max)(absolute, relative * target)


def is_outside(weight: float, target: float, band: float) -> bool:
    """
    >>> [is_outside(weight, 0.60, 0.12) for weight in (0.4799, 0.48, 0.72, 0.7201)]
    [True, False, False, True]
    """
    return round(abs(weight - target), 12) > round(band, 12)


def back_to(weight: float, target: float, band: float, trade_back: str) -> float:
    """The weight that a class outside its band is brought back to.

    >>> [round(back_to(weight, 0.60, 0.12, "half"), 4) for weight in (0.73, 0.47)], back_to(0.73, 0.60, 0.12, "target")
    ([0.66, 0.54], 0.6)
    """
    return target + copysign(PART[trade_back] * band, weight - target)


def is_due(look: str, on: date, last_on: date | None) -> bool:
    """Is a decision for a day the first of its period, after the last one?

    Window   weeks begin on Monday; two of them on every second Monday, always the same ones.

    >>> [is_due("weekly", date(2026, 3, day), date(2026, 3, 6)) for day in (6, 9)]
    [False, True]
    >>> [is_due("biweekly", date(2026, 3, day), date(2026, 3, 2)) for day in (13, 16)]
    [False, True]
    """
    weeks = LOOKS[look]
    if not weeks or last_on is None:
        return True
    first, last = ((day.toordinal() - 1) // (7 * weeks) for day in (on, last_on))
    return first > last


def trade_back(
    held: Mapping[str, Held],
    trade_back: str,
    cushion_rate: Decimal = ZERO,
    resting: Collection[str] = (),
    barred: Collection[str] = (),
    sellable_usd: Mapping[str, Decimal] | None = None,
) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """What to sell of each class and what to buy, in all accounts together, when some are outside their bands.

    Order    classes outside their bands come back to where they should. What their sales bring beyond that goes to what is
             furthest below its target; what their purchases lack comes from what is furthest above. Neither crosses a target.
    Units    USD, to the cent; purchases are what is spent, so that `cushion_rate` of the sales stays in cash.
    Rows     the classes that are `resting` since their last trade are neither sold nor bought, those `barred` not bought; of a
             class no more is sold than `sellable_usd` says (nothing said: all of it); of what is sold as much may stay in cash as
             cash is short of its target.

    >>> held = {"Stocks": Held(Decimal(73), 0.60, 0.12), "Bonds": Held(Decimal(27), 0.40, 0.16)}
    >>> sells, buys = trade_back(held, "half")
    >>> {**sells}, {**buys}
    ({'Stocks': Decimal('7.00')}, {'Bonds': Decimal('7.00')})
    """
    total = sum((one.value_usd for one in held.values()), ZERO)
    free = {name: one for name, one in sorted(held.items()) if name != CASH and name not in resting}
    if total <= 0:
        return {}, {}
    wanted: dict[str, Decimal] = {}
    for name, one in free.items():
        weight = float(one.value_usd / total)
        if is_outside(weight, one.target_weight, one.band) and not (name in barred and weight < one.target_weight):
            there = back_to(weight, one.target_weight, one.band, trade_back)
            wanted[name] = _usd(there, total) - one.value_usd
    most = {name: one.value_usd if sellable_usd is None else sellable_usd.get(name, ZERO) for name, one in free.items()}
    sells = {name: min(-usd, most[name]) for name, usd in wanted.items() if usd < 0}
    buys = {name: usd for name, usd in wanted.items() if usd > 0}
    short = {name: _usd(one.target_weight, total) - one.value_usd for name, one in free.items()}
    left = 1 - cushion_rate
    spent, brought = sum(buys.values(), ZERO), sum(sells.values(), ZERO) * left
    if brought >= spent:
        if CASH in held:  # money may stay where cash is short of its target
            short[CASH] = _usd(held[CASH].target_weight, total) - held[CASH].value_usd
        more = {
            name: gap - buys.get(name, ZERO) for name, gap in short.items() if name not in sells and name not in barred
        }
        _add(buys, levelled(more, brought - spent))
    else:
        surplus = {name: -gap - sells.get(name, ZERO) for name, gap in short.items() if name not in buys}
        _add(
            sells,
            levelled(surplus, (spent - brought) / left, {name: most[name] - sells.get(name, ZERO) for name in surplus}),
        )
        buys = levelled(buys, sum(sells.values(), ZERO) * left)
    return _to_the_cent(sells), _to_the_cent(buys)


def drift_cost(
    distances: Mapping[str, float], classes: Sequence[str], covariance: np.ndarray, risk_aversion: float, years: float
) -> float:
    """What distances from the targets cost, by the risk that they add, as a fraction of the household's value.

    Units    distances in weights, signed; covariance of a year.
    Shape    covariance (classes, classes); a class that it does not have adds no risk: cash.
    Omits    that the targets need not be best for the investor, and what a drifting class is expected to earn.

    >>> round(drift_cost({"Stocks": 0.1, "Cash": -0.1}, ["Stocks"], np.array([[0.04]]), 3.0, 1.0) * 1e4, 6)  # bps
    6.0
    """
    d = np.array([distances.get(name, 0.0) for name in classes])
    return float(risk_aversion / 2 * years * (d @ covariance @ d))


def _usd(weight: float, total: Decimal) -> Decimal:
    """A weight of the household as dollars: the one place where a float becomes money."""
    return (Decimal(repr(round(weight, 12))) * total).quantize(Decimal("0.000001"))


def _add(to: dict[str, Decimal], more: Mapping[str, Decimal]) -> None:
    for name, usd in more.items():
        to[name] = to.get(name, ZERO) + usd


def _to_the_cent(amounts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {name: cents for name, usd in amounts.items() if (cents := Decimal(int(usd * 100)).scaleb(-2))}
