"""The tax-alpha ledger: what each harvest has brought so far, beside a twin that did nothing.

The problem. "Tax saved" is what every harvest shows, and most of it is owed back. What is kept is a difference of rates, what
is never given back, and the growth on what is given back late; against it stand the costs, a replacement that went
another way, and losses that a wash sale ended for good.

The choice. Every harvest is followed from its fills: the lots sold, the lots bought instead, and how each of these ended. The
twin holds on to the very lots that were sold. Where a part of the replacement was sold, both end on that day, else on
the last one, and what either gained since its basis is taxed: at the rate that a sale had, else at the long-term rate, for
what is held on is long-term in the end. So the twin's loss is worth on the first day what is owed back on ours, and

    alpha = (tracking - cost) after tax + permanent

as long as nothing was sold and nothing was washed for good. Both go with adjusted closes, so that dividends and splits are inside;
what a share was worth on the day of a fill is that session's close, and the fill's difference from it is cost.

Omits    tax on dividends when they are paid; growth on the tax saved, which is counted as it was saved; the later use of a
loss carried over (`carried_usd` stays at the long-term rate); a return of capital, which looks as if a part of the
lot had left without a sale; the limit on losses where either side is sold at a loss.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from transforms.harvest.benefit import Rates
from transforms.harvest.candidates import cents
from transforms.risk.measures import SESSIONS_A_YEAR

MIN_SESSIONS = 20  # for a tracking error
_ZERO, _ONE = Decimal(0), Decimal(1)


class Sold(NamedTuple):
    """A lot that the harvest sold, as booked. Units: shares, USD; `gain_usd` after wash sales, signed."""

    sold_on: date
    term: str
    quantity: Decimal
    proceeds_usd: Decimal
    basis_usd: Decimal
    adjustment_usd: Decimal  # disallowed, positive
    permanent_usd: Decimal
    gain_usd: Decimal


class Ended(NamedTuple):
    """A part of a replacement lot that was sold."""

    on: date
    term: str
    basis_usd: Decimal


class Bought(NamedTuple):
    """A replacement lot, as far as it belongs to the harvest. Units: shares, USD; gains: of what is open, None without a price."""

    security_id: str
    bought_on: date
    quantity: Decimal
    cost_usd: Decimal
    commission_usd: Decimal
    ended: tuple[Ended, ...]
    open_basis_usd: Decimal
    short_gain_usd: Decimal | None
    long_gain_usd: Decimal | None


class Harvest(NamedTuple):
    """A harvest and what it has to do with. `saved_usd` and `unused_usd` as core.harvests has them."""

    client_order_id: str
    account_id: str
    security_id: str
    sold: tuple[Sold, ...]
    commission_usd: Decimal  # of the sale
    bought: tuple[Bought, ...]
    saved_usd: Decimal
    unused_usd: Decimal


class Closes(NamedTuple):
    """Sessions of a security in order, with what a share was worth, as traded and adjusted."""

    sessions: Sequence[date]
    price_usd: Sequence[Decimal]
    adjusted_usd: Sequence[Decimal]


class _Part(NamedTuple):
    """A part of a harvest that ended, or is open: of which lot, how much of it, when, and how its gain is taxed."""

    lot: Bought | None
    of_lot: Decimal
    weight: Decimal  # of the harvest
    on: date
    term: str  # empty: it left without a sale, or nothing was bought


PriceOf = Callable[[str], Closes]


def tax_alpha(harvests: Sequence[Harvest], closes: PriceOf, rates: Callable[[int], Rates], as_of: date) -> list[tuple]:
    """A row of core.tax_alpha for every harvest.

    Law      26 USC 1012 (what is given back), 1014(a) (what never is), 1222; 1091(d) by what the books carried.
    Rows     in the order given; market figures are empty where a price is missing.
    """
    return [_row(one, closes, rates, as_of) for one in harvests]


def _row(one: Harvest, closes: PriceOf, rates: Callable[[int], Rates], as_of: date) -> tuple:
    today = rates(as_of.year)
    sold_on = min(piece.sold_on for piece in one.sold)
    then = rates(sold_on.year)
    allowed = {name: -sum((p.gain_usd for p in one.sold if p.term == name), _ZERO) for name in ("short", "long")}
    loss = max(_ZERO, sum(allowed.values(), _ZERO))
    parts = _parts(one)
    sales = [part for part in parts if part.term and part.on < _OPEN]
    given_back = cents(sum((loss * part.weight * _rate(rates(part.on.year), part.term) for part in sales), _ZERO))
    deferred = cents(sum((loss * part.weight * today.long for part in parts if part.on == _OPEN and part.term), _ZERO))
    lost = cents(sum((p.permanent_usd * _rate(then, p.term) for p in one.sold), _ZERO))
    carried = cents(one.unused_usd * then.long)
    permanent = one.saved_usd + carried - given_back - deferred - lost
    commission = one.commission_usd + sum((lot.commission_usd for lot in one.bought), _ZERO)
    market = _market(one, parts, closes, rates, max(as_of, sold_on)) or _NOBODY_KNOWS
    names = ", ".join(dict.fromkeys(lot.security_id for lot in one.bought))
    return (
        one.client_order_id, one.account_id, one.security_id, names, sold_on, allowed["short"], allowed["long"],
        one.saved_usd, carried, given_back, deferred, lost, permanent, cents(commission), *_switch_back(one, today),
        *market, _tracking_error(one, closes, max(as_of, sold_on)),
    )  # fmt: skip


def _switch_back(one: Harvest, today: Rates) -> list[Decimal | None]:
    """What selling all that is left of the replacement would realise, by term, and its tax."""
    found = [(lot.short_gain_usd, lot.long_gain_usd) for lot in one.bought]
    known = [(short, long) for short, long in found if short is not None and long is not None]
    if len(known) < len(found):
        return [None, None, None]
    short, long = (cents(sum(gains, _ZERO)) for gains in zip(*known, strict=True)) if known else (_ZERO, _ZERO)
    return [short, long, cents(short * today.short + long * today.long)]


_OPEN = date.max
_NOBODY_KNOWS = (None,) * 5


def _parts(one: Harvest) -> list[_Part]:
    """How every part of the harvest's replacement stands; the weights add up to one."""
    cost = sum((lot.cost_usd for lot in one.bought), _ZERO)
    if not cost:
        return [_Part(None, _ONE, _ONE, _OPEN, "")]
    parts = []
    for lot in one.bought:
        known = lot.open_basis_usd + sum((end.basis_usd for end in lot.ended), _ZERO)
        whole, weight = max(known, lot.cost_usd), lot.cost_usd / cost  # more than cost: a wash sale added to it
        of_lot = [(end.basis_usd / whole, end.on, end.term) for end in lot.ended]
        of_lot += [(lot.open_basis_usd / whole, _OPEN, "long")] if lot.open_basis_usd else []
        of_lot += [(1 - known / whole, _OPEN, "")] if known < whole else []
        parts += [_Part(lot, part, part * weight, on, kind) for part, on, kind in of_lot]
    return parts


def _market(
    one: Harvest, parts: Sequence[_Part], closes: PriceOf, rates: Callable[[int], Rates], as_of: date
) -> list[Decimal] | None:
    """Slippage, tracking, ours, the twin's and alpha; None where a price is missing."""
    proceeds = sum((piece.proceeds_usd for piece in one.sold), _ZERO)
    gross = proceeds + one.commission_usd
    shares = sum((piece.quantity for piece in one.sold), _ZERO)
    starts = [_start(closes(one.security_id), p.sold_on, p.quantity, gross * p.quantity / shares) for p in one.sold]
    cash = proceeds - sum((lot.cost_usd for lot in one.bought), _ZERO)
    ours = twin = tax_ours = tax_twin = bought_at = _ZERO
    for part in parts:
        on = min(part.on, as_of)
        year = rates(on.year)
        for piece, start in zip(one.sold, starts, strict=True):
            growth = _growth(closes(one.security_id), piece.sold_on, on)
            if growth is None:
                return None
            value = start * growth * part.weight
            twin += value
            if part.term or part.lot is None:
                tax_twin += (value - piece.basis_usd * part.weight) * year.long
        ours += cash * part.weight
        if (lot := part.lot) is not None:
            start = _start(closes(lot.security_id), lot.bought_on, lot.quantity, lot.cost_usd - lot.commission_usd)
            growth = _growth(closes(lot.security_id), lot.bought_on, max(on, lot.bought_on))
            if growth is None:
                return None
            bought_at += start * part.of_lot
            value = start * growth * part.of_lot
            ours += value
            if part.term:
                tax_ours += (value - lot.cost_usd * part.of_lot) * _rate(year, part.term)
    sold_at = sum(starts, _ZERO)
    paid = sum((lot.cost_usd - lot.commission_usd for lot in one.bought), _ZERO)
    slippage = sold_at - gross + paid - bought_at
    tracking = (ours - cash - bought_at) - (twin - sold_at)
    moved = sum((piece.adjustment_usd - piece.permanent_usd for piece in one.sold), _ZERO)  # to another basis
    kept = one.saved_usd + (one.unused_usd + moved) * rates(one.sold[0].sold_on.year).long
    after_tax, twin_after_tax = cents(ours - tax_ours + kept), cents(twin - tax_twin)
    return [cents(slippage), cents(tracking), after_tax, twin_after_tax, after_tax - twin_after_tax]


def _start(known: Closes, on: date, quantity: Decimal, gross_usd: Decimal) -> Decimal:
    """What shares were worth at the close of the day they were traded on; what was paid where it has no close."""
    at = _at(known, on)
    return gross_usd if at is None or known.sessions[at] != on else quantity * known.price_usd[at]


def _growth(known: Closes, first: date, last: date) -> Decimal | None:
    """What a dollar has become from the close of one day to the last close up to another; None where nobody knows."""
    if last <= first:
        return _ONE
    start, end = _at(known, first), _at(known, last)
    if start is None or end is None or known.sessions[start] != first:
        return None
    return known.adjusted_usd[end] / known.adjusted_usd[start]


def _at(known: Closes, on: date) -> int | None:
    place = bisect_right(known.sessions, on) - 1
    return place if place >= 0 else None


def _tracking_error(one: Harvest, closes: PriceOf, as_of: date) -> float | None:
    """The standard deviation of what the first replacement returned beside what was sold, a fraction a year."""
    if not one.bought:
        return None
    lot = one.bought[0]
    ends = [end.on for end in lot.ended]
    last = as_of if lot.open_basis_usd or not ends else max(ends)
    ours, theirs = (_adjusted(closes(name), lot.bought_on, last) for name in (lot.security_id, one.security_id))
    days = sorted(ours.keys() & theirs.keys())
    if len(days) <= MIN_SESSIONS:
        return None
    moves = [np.diff([series[day] for day in days]) / [series[day] for day in days[:-1]] for series in (ours, theirs)]
    return float(np.std(moves[0] - moves[1], ddof=1) * np.sqrt(SESSIONS_A_YEAR))


def _adjusted(known: Closes, first: date, last: date) -> dict[date, float]:
    return {
        day: float(price) for day, price in zip(known.sessions, known.adjusted_usd, strict=True) if first <= day <= last
    }


def _rate(rates: Rates, term_of_gain: str) -> Decimal:
    return rates.long if term_of_gain == "long" else rates.short
