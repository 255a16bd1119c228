"""Which losses are worth taking by what they are expected to bring, and which the year needs.

The problem. $1,000 or 5 % are a rule of thumb. The same loss is worth 29 cents a dollar against a short-term gain of this
year, and a few cents where it is carried over and given back in ten years; the trade costs the same. And a loss that
is left alone for a month is a bet: it may be larger then, or gone, or long-term.

The choice. Two portfolios are compared in dollars of today. One takes the loss now and stands at the new basis, from which it
may fall again; the other looks once more after the wait. Both use the tax of the whole year (`tax_on`), so a short-term loss
weighs what it really meets: gains of either term, other income up to the limit, or years to come. The harvest is
done when taking it now is ahead by a margin, after what it costs. By need it is simpler: until the year can use no more.

Omits    looking again on every day of the wait instead of once at its end; taxes on dividends; gains of next year that
nobody planned. What a limit lets be washed counts as if it were not.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

from transforms.harvest.benefit import tax_on, unused
from transforms.harvest.candidates import Candidate, OpenLot
from transforms.harvest.chances import chances
from transforms.harvest.deferral import carried_saving, kept
from transforms.harvest.need import needed_usd
from transforms.lots.check import Year

YEAR_DAYS = 365


class Outlook(NamedTuple):
    """What the household expects and asks for. Units: fractions a year, fractions of a trade, days, USD."""

    later_rate: Decimal | None = None  # at which it is given back; None: this year's long-term rate
    horizon_years: int = 10  # until then
    growth_rate: float = 0.05  # of a dollar of tax that is not paid
    never_taxed: float = 0.0  # the part that is never given back: a step-up at death, a gift to charity
    cost_rate: float = 0.0005  # of a trade: half a spread and what it moves the price
    risk_aversion: float = 3.0
    wait_days: int = 30
    drift_rate: float = 0.0  # of the price while one waits
    margin_usd: Decimal = Decimal(25)


class Economics(NamedTuple):
    """What a household's losses are weighed by. `volatility` and `swap_risk` by security, a year's, as fractions.

    `swap_risk` is the tracking error of a security's best replacement; `household_usd` what the household holds. From
    `told_of` on, USD or a fraction of the basis, a loss that is left alone by benefit is listed with the reason.
    """

    by: Literal["benefit", "need"]
    outlook: Outlook
    volatility: Mapping[str, float]
    swap_risk: Mapping[str, float]
    household_usd: Decimal
    told_of: tuple[Decimal, Decimal] = (Decimal(1000), Decimal("0.05"))


class Loss(NamedTuple):
    """A loss as it is weighed. Units: USD, positive; `wait_*`: what of it is of which term after the wait."""

    security_id: str
    value_usd: Decimal
    short_usd: Decimal
    long_usd: Decimal
    turning_usd: Decimal  # the part of short_usd that is long-term after the wait

    @property
    def usd(self) -> Decimal:
        return self.short_usd + self.long_usd


class Worth(NamedTuple):
    """Units: expected USD of today; `still_there` is a chance."""

    now_usd: float  # what taking the loss keeps, after its cost
    again_usd: float  # what the new, lower basis may bring when the wait is over
    wait_usd: float  # what waiting would keep
    cost_usd: float
    still_there: float

    @property
    def ahead_usd(self) -> float:
        return self.now_usd + self.again_usd - self.wait_usd


class Verdict(NamedTuple):
    """Of a candidate: a refusal or empty, the words for its reason, and what it is expected to be ahead of waiting by."""

    refusal: str
    words: str
    ahead_usd: Decimal


def worth(loss: Loss, year: Year, on: date, economics: Economics) -> Worth:
    """What a loss is expected to bring now, and if one waited.

    Law      26 USC 1211(b), 1212(b), 1222: by `tax_on`, this year's or, where the wait crosses its end, next year's.
    Errors   KeyError for a security without a volatility.

    A short-term loss of 6,000 against a short-term gain of 10,000, at 29 % now and 20 % ten years from now:

    >>> from transforms.harvest.benefit import Rates
    >>> rates = Rates(Decimal("0.29"), Decimal("0.20"), Decimal("0.29"), Decimal(3000))
    >>> year, on = Year(rates, Decimal(10000), Decimal(0)), date(2022, 6, 1)
    >>> economics = Economics("benefit", Outlook(), {"XYZ": 0.30}, {"XYZ": 0.20}, Decimal(500000))
    >>> found = worth(Loss("XYZ", Decimal(14000), Decimal(6000), Decimal(0), Decimal(0)), year, on, economics)
    >>> [round(amount) for amount in found[:4]], round(found.ahead_usd)
    ([831, 50, 831, 38], 50)
    """
    outlook, rates = economics.outlook, year.rates
    value, basis = float(loss.value_usd), float(loss.value_usd + loss.usd)
    wait_years = outlook.wait_days / YEAR_DAYS
    volatility, drift = economics.volatility[loss.security_id], outlook.drift_rate
    later = chances(value, basis, volatility, wait_years, drift)
    fresh = chances(value, value, volatility, wait_years, drift)
    cost = _cost(loss, economics)
    now = _kept(loss.short_usd, loss.long_usd, year, outlook, 0) - cost

    next_on = on + timedelta(days=outlook.wait_days)
    is_next = next_on.year > on.year
    waits = _next(year) if is_next else year
    taken = Year(rates, year.short_usd - loss.short_usd, year.long_usd - loss.long_usd)
    after = _next(taken) if is_next else taken
    expected = Decimal(later.expected_loss)
    short = expected * (loss.short_usd - loss.turning_usd) / loss.usd
    wait = _kept(short, expected - short, waits, outlook, is_next) - cost * later.still_there
    again = _kept(Decimal(fresh.expected_loss), Decimal(0), after, outlook, is_next) - cost * fresh.still_there
    return Worth(now, max(0.0, again), max(0.0, wait), cost, later.still_there)


def is_worth_a_look(
    slices: Iterable[OpenLot], value: Decimal, loss: Decimal, year: Year, on: date, economics: Economics
) -> bool:
    """Is a lot's loss by itself ahead of waiting? Lots that are not would only dilute a harvest."""
    if loss <= 0 or value <= 0:
        return False
    lots = list(slices)
    if lots[0].security_id not in economics.volatility:
        return False
    price = value / sum((lot.quantity for lot in lots), Decimal(0))
    soon = on + timedelta(days=economics.outlook.wait_days)

    def part(is_so: Callable[[OpenLot], bool]) -> Decimal:
        found = sum((lot.basis_usd - lot.quantity * price for lot in lots if is_so(lot)), Decimal(0))
        return min(max(found, Decimal(0)), loss)

    long = part(lambda lot: on >= lot.long_term_from)
    turning = min(part(lambda lot: on < lot.long_term_from <= soon), loss - long)
    found = worth(Loss(lots[0].security_id, value, loss - long, long, turning), year, on, economics)
    return found.now_usd > 0 and found.ahead_usd > 0


def left_alone(
    found: Iterable[Candidate], large: Iterable[Candidate], year: Year, on: date, economics: Economics
) -> list[Candidate]:
    """The large losses of which no lot was worth a look, refused with the reason; `found` are the candidates that were."""
    seen = {one[:2] for one in found}
    others = [one for one in large if one[:2] not in seen]
    said = [(one, one.refusal or _by_benefit(one, year, on, economics).refusal) for one in others]
    return [one._replace(refusal=refusal) for one, refusal in said if refusal]


def verdicts(found: Iterable[Candidate], year: Year, on: date, economics: Economics) -> dict[str, Verdict]:
    """What is said of each candidate that is not refused, in their order: each meets the year that those before it leave."""
    said: dict[str, Verdict] = {}
    judge = {"benefit": _by_benefit, "need": _by_need}[economics.by]
    for one in found:
        if one.refusal:
            continue
        verdict = said[one.name] = judge(one, year, on, economics)
        if not verdict.refusal:
            year = Year(year.rates, year.short_usd - one.short_loss_usd, year.long_usd - one.long_loss_usd)
    return said


def _by_benefit(one: Candidate, year: Year, on: date, economics: Economics) -> Verdict:
    if one.security_id not in economics.volatility:
        return Verdict("nothing tells how it moves: too few prices to weigh its loss", "", Decimal(0))
    if one.value_usd <= 0:
        return Verdict("it is worth less than a cent: there is nothing to sell it for", "", Decimal(0))
    turning = one.turning_usd(on + timedelta(days=economics.outlook.wait_days))
    loss = Loss(one.security_id, one.value_usd, one.short_loss_usd, one.long_loss_usd, turning)
    found = worth(loss, year, on, economics)
    ahead, days = Decimal(found.ahead_usd).quantize(Decimal("0.01")), economics.outlook.wait_days
    words = (
        f"taken now it keeps ${found.now_usd:,.2f} after costs of ${found.cost_usd:,.2f} and may bring ${found.again_usd:,.2f} "
        f"more, left for {days} days ${found.wait_usd:,.2f} (the chance that it is still there: {found.still_there:.0%})"
    )
    if found.now_usd <= 0:
        return Verdict(f"a loss of ${one.loss_usd:,.2f} is not worth its cost: {words}", "", ahead)
    if ahead < economics.outlook.margin_usd:
        return Verdict(
            f"a loss of ${one.loss_usd:,.2f} is better left alone: {words}; ahead by ${ahead:,.2f}, "
            f"${economics.outlook.margin_usd:,.2f} is asked for", "", ahead,
        )  # fmt: skip
    return Verdict("", words, ahead)


def _by_need(one: Candidate, year: Year, on: date, economics: Economics) -> Verdict:
    need = needed_usd(year.short_usd, year.long_usd, year.rates)
    if not need:
        limit = year.rates.loss_limit_usd
        return Verdict(
            f"the year needs no more losses: its gains and ${limit:,.0f} of other income are met, a loss of "
            f"${one.loss_usd:,.2f} would be carried over", "", Decimal(0),
        )  # fmt: skip
    return Verdict("", f"the year needs ${need:,.2f} of losses, it meets ${min(need, one.loss_usd):,.2f}", Decimal(0))


def _cost(loss: Loss, economics: Economics) -> float:
    """Two trades, and a year of risk that is not the household's own choice.

    The risk of one holding counts by the square of its weight: aversion / 2 x (weight x tracking error)² of all.
    """
    outlook, value = economics.outlook, float(loss.value_usd)
    weight = value / max(float(economics.household_usd), value)
    risk = outlook.risk_aversion / 2 * weight * economics.swap_risk.get(loss.security_id, 0.0) ** 2
    return value * (2 * outlook.cost_rate + risk)


def _kept(short: Decimal, long: Decimal, year: Year, outlook: Outlook, away: int) -> float:
    """What a loss taken in a year keeps: saved in it and in later ones, and given back at the horizon."""
    rates = year.rates
    before = year.short_usd, year.long_usd
    after = year.short_usd - short, year.long_usd - long
    later_rate = float(rates.long if outlook.later_rate is None else outlook.later_rate)
    growth, years = outlook.growth_rate, outlook.horizon_years
    saved = float(tax_on(*before, rates) - tax_on(*after, rates))
    owed = float(short + long) * later_rate * (1 - outlook.never_taxed)
    carried = carried_saving(unused(*before, rates), unused(*after, rates), rates, later_rate, growth, years, away)
    return kept(saved, owed, growth, later_rate, years, away) + carried


def _next(year: Year) -> Year:
    """Next year as it is known today: what this one cannot use, and no gains, so that its terms do not matter."""
    return Year(year.rates, -unused(year.short_usd, year.long_usd, year.rates), Decimal(0))
