"""From prices to harvests: everything else is known before.

The problem. After the close one set of prices is looked at, in market hours a new one every few minutes. A harvest
that is proposed at eleven must be the one that the evening would have proposed at the same prices.

The choice. One function for both. What a household's harvests could have to do with is gathered once (`Scan`); the
prices come last, and `proposals` is pure. A loss becomes a proposal when it passes a threshold of the policy, the
broker can reach its lots, no purchase in any account of the household, made, proposed or known to come, would wash
more of it than the limits let pass, every account that could have made one has a fresh statement, and a replacement is
there that no loss of the household bars. What does not is a refusal that says why.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal
from functools import cache
from typing import NamedTuple

from transforms.exact import nano_shares, trade_cents, usd
from transforms.harvest.benefit import tax_on, unused
from transforms.harvest.candidates import Candidate, Holdings, OpenLot, candidates, cents
from transforms.harvest.replacement import Replacement
from transforms.harvest.worth import Economics, Verdict, is_worth_a_look, left_alone, verdicts
from transforms.lots.check import Effect, Limits, Year, beyond, washed, within
from transforms.lots.in_part import Young, beyond_in_part
from transforms.model import Trade

CASH_CUSHION = Decimal("0.98")  # a replacement is bought for a little less than the sale brings: prices move on
SHARE = Decimal("0.0001")
TURNS_SOON = timedelta(days=30)  # a lot this near to long-term is told of
Concerned = tuple[Collection[str], str]  # securities (none: any), and a name or a reason


class Thresholds(NamedTuple):
    """A loss is worth taking from either on. Units: USD; a fraction of the basis."""

    min_loss_usd: Decimal
    min_loss_rate: Decimal


class Scan(NamedTuple):
    """What a household's harvests of a day have to do with, but for the prices."""

    on: date
    holdings: Holdings
    reaches_any_lot: Mapping[str, bool]  # by account: does the broker sell the lots that it is told?
    averaged: Collection[tuple[str, str]]  # account_id, security_id: sold at average cost
    thresholds: Thresholds
    effects: Callable[[Iterable[Trade]], Mapping[str, Effect]]  # the pre-trade check
    limits: Limits
    year: Year
    unsafe: list[Concerned]  # what was perhaps bought unseen, and why
    unlinked: list[Concerned]  # what accounts could hold that nobody sees
    identical: Mapping[str, str]  # the cautious groups
    alike: Mapping[str, list[Replacement]]
    barred: Collection[str]  # groups that a loss bars from being bought
    young: Young
    do_not_trade: Collection[str]
    no_replacement: str  # why, in words
    economics: Economics | None = None  # what a loss is weighed by besides the thresholds; None: nothing

    @property
    def symbols(self) -> set[str]:
        """The securities whose prices it asks for: those held, and those that could be held instead."""
        held = {lots[0][0].security_id for lots in self.holdings.whole}
        return held | {one.security_id for name in held for one in self.alike.get(name, ())}


class Proposal(NamedTuple):
    """A harvest, or a refusal; its fields are what a row of core.proposals says."""

    candidate: Candidate
    instead: Replacement | None
    quantity: Decimal
    price_usd: Decimal
    effect: Effect | None
    saved_usd: Decimal
    left_usd: Decimal
    unlinked: str
    near_long: str  # what of it turns long-term soon, in words; empty: nothing
    verdict: Verdict | None = None

    @property
    def reason(self) -> str:
        """Why it is proposed, or why it is refused."""
        return self.candidate.refusal or _reason(self)


def proposals(scan: Scan, prices: Mapping[str, Decimal]) -> list[Proposal]:
    """The harvests at these prices, those first that weigh most, and what was refused.

    Rows     a holding without a price has none, and a security without one replaces nothing.
    """
    found = candidates(scan.holdings, prices, scan.reaches_any_lot, *scan.thresholds, scan.on, _worth_a_look(scan))
    if scan.economics and scan.economics.by == "benefit":
        large = candidates(scan.holdings, prices, scan.reaches_any_lot, *scan.economics.told_of, scan.on)
        found += left_alone(found, large, scan.year, scan.on, scan.economics)
    found.sort(key=lambda one: (-one.short_loss_usd, -one.loss_usd, one.account_id, one.security_id))
    trades = {one.name: [_sale(one, scan)] for one in found if not one.refusal}
    found, alone = _clear(found, scan, trades)
    found = _left_to_take(_in_part(found, scan), scan, alone)
    is_unseen = cache(lambda security_id: unseen(security_id, scan.unsafe, scan.identical))
    found = [one._replace(refusal=one.refusal or is_unseen(one.security_id)) for one in found]
    bought = _bought(found, scan, prices)
    said: dict[str, Verdict] = {}
    if scan.economics:
        found, bought, said = _weighed(found, scan, prices, scan.economics)
    found = [one if one.refusal or one.name in bought else one._replace(refusal=scan.no_replacement) for one in found]
    for one in found:
        if not one.refusal:
            trades[one.name].append(_purchase(one, *bought[one.name], scan.on))
    found, together = _clear(found, scan, trades)
    told = alone | together  # what was refused is as it was when it was refused
    return [one._replace(verdict=said.get(one.candidate.name)) for one in _saving(found, bought, told, scan)]


def _weighed(
    found: list[Candidate], scan: Scan, prices: Mapping[str, Decimal], economics: Economics
) -> tuple[list[Candidate], dict[str, tuple[Replacement, Decimal, Decimal]], dict[str, Verdict]]:
    """The losses that are worth taking, each with what is held instead.

    Two that could only replace each other cannot both be sold: the lesser one stays, and is what the other becomes.
    """
    possible = _bought(found, scan, prices, sold=())
    found = [one if one.refusal or one.name in possible else one._replace(refusal=scan.no_replacement) for one in found]
    while True:
        said = verdicts(found, scan.year, scan.on, economics)
        kept = [one._replace(refusal=said[one.name].refusal) if one.name in said else one for one in found]
        bought = _bought(kept, scan, prices)
        without = [one.name for one in kept if not one.refusal and one.name not in bought]
        if not without:
            return kept, bought, said
        found = [one._replace(refusal=scan.no_replacement) if one.name == without[-1] else one for one in found]


def _worth_a_look(scan: Scan) -> Callable[[Sequence[OpenLot], Decimal, Decimal], bool] | None:
    """By benefit every lot is weighed by itself; by the thresholds and by need they are enough."""
    economics = scan.economics
    if economics is None or economics.by != "benefit":
        return None
    return lambda slices, value, loss: is_worth_a_look(slices, value, loss, scan.year, scan.on, economics)


def row(one: Proposal) -> tuple:
    """A row of core.proposals."""
    found, effect = one.candidate, one.effect
    is_refused = bool(found.refusal)
    instead = None if is_refused else one.instead
    quantity, price = (Decimal(0), Decimal(0)) if instead is None else (one.quantity, one.price_usd)
    disallowed, permanent = (effect.disallowed, effect.permanent) if effect else (0, 0)
    return (
        found.account_id, found.security_id, found.quantity,
        ";".join(f"{lot}:{shares.normalize():f}" for lot, shares in found.lots), found.price_usd, found.basis_usd,
        found.value_usd, found.short_loss_usd, found.long_loss_usd, one.saved_usd, instead.security_id if instead else "",
        quantity, price, instead.correlation if instead else 0.0, instead.beta if instead else 0.0,
        instead.tracking_error if instead else 0.0, usd(disallowed), usd(permanent), one.unlinked,
        found.turns_long_on, one.verdict.ahead_usd if one.verdict else Decimal(0), is_refused, one.reason,
    )  # fmt: skip


def _in_part(found: list[Candidate], scan: Scan) -> list[Candidate]:
    """Refuse what would be washed if only a part of the day's sales were filled."""
    sales = [_sale(one, scan) for one in found if not one.refusal]
    reasons = beyond_in_part(sales, scan.young, scan.effects, scan.limits)
    return [one._replace(refusal=one.refusal or reasons.get(one.name, "")) for one in found]


def _left_to_take(found: list[Candidate], scan: Scan, told: Mapping[str, Effect]) -> list[Candidate]:
    """Refuse a loss of which an earlier purchase leaves too little: with buy_buy_sell a part may be washed."""
    least, rate = scan.thresholds
    checked = []
    for one in found:
        effect = told.get(one.name)
        if not one.refusal and effect and effect.disallowed and scan.limits.buy_buy_sell:
            left = one.loss_usd - usd(effect.disallowed)
            if left < least and left < rate * one.basis_usd:
                one = one._replace(refusal=f"an earlier purchase leaves ${left:,.2f} of it: {washed(effect)}")
        checked.append(one)
    return checked


def _clear(
    found: list[Candidate], scan: Scan, trades: Mapping[str, Iterable[Trade]]
) -> tuple[list[Candidate], dict[str, Effect]]:
    """Refuse what a batch would wash beyond the limits, until what is left passes together; and what each would do.

    A sale that is refused no longer takes up the purchases that would have washed it: they may wash another.
    """
    told: dict[str, Effect] = {}
    while True:
        batch = {one.name: trades[one.name] for one in found if not one.refusal}
        checked = scan.effects(trade for pair in batch.values() for trade in pair)
        told |= checked
        reasons = {
            name: reason
            for name, pair in batch.items()
            for trade in pair
            if (reason := beyond(checked[trade.trade_id], scan.limits))
        }
        if not reasons:
            return found, told
        found = [one._replace(refusal=one.refusal or reasons.get(one.name, "")) for one in found]


def _sale(one: Candidate, scan: Scan) -> Trade:
    """The proposed sale as the ledger would see it."""
    is_average = (one.account_id, one.security_id) in scan.averaged
    picks = () if is_average else tuple((lot_id, nano_shares(quantity)) for lot_id, quantity in one.lots)
    amount = trade_cents(one.quantity, one.price_usd, Decimal(0))
    return Trade(
        one.name, one.account_id, one.security_id, False, nano_shares(one.quantity), amount, scan.on, None, False, picks,
        "average" if is_average else "fifo",
    )  # fmt: skip


def _bought(
    found: list[Candidate], scan: Scan, prices: Mapping[str, Decimal], sold: Collection[str] | None = None
) -> dict[str, tuple[Replacement, Decimal, Decimal]]:
    """For each harvest what to hold instead, how many shares, and their price; none where nothing fits."""
    group = scan.identical  # another fund on the same index is no replacement
    if sold is None:
        sold = {group.get(one.security_id, one.security_id) for one in found if not one.refusal}

    @cache
    def best(security_id: str) -> Replacement | None:
        for other in scan.alike.get(security_id, ()):
            its = group.get(other.security_id, other.security_id)
            is_free = its not in sold and its not in scan.barred and other.security_id not in scan.do_not_trade
            if is_free and other.security_id in prices:
                return other
        return None

    bought = {}
    for one in found:
        if not one.refusal and (swap := best(one.security_id)) is not None:
            price = prices[swap.security_id]
            quantity = (one.value_usd * CASH_CUSHION / price).quantize(SHARE, ROUND_DOWN)
            bought[one.name] = swap, quantity, price
    return bought


def _purchase(one: Candidate, instead: Replacement, quantity: Decimal, price: Decimal, on: date) -> Trade:
    return Trade(
        f"instead of {one.name}", one.account_id, instead.security_id, True,
        nano_shares(quantity), trade_cents(quantity, price, Decimal(0)), on, None, False,
    )  # fmt: skip


def _saving(
    found: list[Candidate],
    bought: Mapping[str, tuple[Replacement, Decimal, Decimal]],
    told: Mapping[str, Effect],
    scan: Scan,
) -> list[Proposal]:
    """Each with the tax that it saves after those before it, and how much of its loss is left for later years."""
    short, long, rates = scan.year.short_usd, scan.year.long_usd, scan.year.rates
    without = tax_on(short, long, rates)
    unlinked = cache(lambda security_id: _unlinked(security_id, scan))
    made = []
    for one in found:
        effect = told.get(one.name)
        saved = left = Decimal(0)
        before = short, long
        if not one.refusal and effect:
            short -= one.short_loss_usd - usd(effect.disallowed_of("short"))
            long -= one.long_loss_usd - usd(effect.disallowed_of("long"))
            saved = cents(without - tax_on(short, long, rates)) - cents(without - tax_on(*before, rates))
            left = unused(short, long, rates) - unused(*before, rates)
        instead, quantity, price = bought.get(one.name, (None, Decimal(0), Decimal(0)))
        near = _near_long(one, Year(rates, *before), scan.on) if saved else ""
        made.append(Proposal(one, instead, quantity, price, effect, saved, left, unlinked(one.security_id), near))
    return made


def _near_long(one: Candidate, year: Year, on: date) -> str:
    """What the tax saved would be once lots that are short-term today, and will not be for long, have turned."""
    turning, first = one.turning_usd(on + TURNS_SOON), one.turns_long_on
    if not turning or first is None:
        return ""
    short, long = year.short_usd - one.short_loss_usd, year.long_usd - one.long_loss_usd
    without = tax_on(year.short_usd, year.long_usd, year.rates)
    now, then = (cents(without - tax_on(short + part, long - part, year.rates)) for part in (Decimal(0), turning))
    worth = f"as it stands it saves ${now:,.2f}, then ${then:,.2f}" if now != then else "this year that saves the same"
    return f"${turning:,.2f} of it is short-term and turns long-term from {first} on: {worth}"


def _unlinked(security_id: str, scan: Scan) -> str:
    """The accounts that nobody sees and that could hold what would wash it."""
    return "; ".join(_concerning(security_id, scan.unlinked, scan.identical))


def unseen(security_id: str, unsafe: Iterable[Concerned], identical: Mapping[str, str]) -> str:
    """Why a loss in a security may be washed by what nobody has seen; empty where everything is seen."""
    missing = _concerning(security_id, unsafe, identical)
    return f"a purchase that nobody has seen yet could wash it: {'; '.join(missing)}" if missing else ""


def _concerning(security_id: str, known: Iterable[Concerned], identical: Mapping[str, str]) -> list[str]:
    """What concerns a security, or one that counts as identical.

    >>> _concerning("GOOG", [((), "any"), (("GOOGL",), "alike"), (("HD",), "other")], {"GOOG": "abc", "GOOGL": "abc"})
    ['any', 'alike']
    """
    mine = identical.get(security_id, security_id)
    return [said for names, said in known if not names or mine in {identical.get(name, name) for name in names}]


def _reason(one: Proposal) -> str:
    found = one.candidate
    rate = found.loss_usd / found.basis_usd if found.basis_usd else Decimal(0)
    said = (
        f"a loss of ${found.loss_usd:,.2f} ({rate:.1%} of its basis) saves ${one.saved_usd:,.2f} of tax this year"
        + (f", ${one.left_usd:,.2f} of it left for later years" if one.left_usd else ""),
        one.verdict.words if one.verdict else "",
        one.near_long,
        within(one.effect) if one.effect else "",
        f"confidence lowered: not linked and could wash it unseen: {one.unlinked}" if one.unlinked else "",
    )
    return "; ".join(filter(None, said))
