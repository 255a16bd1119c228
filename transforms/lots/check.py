"""The pre-trade check: what would a batch do to the books? It books the batch and looks.

The problem. A harvest is spoiled by what anyone in the household bought in the last 30 days, by the rest of the
batch, and by what is known to come: a reinvested dividend, payroll, a vesting day, a plan, an order that is open.
Yet a reinvested third of a share must not veto a harvest of $10,000.

The choice. No second rule of wash sales is written here: the ledger, the whole batch and the purchases to come go
through `book` together, so the check cannot disagree with the books that the fills will make. What it finds is
measured in dollars of loss against limits. Three figures say what a wash sale costs, and they are never added up:
`tax` is what this year's return shows because of the trade; `delayed_tax` is the tax on the loss that moves into
another basis, owed now and given back when those shares are sold; `lost_tax` is that on the loss no basis gives
back. Rates are the marginal ones: an upper bound while a year's losses are larger than they can be used.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from transforms.exact import shares_text, usd_text
from transforms.harvest.benefit import Rates, tax_on
from transforms.lots.book import book
from transforms.lots.groups import families, securities_of, united
from transforms.lots.relief import trade_order
from transforms.lots.rules import Rules
from transforms.model import RULES, Action, Books, Event, Exercise, Trade


class Year(NamedTuple):
    """The household's rates, and what the tax year comes to so far, with what was carried into it. Units: USD, signed."""

    rates: Rates
    short_usd: Decimal
    long_usd: Decimal


class Limits(NamedTuple):
    """How much loss a trade may wash. Units: cents; washed_rate is a fraction of the loss.

    A trade passes that washes no more than `washed`, or than `washed_rate` of the loss, whichever is more, and loses
    no more than `permanent` for good. With `buy_buy_sell`, what a purchase washes that was made before the sale counts only
    where it is lost for good: the basis of what was bought keeps the rest.
    """

    washed: int
    washed_rate: Decimal
    permanent: int
    buy_buy_sell: bool = False


class Party(NamedTuple):
    """One of the two trades of a match. `state` is made, proposed, or coming: known, and not booked yet."""

    trade_id: str
    account_id: str
    security_id: str
    said: str  # what it did, in plain words
    state: str


class Match(NamedTuple):
    """A loss and the purchase that replaces it. Units: nano-shares sold, cents, days from the sale to the purchase."""

    sale: Party
    purchase: Party
    quantity: int
    disallowed: int
    permanent: int
    days: int
    rule: str  # a key of RULES
    term: str  # of the loss

    @property
    def is_earlier(self) -> bool:
        """Was it bought before the sale, and is nothing of the loss lost for good?"""
        return self.purchase.state == "made" and self.days < 0 and not self.permanent

    @property
    def citation(self) -> str:
        return RULES[self.rule]

    def words(self, trade_id: str) -> str:
        """Why, from the side of one of the two: the other trade, the days between, and the law."""
        is_sale = trade_id == self.sale.trade_id
        other, days = (self.purchase, self.days) if is_sale else (self.sale, -self.days)
        apart = "day" if abs(days) == 1 else "days"
        when = f"{abs(days)} {apart} {'after' if days > 0 else 'before'}" if days else "the same day"
        return f"{other.said}, {when} ({self.citation})"


class Effect(NamedTuple):
    """What one proposed trade would do. Units: cents; gains are signed, `loss`, disallowed and permanent positive.

    `loss` is what is measured against: of a sale its losses before wash sales, of a purchase those it would wash.
    """

    trade_id: str
    short_gain: int  # on the return, after wash sales
    long_gain: int
    loss: int
    tax: int
    matches: tuple[Match, ...]
    doubtful: tuple[Match, ...]  # that there would be if funds on the same index were substantially identical
    delayed_tax: int = 0
    lost_tax: int = 0
    unbooked: str = ""  # why the books could not take it

    @property
    def disallowed(self) -> int:
        return sum(match.disallowed for match in self.matches)

    @property
    def permanent(self) -> int:
        return sum(match.permanent for match in self.matches)

    def disallowed_of(self, term: str) -> int:
        return sum(match.disallowed for match in self.matches if match.term == term)


def effects(
    events: Iterable[Event],
    proposed: Iterable[Trade],
    coming: Iterable[Trade],
    rules: Rules,
    year: Year,
    identical: Mapping[str, str] | None = None,
    cautious: Mapping[str, str] | None = None,
) -> dict[str, Effect]:
    """What every trade of a batch would do, the whole batch together; `coming` are purchases known and not booked yet.

    Law      as in `book`: a proposed sale washed by any purchase of the household, a proposed purchase that washes any
             loss of the household, other trades of the batch and what is coming included.
    Units    nano-shares and cents, in and out.
    Omits    purchases that nobody knows of yet; a lot whose parts are of both terms (its wash counts as the first's).

    `identical` are the groups of the books; `cautious` the same with the funds on one index united, to say what would
    be washed if they were identical.

    >>> from datetime import date
    >>> def trade(name, is_buy, usd, month, day, is_deferred=False):
    ...     on = date(2025, month, day)
    ...     return Trade(name, "ira" if is_deferred else "joint", "XYZ", is_buy, 100 * 10**9, usd * 100, on, None, is_deferred)
    >>> year = Year(Rates(Decimal("0.29"), Decimal("0.20"), Decimal("0.29"), Decimal(3000)), Decimal(0), Decimal(0))
    >>> held, sale, plan = trade("A", True, 1000, 1, 6), trade("S", False, 750, 3, 10), trade("P", True, 800, 4, 9, True)
    >>> clean, washed = (effects([held], [sale], known, Rules(), year)["S"] for known in ([], [plan]))
    >>> (clean.short_gain, clean.tax), (washed.short_gain, washed.permanent, washed.lost_tax)
    ((-25000, -7250), (0, 25000, 7250))
    """
    asked = {trade.trade_id: trade for trade in proposed}
    known = list(coming)
    state = dict.fromkeys((trade.trade_id for trade in known), "coming") | dict.fromkeys(asked, "proposed")
    same = identical or {}
    wide = same if cautious is None else cautious
    near = _near(sorted([*events, *known, *asked.values()], key=trade_order), asked, wide)
    books = book(near, rules, same)
    by_id = {event.trade_id: event for event in near}
    found = matches_of(books, by_id, asked, state)
    doubtful: list[Match] = []
    named = {security for event in near for security in securities_of(event)}
    if len({(same.get(s, s), wide.get(s, s)) for s in named}) > len({wide.get(s, s) for s in named}):
        groups = united(near, same)  # some of them would be one security
        doubtful = [
            match
            for match in matches_of(book(near, rules, wide), by_id, asked, state)
            if len({group_of(by_id[party.trade_id], groups) for party in (match.sale, match.purchase)}) == 2
        ]
    refused = {row.trade_id: row.reason for row in books.refused}
    return {
        name: effect_of(name, books, of_trade(name, found), of_trade(name, doubtful), year, refused.get(name, ""))
        for name in asked
    }


def beyond(effect: Effect, limits: Limits) -> str:
    """Why a trade may not be made: what it would wash beyond the limits, and because of what; empty within them.

    >>> sale, plan = Party("S", "joint", "XYZ", "", "proposed"), Party("P", "ira", "XYZ", "ira buys 1 XYZ", "coming")
    >>> match = Match(sale, plan, 10**9, 3300, 3300, 9, "deferred", "short")
    >>> effect = Effect("S", -996700, 0, 1000000, -289043, (match,), (), 0, 957)
    >>> beyond(effect, Limits(5000, Decimal("0.02"), 5000))
    ''
    >>> beyond(effect, Limits(5000, Decimal("0.02"), 0))[:79]
    '$33.00 of loss would be disallowed, $33.00 of it for good ($9.57 of tax lost): '
    """
    if effect.unbooked:
        return f"the books could not take it: {effect.unbooked}"
    allowed = max(limits.washed, int(limits.washed_rate * effect.loss))
    for matches, if_ in ((effect.matches, ""), (effect.doubtful, _DOUBT)):
        washed = sum(match.disallowed for match in matches if not (limits.buy_buy_sell and match.is_earlier))
        lost = sum(match.permanent for match in matches)
        over = [f"the limit is {dollars(allowed)}"] if washed > allowed else []
        over += [f"at most {dollars(limits.permanent)} may be lost for good"] if lost > limits.permanent else []
        if over:
            return f"{_said(effect, matches, if_)}; {' and '.join(over)}"
    return ""


def within(effect: Effect) -> str:
    """What a trade that passes washes all the same; empty when nothing."""
    return f"{washed(effect)}; the limits let it pass" if effect.disallowed else ""


def washed(effect: Effect) -> str:
    """What a trade washes, and because of what."""
    return _said(effect, effect.matches, "")


def dollars(cents: int) -> str:
    """
    >>> dollars(123456), dollars(-7)
    ('$1,234.56', '-$0.07')
    """
    whole, rest = usd_text(abs(cents)).split(".")
    return f"{'-' if cents < 0 else ''}${int(whole):,}.{rest}"


_DOUBT = " if funds on the same index count as substantially identical (policy same_index_washes)"


def _said(effect: Effect, matches: Sequence[Match], if_: str) -> str:
    washed, lost = sum(match.disallowed for match in matches), sum(match.permanent for match in matches)
    for_good = f", {dollars(lost)} of it for good" if lost else ""
    costs = [
        f"{dollars(tax)} of tax {what}"
        for tax, what in ((effect.lost_tax, "lost"), (effect.delayed_tax, "saved later instead of now"))
        if tax and not if_
    ]
    cost = f" ({', '.join(costs)})" if costs else ""
    why = "; ".join(dict.fromkeys(match.words(effect.trade_id) for match in matches))
    return f"{dollars(washed)} of loss would be disallowed{if_}{for_good}{cost}: {why}"


def _near(events: list[Event], asked: Mapping[str, Trade], identical: Mapping[str, str]) -> list[Event]:
    """The events of every family of securities that a proposed trade has to do with."""
    return [
        event
        for family in families(events, united(events, identical))
        if any(event.trade_id in asked for event in family)
        for event in family
    ]


def matches_of(
    books: Books, by_id: Mapping[str, Event], asked: Mapping[str, Trade], state: Mapping[str, str]
) -> list[Match]:
    """The wash sales that a proposed trade takes part in; `by_id` are the events that were booked."""
    if not books.wash_sales:
        return []
    terms = {(row.trade_id, row.lot_id): row.term for row in reversed(books.disposals)}
    terms |= {(row.trade_id, row.lot_id): row.term for row in reversed(books.disposals) if row.disallowed}

    def party(trade_id: str) -> Party:
        event = by_id[trade_id]
        return _party(event, state.get(trade_id, "made"))

    return [
        Match(
            party(row.trade_id), party(row.replacement_lot_id), row.quantity, row.disallowed, row.permanent, row.days,
            row.rule, terms[row.trade_id, row.sold_lot_id],
        )
        for row in books.wash_sales
        if row.trade_id in asked or row.replacement_lot_id in asked
    ]  # fmt: skip


def _party(event: Event, state: str) -> Party:
    if isinstance(event, Action):
        said = f"{event.kind} of {event.security_id} on {event.traded_on}"
        return Party(event.trade_id, "", event.security_id, said, state)
    quantity, security = event.quantity, event.security_id
    if isinstance(event, Exercise):
        quantity, security = event.shares, event.option.underlying_id
    is_buy = isinstance(event, Trade | Exercise) and event.is_buy
    did = {
        "made": "bought" if is_buy else "sold",
        "proposed": "would buy" if is_buy else "would sell",
        "coming": "buys",
    }[state]
    note = f" ({event.trade_id}, known and not booked yet)" if state == "coming" else ""
    said = f"{event.account_id} {did} {shares_text(quantity)} {security} on {event.traded_on}{note}"
    return Party(event.trade_id, event.account_id, security, said, state)


def group_of(event: Event, groups: Mapping[str, str]) -> str:
    is_option = isinstance(event, Trade | Exercise) and event.option is not None
    security = event.option.underlying_id if is_option else event.security_id  # type: ignore[union-attr]
    return groups.get(security, security)


def of_trade(trade_id: str, matches: Iterable[Match]) -> tuple[Match, ...]:
    return tuple(match for match in matches if trade_id in (match.sale.trade_id, match.purchase.trade_id))


def effect_of(
    name: str, books: Books, matches: tuple[Match, ...], doubtful: tuple[Match, ...], year: Year, unbooked: str
) -> Effect:
    rows = [row for row in books.disposals if row.trade_id == name]
    short, long = (sum(row.gain for row in rows if row.term == term) for term in ("short", "long"))
    spoiled = {match.sale.trade_id for match in (*matches, *doubtful)} | {name}
    loss = sum(max(0, row.basis - row.proceeds) for row in books.disposals if row.trade_id in spoiled)
    rate = {"short": year.rates.short, "long": year.rates.long}
    tax = tax_on(
        year.short_usd + Decimal(short).scaleb(-2), year.long_usd + Decimal(long).scaleb(-2), year.rates
    ) - tax_on(year.short_usd, year.long_usd, year.rates)
    lost = sum((match.permanent * rate[match.term] for match in matches), Decimal(0))
    delayed = sum(((match.disallowed - match.permanent) * rate[match.term] for match in matches), Decimal(0))
    return Effect(
        name, short, long, loss, _whole(tax * 100), matches, doubtful, _whole(delayed), _whole(lost), unbooked
    )


def _whole(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))
