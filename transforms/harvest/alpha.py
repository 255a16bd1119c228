"""The tax-alpha ledger: what each harvest has brought so far, beside a twin that did nothing.

The problem. "Tax saved" is what every harvest shows, and most of it is owed back. What is kept is a difference of rates, what
is never given back, and the growth on what is given back late; against it stand the costs, a replacement that went
another way, and losses that a wash sale ended for good.

The choice. Every harvest is followed from its fills (`followed.py`) beside a twin that holds on to the very lots that were sold
(`twin.py`). The loss L is owed back because our basis is lower by it. Held on, or handed over to a harvest of its own, it is
owed at the long-term rate. Where the replacement was sold for a gain G at a rate r, and the twin is taxed at t, it is

    given back = L x t + G x (r - t)

which is L at one rate where both have sold, and after going back G at its rate with the rest of L still owed. Then

    alpha = (tracking + growth - cost) after tax + permanent

as long as nothing was washed for good: growth is what is kept of a tax that is only put off.

Omits    what `twin.py` does; the limit on losses where either side is sold at a loss. What is given back is taxed at the marginal
rate, even if the year had losses to meet it: an upper bound.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from transforms.harvest.benefit import Rates
from transforms.harvest.candidates import cents
from transforms.harvest.followed import Harvest, Part, RatesOf, parts
from transforms.harvest.twin import Market, PriceOf, market, tracking_error

_ZERO = Decimal(0)
_NOBODY_KNOWS = (None,) * len(Market._fields)


def tax_alpha(harvests: Sequence[Harvest], closes: PriceOf, rates: RatesOf, as_of: date) -> list[tuple]:
    """A row of core.tax_alpha for every harvest.

    Law      26 USC 1012 (what is given back), 1014(a) (what never is), 1222; 1091(d) by what the books carried.
    Rows     in the order given; market figures are empty where a price is missing.
    """
    return [_row(one, closes, rates, as_of) for one in harvests]


def _row(one: Harvest, closes: PriceOf, rates: RatesOf, as_of: date) -> tuple:
    sold_on = min(piece.sold_on for piece in one.sold)
    as_of = max(as_of, sold_on)  # on the evening of the decision a simulated fill is of the next session
    today, then = rates(as_of.year), rates(sold_on.year)
    allowed = {name: -sum((p.gain_usd for p in one.sold if p.term == name), _ZERO) for name in ("short", "long")}
    found = parts(one)
    owed = [_owed(one, part, rates, as_of) for part in found]
    given_back, deferred = (cents(sum(amounts, _ZERO)) for amounts in zip(*owed, strict=True))
    lost = cents(sum((p.permanent_usd * (then.long if p.term == "long" else then.short) for p in one.sold), _ZERO))
    carried = cents(one.left_usd * today.long)
    permanent = one.saved_usd + one.used_usd + carried - given_back - deferred - lost
    commission = one.commission_usd + sum((lot.commission_usd for lot in one.bought), _ZERO)
    names = ", ".join(dict.fromkeys(lot.security_id for lot in one.bought))
    return (
        one.client_order_id, one.account_id, one.security_id, names, sold_on, allowed["short"], allowed["long"],
        one.saved_usd, one.used_usd, carried, given_back, deferred, lost, permanent, cents(commission),
        *_switch_back(one, today), *(market(one, found, closes, rates, as_of) or _NOBODY_KNOWS),
        tracking_error(one, closes, as_of),
    )  # fmt: skip


def _owed(one: Harvest, part: Part, rates: RatesOf, as_of: date) -> tuple[Decimal, Decimal]:
    """What of the loss was given back with a part, and what is still owed for it. Units: USD, signed."""
    loss = -sum((piece.gain_usd for piece in one.sold), _ZERO) * part.weight
    year = rates(min(part.on, as_of).year)
    match part.how:
        case "open" | "harvested":
            return _ZERO, loss * year.long
        case "switched":
            return part.gain_usd * part.rate(year), (loss - part.gain_usd) * year.long
        case "sold":
            proceeds = sum((piece.proceeds_usd for piece in one.sold), _ZERO)
            back = _ZERO
            for piece in one.sold:
                twin, gain = part.twin_rate(piece, year), part.gain_usd * piece.proceeds_usd / proceeds
                back += -piece.gain_usd * part.weight * twin + gain * (part.rate(year) - twin)
            return back, _ZERO
        case "left":  # into cash: the twin still has its loss to take; or away, at a basis of its own
            return loss * year.long if part.lot is None else _ZERO, _ZERO


def _switch_back(one: Harvest, today: Rates) -> list[Decimal | None]:
    """What selling all that is left of the replacement would realise, by term, and its tax."""
    found = [(lot.short_gain_usd, lot.long_gain_usd) for lot in one.bought]
    known = [(short, long) for short, long in found if short is not None and long is not None]
    if len(known) < len(found):
        return [None, None, None]
    short, long = (cents(sum(gains, _ZERO)) for gains in zip(*known, strict=True)) if known else (_ZERO, _ZERO)
    return [short, long, cents(short * today.short + long * today.long)]
