"""A harvest at market prices, beside a twin that holds on to the very lots that were sold.

The choice. Both sides go with adjusted closes, so that dividends and splits are inside; what a share was worth on the day
of a fill is that session's close, and the fill's difference from it is cost. The tax that a harvest saved is money that
the twin had to find: from the end of that year on it grows as what was sold grows, until the loss is given back.

Omits    tax on dividends when they are paid; growth on what a carryover saved; what it cost to sell a replacement again;
a return of capital or a spin-off, which looks as if a part of the lot had left without a sale.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from transforms.harvest.candidates import cents
from transforms.harvest.followed import Harvest, Part, RatesOf
from transforms.risk.measures import SESSIONS_A_YEAR

MIN_SESSIONS = 20  # for a tracking error
STALE = timedelta(days=10)  # a close this old says nothing of today: no exchange was shut so long since 1933
_ZERO, _ONE = Decimal(0), Decimal(1)


class Closes(NamedTuple):
    """Sessions of a security in order, with what a share was worth, as traded and adjusted."""

    sessions: Sequence[date]
    price_usd: Sequence[Decimal]
    adjusted_usd: Sequence[Decimal]


class Market(NamedTuple):
    """Units: USD, signed; slippage, tracking and growth before tax, the others after it."""

    slippage_usd: Decimal
    tracking_usd: Decimal
    growth_usd: Decimal
    ours_usd: Decimal
    twin_usd: Decimal
    alpha_usd: Decimal


PriceOf = Callable[[str], Closes]


def market(one: Harvest, parts: Sequence[Part], closes: PriceOf, rates: RatesOf, as_of: date) -> Market | None:
    """Both sides as they stand; None where a price is missing."""
    proceeds = sum((piece.proceeds_usd for piece in one.sold), _ZERO)
    gross = proceeds + one.commission_usd
    shares = sum((piece.quantity for piece in one.sold), _ZERO)
    theirs = closes(one.security_id)
    starts = [_start(theirs, p.sold_on, p.quantity, gross * p.quantity / shares) for p in one.sold]
    cash = proceeds - sum((lot.cost_usd for lot in one.bought), _ZERO)
    sold_on = one.sold[0].sold_on
    ours = twin = tax_ours = tax_twin = bought_at = grown = _ZERO
    for part in parts:
        on = min(part.on, as_of)
        year = rates(on.year)
        for piece, start in zip(one.sold, starts, strict=True):
            growth = _growth(theirs, piece.sold_on, on)
            if growth is None:
                return None
            value = start * growth * part.weight
            twin += value
            tax_twin += (value - piece.basis_usd * part.weight) * part.twin_rate(piece, year)
        ours += cash * part.weight
        if (lot := part.lot) is not None:
            bought = closes(lot.security_id)
            start = _start(bought, lot.bought_on, lot.quantity, lot.cost_usd - lot.commission_usd)
            growth = _growth(bought, lot.bought_on, max(on, lot.bought_on))
            if growth is None:
                return None
            bought_at += start * part.of_lot
            value = start * growth * part.of_lot
            ours += value
            tax_ours += (value - lot.cost_usd * part.of_lot) * part.rate(year)
        since = _growth_of_savings(theirs, sold_on, on if part.how == "sold" else as_of)
        if since is None:
            return None
        grown += one.saved_usd * part.weight * (since - 1)
    today = rates(as_of.year)
    sold_at = sum(starts, _ZERO)
    paid = sum((lot.cost_usd - lot.commission_usd for lot in one.bought), _ZERO)
    slippage = sold_at - gross + paid - bought_at
    tracking = (ours - cash - bought_at) - (twin - sold_at)
    moved = sum((piece.adjustment_usd - piece.permanent_usd for piece in one.sold), _ZERO)  # to another basis
    kept = one.saved_usd + one.used_usd + (one.left_usd + moved) * today.long + grown * (1 - today.long)
    after_tax, twin_after_tax = cents(ours - tax_ours + kept), cents(twin - tax_twin)
    return Market(cents(slippage), cents(tracking), cents(grown), after_tax, twin_after_tax, after_tax - twin_after_tax)


def tracking_error(one: Harvest, closes: PriceOf, as_of: date) -> float | None:
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


def _start(known: Closes, on: date, quantity: Decimal, gross_usd: Decimal) -> Decimal:
    """What shares were worth at the close of the day they were traded on; what was paid where it has no close."""
    at = _at(known, on)
    return gross_usd if at is None or known.sessions[at] != on else quantity * known.price_usd[at]


def _growth(known: Closes, first: date, last: date) -> Decimal | None:
    """What a dollar has become from the close of one day to the last close up to another; None where nobody knows."""
    if last <= first:
        return _ONE
    start, end = _at(known, first), _at(known, last)
    if start is None or end is None or known.sessions[start] != first or last - known.sessions[end] > STALE:
        return None
    return known.adjusted_usd[end] / known.adjusted_usd[start]


def _growth_of_savings(known: Closes, sold_on: date, last: date) -> Decimal | None:
    """What a dollar of tax saved has become since the last close of the year it was saved in."""
    year_end = date(sold_on.year, 12, 31)
    if last <= year_end:
        return _ONE
    at = _at(known, year_end)
    if at is None or year_end - known.sessions[at] > STALE:
        return None
    return _growth(known, known.sessions[at], last)


def _at(known: Closes, on: date) -> int | None:
    place = bisect_right(known.sessions, on) - 1
    return place if place >= 0 else None


def _adjusted(known: Closes, first: date, last: date) -> dict[date, float]:
    held = slice(bisect_left(known.sessions, first), bisect_right(known.sessions, last))
    return dict(zip(known.sessions[held], map(float, known.adjusted_usd[held]), strict=True))
