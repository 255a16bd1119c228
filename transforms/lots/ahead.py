"""The pre-trade check, asked again and again: what lies before the batch's day is booked once.

The problem. `effects` books all that a batch has to do with from its first purchase on. A scan of live prices asks
it every few minutes, for hundreds of sales at once, and the years before are the same every time.

The choice. Each family of securities is booked up to the day of the batch and kept. A question borrows what the
walk has come to, copies the little that a few more trades can change, and walks on: the same relief, the same walk.
Only a family of plain purchases and sales is continued so; one in which anything else happened (a split, a move, an
option, average cost) goes through `effects` whole. A property test holds the two equal on random households.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from transforms.lots.book import Key, Loss, Walk, leaves_of
from transforms.lots.check import Effect, Match, Year, effect_of, effects, group_of, matches_of, of_trade
from transforms.lots.groups import families, securities_of, united
from transforms.lots.held import Held, Slice
from transforms.lots.relief import Relief, ReliefWalk, trade_order
from transforms.lots.rules import Rules
from transforms.model import Books, Event, Trade


@dataclass(slots=True, eq=False)
class _Family:
    """The events of a family, what was booked of it before the day, and what was said of the batch asked last."""

    events: list[Event] = field(default_factory=list)
    coming: list[Trade] = field(default_factory=list)
    groups: set[str] = field(
        default_factory=set
    )  # of the books: more than one where only the cautious view unites them
    is_plain: bool = True
    relief: ReliefWalk | None = None
    walks: dict[bool, Walk] = field(default_factory=dict)  # by view: is it the cautious one?
    asked: tuple[Trade, ...] = ()
    said: dict[str, Effect] = field(default_factory=dict)


class Ahead:
    """A household booked up to a day, to be asked what batches from that day on would do."""

    def __init__(
        self,
        events: Iterable[Event],
        coming: Iterable[Trade],
        rules: Rules,
        year: Year,
        identical: Mapping[str, str],
        cautious: Mapping[str, str],
        on: date,
    ):
        self.rules, self.year, self.on = rules, year, on
        self.same, self.wide = identical, cautious
        known = list(coming)
        is_coming = {trade.trade_id for trade in known}
        ordered = sorted([*events, *known], key=self._order)
        self._groups = united(ordered, cautious)
        self._families: dict[str, _Family] = {}  # by group
        for events_of in families(ordered, self._groups):
            family = _Family(is_plain=all(map(_is_plain, events_of)))
            for event in events_of:
                (family.coming if event.trade_id in is_coming else family.events).append(event)  # type: ignore[arg-type]
                for security in securities_of(event):
                    self._families[self._groups.get(security, security)] = family
                    family.groups.add(identical.get(security, security))

    def prepare(self) -> None:
        """Book every family now, so that no question pays for it."""
        for family in self._families.values():
            if family.is_plain:
                for is_wide in (False, True)[: 1 + (len(family.groups) > 1)]:
                    self._walk(family, is_wide)

    def effects(self, proposed: Iterable[Trade]) -> dict[str, Effect]:
        """What every trade of a batch would do, the whole batch together: `check.effects`.

        Law      as there.
        Units    nano-shares and cents, in and out.
        Omits    as there.

        >>> from decimal import Decimal
        >>> from transforms.harvest.benefit import Rates
        >>> def trade(name, is_buy, usd, month, day):
        ...     return Trade(name, "joint", "XYZ", is_buy, 100 * 10**9, usd * 100, date(2025, month, day), None, False)
        >>> year = Year(Rates(*map(Decimal, ("0.29", "0.20", "0.29", "3000"))), Decimal(0), Decimal(0))
        >>> held, again = trade("A", True, 1000, 1, 6), trade("B", True, 800, 4, 9)
        >>> ahead = Ahead([held], [again], Rules(), year, {}, {}, date(2025, 3, 10))
        >>> [ahead.effects([trade("S", False, 750, 3, day)])["S"].disallowed for day in (9 + 1, 9 + 2)]
        [25000, 25000]
        """
        batch: dict[int, tuple[_Family, list[Trade]]] = {}
        asked = list(proposed)
        for trade in asked:
            group = self._groups.get(trade.security_id, trade.security_id)
            family = self._families.setdefault(group, _Family())
            batch.setdefault(id(family), (family, []))[1].append(trade)
        said: dict[str, Effect] = {}
        for family, trades in batch.values():
            if family.asked != tuple(trades):
                family.said = self._asked(family, trades)
                family.asked = tuple(trades)
            said |= family.said
        return {trade.trade_id: said[trade.trade_id] for trade in asked}

    def _asked(self, family: _Family, trades: list[Trade]) -> dict[str, Effect]:
        if not family.is_plain or any(not _is_plain(trade) or trade.traded_on < self.on for trade in trades):
            return effects(family.events, trades, family.coming, self.rules, self.year, self.same, self.wide)
        later = [event for event in (*family.events, *family.coming) if event.traded_on >= self.on]
        tail: list[Trade] = sorted([*later, *trades], key=self._order)  # type: ignore[list-item]
        relief = self._relief(family).continued(tail)
        for trade in tail:
            relief.trade(trade)
        tail = [trade for trade in tail if trade.trade_id not in relief.said.skipped]
        books = self._walked_on(self._walk(family, False), tail, relief.said)
        asked = {trade.trade_id: trade for trade in trades}
        by_id: dict[str, Event] = {}
        if books.wash_sales:
            by_id = {event.trade_id: event for event in (*family.events, *family.coming, *trades)}
        state = dict.fromkeys((trade.trade_id for trade in family.coming), "coming") | dict.fromkeys(asked, "proposed")
        found = matches_of(books, by_id, asked, state)
        doubtful = self._doubtful(family, tail, relief.said, asked, state)
        refused = {row.trade_id: row.reason for row in relief.said.refused}
        return {
            name: effect_of(name, books, of_trade(name, found), of_trade(name, doubtful), self.year, refused.get(name, ""))
            for name in asked
        }  # fmt: skip

    def _doubtful(
        self, family: _Family, tail: Sequence[Trade], said: Relief, asked: Mapping[str, Trade], state: Mapping[str, str]
    ) -> list[Match]:
        """The matches between two groups of the books that only the cautious view takes for one."""
        if len(family.groups | {group_of(trade, self.same) for trade in tail}) == 1:
            return []
        books = self._walked_on(self._walk(family, True), tail, said)
        by_id = {event.trade_id: event for event in (*family.events, *family.coming, *tail)}
        return [
            match
            for match in matches_of(books, by_id, asked, state)
            if len({group_of(by_id[party.trade_id], self.same) for party in (match.sale, match.purchase)}) == 2
        ]

    def _relief(self, family: _Family) -> ReliefWalk:
        if family.relief is None:
            before = self._before(family)
            family.relief = ReliefWalk(before, {}, self.rules.window_days)
            for trade in before:
                family.relief.trade(trade)
        return family.relief

    def _walk(self, family: _Family, is_wide: bool) -> Walk:
        """The family booked up to the day, in one of the two views."""
        if is_wide not in family.walks:
            said = self._relief(family).said
            happened = [trade for trade in self._before(family) if trade.trade_id not in said.skipped]
            groups = self.wide if is_wide else self.same
            walk = Walk(said, self.rules, groups, Books([], [], [], []), leaves_of(happened, said))
            for trade in happened:
                walk.step(trade)
            family.walks[is_wide] = walk
        return family.walks[is_wide]

    def _before(self, family: _Family) -> list[Trade]:
        before = [event for event in (*family.events, *family.coming) if event.traded_on < self.on]
        return sorted(before, key=self._order)  # type: ignore[arg-type]

    def _order(self, event: Event) -> tuple:
        return trade_order(event, self.rules.same_time_taxable_first)

    def _walked_on(self, walk: Walk, tail: Sequence[Trade], said: Relief) -> Books:
        """The books of the tail and of the sales within the window before it; the walk stays as it was."""
        since = self.on - timedelta(days=self.rules.window_days)
        first = len(walk.books.disposals)
        while first and walk.books.disposals[first - 1].sold_on >= since:
            first -= 1
        books, held = Books(walk.books.disposals[first:], [], [], []), _Lent(walk.held)
        bought = deque(
            held[lot.account_id, lot.security_id, lot.is_short, lot.lot_id]
            for lot in walk.bought
            if lot.acquired_on >= since
        )
        waiting = deque(_waits(walk, first, since))
        made = Walk(said, self.rules, walk.groups, books, leaves_of(tail, said), held, bought, waiting)
        for trade in tail:
            made.step(trade)
        return books


def _is_plain(event: Event) -> bool:
    return isinstance(event, Trade) and event.option is None and not event.is_short and event.method != "average"


class _Lent(dict[Key, Held]):
    """Lots of another walk, each copied when it is first asked for."""

    def __init__(self, owner: Mapping[Key, Held]):
        super().__init__()
        self._owner = owner

    def __missing__(self, key: Key) -> Held:
        made = self[key] = _copied(self._owner[key])
        return made


def _waits(walk: Walk, first: int, since: date) -> Iterator[Loss]:
    for loss in walk.waiting:
        if walk.books.disposals[loss.row].sold_on >= since:
            yield Loss(
                loss.row - first, loss.group, loss.security_id, loss.loss, loss.held_days, loss.sold, loss.per, loss.replaced
            )  # fmt: skip


def _copied(lot: Held) -> Held:
    return Held(
        lot.lot_id, lot.account_id, lot.security_id, lot.is_deferred, lot.is_short, lot.acquired_on, lot.order,
        _alike(lot.rest), [_alike(part) for part in lot.matched], lot.unmatched, lot.replaces, lot.per, lot.rule,
    )  # fmt: skip


def _alike(part: Slice) -> Slice:
    return Slice(part.size, part.amount, part.holding_since, part.gone, part.held_on, part.loss_amount, part.gift_on)
