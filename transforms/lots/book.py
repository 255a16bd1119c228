"""Lots, disposals and wash sales from what happened in the accounts of a household.

The problem. Four accounts, two people, one law: a loss is disallowed when anyone in the household buys the
security back within 30 days before or after, and the disallowed dollars move into the very shares that replaced
the sold ones, with their holding period. Those shares may be sold at a loss themselves, and so on.

The choice. One walk through time for each family of securities that have to do with one another. A purchase
opens a lot and first serves the losses of the last 30 days that still wait, earliest first; a sale takes its
slices, and each loss looks for purchases of the last 30 days that are still there, then waits for later ones.
Walking in time is the same as taking the losses one by one and looking both ways (Reg. 1.1091-1(b)): an earlier
loss always reaches a purchase first. What a company does reshapes the lots and the losses that wait (actions.py).

Which lots a sale takes is settled beforehand (relief.py); the slices of a lot are in held.py; large files of
purchases and sales alone go through the same walk compiled (compiled.py).
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction

from transforms.exact import apportioned, half_up
from transforms.lots.actions import reshape
from transforms.lots.groups import families, united
from transforms.lots.held import Held, Slice, term_of
from transforms.lots.relief import Relief, Taken, relieved, trade_order
from transforms.lots.rules import Rules
from transforms.lots.term import tacked
from transforms.model import Action, Books, Disposal, Event, Exercise, Move, Trade, WashSale

Key = tuple[str, str, bool, str]  # account_id, security_id, is it owed, lot_id


def book(
    events: Iterable[Event], rules: Rules, identical: Mapping[str, str] | None = None, walk: "type[Walk] | None" = None
) -> Books:
    """Book a household's events; `walk` is a narrower way to look at them (broker_view.py).

    Law      26 USC 1012, 1015, 1091, 1222, 1223, 1233, 1234, 301(c), 354-356, 358, 1041; Treas. Reg. 1.1012-1(c),
             1.1091-1, 1.1091-2; Rev. Rul. 2008-5, 85-87.
    Window   `rules.window_days` before to after the sale, ends included (30: 26 USC 1091(a)).
    Order    events in `trade_order`; inside a sale the lots by acquisition; replacements in trade order. A share
             replaces once. A taxable purchase before the sale counts for the shares still held at the end of
             that day, a deferred one in full; the sold lot itself never.
    Units    nano-shares and cents, in and out.
    Omits    what `relieved` refuses; straddles (26 USC 1092: a covered call is taken as a qualified one that suspends
             nothing); section 1256 contracts; the rewriting of a written option closed at a loss (unsettled, never
             matched); a loss on shares before a merger and a purchase of their successor's after it (unless `identical`);
             losses between related persons (26 USC 267); the separate return of a corporation.

    `identical` maps a security to its group of substantially identical ones; a security without one is its own.

    >>> def trade(name, is_buy, usd, month, day):
    ...     on = date(2025, month, day)
    ...     return Trade(name, "broker", "XYZ", is_buy, 100 * 10**9, usd * 100, on, None, False)
    >>> books = book([trade("A", True, 1000, 1, 6), trade("S", False, 750, 3, 10), trade("B", True, 800, 3, 25)], Rules())
    >>> [(d.disallowed, d.gain) for d in books.disposals], [(lot.lot_id, lot.basis) for lot in books.lots]
    ([(25000, 0)], [('B', 105000)])
    """
    ordered = sorted(events, key=lambda event: trade_order(event, rules.same_time_taxable_first))
    groups = united(ordered, identical or {})
    relief = relieved(ordered, groups, rules.window_days)
    books = Books([], [], [], relief.refused)
    happened = (event for event in ordered if event.trade_id not in relief.skipped)
    for family in families(happened, groups):
        made = (walk or Walk)(relief, rules, groups, books, leaves_of(family, relief))
        for event in family:
            made.step(event)
        books.lots.extend(row for held in made.held.values() for row in held.rows())
    books.disposals.sort(key=lambda row: row.sold_on)
    books.lots.sort(key=lambda lot: (lot.account_id, lot.security_id, lot.acquired_on, lot.lot_id.encode()))
    return books


@dataclass(slots=True)
class Loss:
    """A slice sold at a loss that still looks for its replacements."""

    row: int  # of books.disposals
    group: str
    security_id: str
    loss: int
    held_days: timedelta
    sold: Held
    per: Fraction  # shares of today that one of the sold stands for
    replaced: int = 0


@dataclass(slots=True)
class Walk:
    relief: Relief
    rules: Rules
    groups: Mapping[str, str]
    books: Books
    leaves: dict[tuple[Key, date], int]  # shares of a lot that are sold that day and have not been yet
    held: dict[Key, Held] = field(default_factory=dict)
    bought: deque[Held] = field(default_factory=deque)  # of the last 30 days, with shares that may replace
    waiting: deque[Loss] = field(default_factory=deque)

    def step(self, event: Event) -> None:
        window = timedelta(days=self.rules.window_days)
        while self.waiting and event.traded_on - self.books.disposals[self.waiting[0].row].sold_on > window:
            self.waiting.popleft()
        while self.bought and event.traded_on - self.bought[0].acquired_on > window:
            self.bought.popleft()
        if isinstance(event, Trade):
            if event.opens:
                self.acquire(event)
            else:
                self.dispose(event, self.relief.takes[event.trade_id])
        elif isinstance(event, Move):
            self.move(event)
        elif isinstance(event, Exercise):
            self.exercise(event)
        else:
            reshape(event, self.held, self.waiting, self.groups, self.books)

    def acquire(self, trade: Trade) -> None:
        since = trade.holding_since or trade.traded_on
        rest = Slice(trade.quantity, trade.amount, since, 0, None, trade.loss_amount, trade.traded_on)
        held = Held(
            trade.trade_id, trade.account_id, trade.security_id, trade.is_deferred, trade.is_short, trade.traded_on,
            trade_order(trade, self.rules.same_time_taxable_first), rest, unmatched=trade.quantity,
        )  # fmt: skip
        held.replaces, held.rule = self._replaces(trade)
        if trade.option is not None:
            held.per = trade.option.per
        self._arrive(held)

    def _replaces(self, trade: Trade) -> tuple[frozenset[str], str]:
        """The groups whose losses a purchase replaces, and by which rule."""
        group = self.groups.get(trade.security_id, trade.security_id)
        if not trade.replaces:
            return frozenset(), ""
        if trade.option is None:
            return (
                (frozenset((f"short {group}",)), "short sale") if trade.is_short else (frozenset((group,)), "purchase")
            )
        underlying = self.groups.get(trade.option.underlying_id, trade.option.underlying_id)
        if trade.is_short:
            return (frozenset((underlying,)), "written put") if trade.option.is_deep else (frozenset(), "")
        return frozenset((group, underlying) if trade.option.right == "call" else (group,)), "option"

    def _arrive(self, held: Held) -> None:
        """New shares first serve the losses that wait."""
        self.held[held.account_id, held.security_id, held.is_short, held.lot_id] = held
        if not held.replaces:
            return
        self.bought.append(held)
        for loss in self.waiting:
            if not held.unmatched:
                break
            self._match(loss, held, held.unmatched if held.is_deferred else held.rest.remains, None)
        self.waiting = deque(loss for loss in self.waiting if self._is_open(loss))

    def dispose(self, trade: Trade, takes: list[Taken]) -> None:
        """Sell or cover: a disposal for each slice; the losses among them, by order of acquisition, are matched."""
        on = trade.traded_on
        lots = [(self.held[trade.account_id, trade.security_id, trade.is_short, lot], count) for lot, count in takes]
        for held, quantity in lots:
            self.leaves[self._key(held), on] -= quantity
        if trade.is_deferred:
            for held, quantity in lots:
                held.rest.take(quantity)
            return
        if trade.method == "average" and not trade.picks:
            self._average(trade.account_id, trade.security_id)
        losses = []
        for row, held in self._rows(trade, lots):
            if row.proceeds < row.basis and self._may_wash(trade):
                group = self.groups.get(trade.security_id, trade.security_id)
                losses.append(
                    Loss(
                        len(self.books.disposals), f"short {group}" if trade.is_short else group, trade.security_id,
                        row.basis - row.proceeds, on - row.holding_since, held, Fraction(held.per),
                    )
                )  # fmt: skip
            self.books.disposals.append(row)
        for held, _ in lots:
            held.forget(on)
        for loss in losses:
            for held in self.bought:
                if not self._is_open(loss):
                    break
                if loss.group in held.replaces and (self.rules.older_lot_replaces or held.order > loss.sold.order):
                    leaving = self.leaves[self._key(held), on]
                    self._match(loss, held, held.free(leaving, on, self.rules.presale_held_to_day_end), on)
            if self._is_open(loss):
                self.waiting.append(loss)
        if losses:
            self.bought = deque(
                held for held in self.bought if (held.unmatched if held.is_deferred else held.rest.remains)
            )

    def _rows(self, trade: Trade, lots: list[tuple[Held, int]]) -> Iterator[tuple[Disposal, Held]]:
        passed = 0
        for held, quantity in lots:
            for part, count, cents in held.take(quantity):
                money = apportioned(trade.amount, passed, passed + count, trade.quantity)
                passed += count
                if held.is_short:
                    proceeds, basis, acquired, since = cents, money, trade.traded_on, trade.traded_on
                else:
                    basis, since = part.basis_for(count, money, cents)
                    proceeds, acquired = money, held.acquired_on
                yield Disposal(
                    trade.trade_id, held.lot_id, trade.account_id, trade.security_id, count, acquired, since,
                    trade.traded_on, proceeds, basis, 0, 0, term_of(held, since, trade.traded_on),
                ), held  # fmt: skip

    def _may_wash(self, trade: Trade) -> bool:
        if trade.is_digital:
            return self.rules.digital_assets_from is not None and trade.traded_on >= self.rules.digital_assets_from
        return trade.option is None or not trade.is_short

    def _is_open(self, loss: Loss) -> bool:
        return loss.replaced < self.books.disposals[loss.row].quantity

    def _match(self, loss: Loss, held: Held, free: int, held_on: date | None) -> None:
        """Let shares of `held` replace what is left of the loss; `held_on` is the day at whose end they must be held."""
        sold = self.books.disposals[loss.row]
        if free <= 0 or loss.group not in held.replaces or held.lot_id == sold.lot_id:
            return
        missing = sold.quantity - loss.replaced
        if loss.per == held.per:
            count = replacing = min(missing, free)
        else:
            ratio = loss.per / held.per
            count, replacing = missing, half_up(missing * ratio.numerator, ratio.denominator)
            if replacing > free:
                count, replacing = min(missing, half_up(free * ratio.denominator, ratio.numerator)), free
            if not count or not replacing:
                return
        disallowed = apportioned(loss.loss, loss.replaced, loss.replaced + count, sold.quantity)
        loss.replaced += count
        held.unmatched -= replacing
        permanent = disallowed if held.is_deferred else 0
        if not held.is_deferred:
            amount = held.rest.take(replacing) + (-disallowed if held.is_short else disallowed)
            held.matched.append(Slice(replacing, amount, tacked(held.acquired_on, loss.held_days), held_on=held_on))
        self.books.disposals[loss.row] = sold._replace(
            disallowed=sold.disallowed + disallowed, permanent=sold.permanent + permanent
        )
        self.books.wash_sales.append(
            WashSale(
                sold.trade_id, sold.lot_id, held.lot_id, count, disallowed, permanent,
                (held.acquired_on - sold.sold_on).days, "deferred" if held.is_deferred else self._rule(loss, held), replacing,
            )
        )  # fmt: skip

    def _rule(self, loss: Loss, held: Held) -> str:
        """An option that replaces the same option was purchased; one that replaces shares is an option to acquire them."""
        return "purchase" if held.rule == "option" and loss.security_id == held.security_id else held.rule

    def move(self, move: Move) -> None:
        """Lots travel with basis and holding period; a gift leaves; a distribution in kind starts anew at its value."""
        arrived = Slice(move.quantity, move.amount, move.traded_on)
        for lot_id, quantity in self.relief.takes[move.trade_id]:
            held = self.held[move.account_id, move.security_id, False, lot_id]
            parts = held.split_off(quantity)
            held.forget(move.traded_on)
            if move.to_account_id is None:
                self.leaves[self._key(held), move.traded_on] -= quantity
            elif move.is_deferred == move.to_is_deferred:
                there = self._there(held, move)
                for part, is_matched in parts:
                    there.add(part, is_matched=is_matched)
        if move.to_account_id is not None and move.is_deferred and not move.to_is_deferred:
            order = trade_order(move, self.rules.same_time_taxable_first)
            self.held[move.to_account_id, move.security_id, False, move.trade_id] = Held(
                move.trade_id, move.to_account_id, move.security_id, False, False, move.traded_on, order, arrived
            )

    def _there(self, held: Held, move: Move) -> Held:
        """The same lot in the other account. What it may still replace goes with the shares; of a deferred one it stays."""
        assert move.to_account_id is not None
        key = move.to_account_id, held.security_id, False, held.lot_id
        if key not in self.held:
            there = Held(
                held.lot_id, move.to_account_id, held.security_id, held.is_deferred, False, held.acquired_on, held.order,
                Slice(0, 0, held.rest.holding_since), per=held.per, rule=held.rule,
            )  # fmt: skip
            if not held.is_deferred:
                there.replaces = held.replaces
            self.held[key] = there
            if held in self.bought and there.replaces:
                self.bought.insert(self.bought.index(held) + 1, there)
        elif self.held[key].replaces and held in self.bought and self.held[key] not in self.bought:
            self.bought.insert(self.bought.index(held) + 1, self.held[key])
        return self.held[key]

    def exercise(self, exercise: Exercise) -> None:
        """The option's own amount goes into the basis or the proceeds of the shares."""
        terms, on = exercise.option, exercise.traded_on
        stock = Held(
            exercise.trade_id, exercise.account_id, terms.underlying_id, exercise.is_deferred, False, on,
            trade_order(exercise, self.rules.same_time_taxable_first), Slice(0, 0, on),
        )  # fmt: skip
        sign = -1 if exercise.is_short else 1
        passed = premium = 0
        for lot_id, quantity in self.relief.takes[exercise.trade_id]:
            held = self.held[exercise.account_id, exercise.security_id, exercise.is_short, lot_id]
            self.leaves[self._key(held), on] -= quantity
            for part, count, cents in held.take(quantity):
                strike = apportioned(exercise.amount, passed, passed + count, exercise.quantity)
                passed += count
                premium += cents
                # shares that a loss was matched with carry its period on (26 USC 1223(3)) and do not replace again
                is_matched = part is not held.rest
                since = tacked(on, held.acquired_on - part.holding_since) if is_matched else on
                stock.add(Slice(count * terms.per, strike + sign * cents, since), is_matched=is_matched)
            held.forget(on)
        if exercise.is_buy:
            stock.replaces = frozenset((self.groups.get(terms.underlying_id, terms.underlying_id),))
            stock.unmatched = stock.rest.remains
            self._arrive(stock)
            return
        sale = Trade(
            exercise.trade_id, exercise.account_id, terms.underlying_id, False, exercise.shares,
            exercise.amount - sign * premium, on, exercise.traded_at, exercise.is_deferred, exercise.picks,
        )  # fmt: skip
        self.dispose(sale, self.relief.delivered[exercise.trade_id])

    def _average(self, account_id: str, security_id: str) -> None:
        """Spread the basis of all shares of a fund in an account evenly over them.

        Law      26 USC 1012(c), (d); Treas. Reg. 1.1012-1(e)(7): the holding periods stay first in, first out.
        """
        lots = [held for key, held in self.held.items() if key[:3] == (account_id, security_id, False) and held.remains]
        parts = [
            part
            for held in sorted(lots, key=lambda held: (held.acquired_on, held.lot_id.encode()))
            for part in held.parts()
        ]
        shares, amount, passed = sum(part.remains for part in parts), sum(part.worth for part in parts), 0
        for part in parts:
            part.size, part.gone = part.remains, 0
            part.amount = apportioned(amount, passed, passed + part.size, shares)
            passed += part.size

    @staticmethod
    def _key(held: Held) -> Key:
        return held.account_id, held.security_id, held.is_short, held.lot_id


def leaves_of(events: Iterable[Event], relief: Relief) -> dict[tuple[Key, date], int]:
    """Shares of each lot that leave the household on each day; what the walk has passed is taken off as it goes."""
    leaves: dict[tuple[Key, date], int] = defaultdict(int)
    for event in events:
        if isinstance(event, Action) or (isinstance(event, Move) and event.to_account_id is not None):
            continue
        is_short = not isinstance(event, Move) and event.is_short
        for lot_id, quantity in relief.takes.get(event.trade_id, ()):
            leaves[(event.account_id, event.security_id, is_short, lot_id), event.traded_on] += quantity
        if isinstance(event, Exercise):
            for lot_id, quantity in relief.delivered.get(event.trade_id, ()):
                leaves[(event.account_id, event.option.underlying_id, False, lot_id), event.traded_on] += quantity
    return leaves
