"""Lots, disposals and wash sales from the trades of a household.

The problem. Four accounts, two people, one law: a loss is disallowed when anyone in the household buys the
security back within 30 days before or after, and the disallowed dollars move into the very shares that replaced
the sold ones, with their holding period. Those shares may be sold at a loss themselves, and so on.

The choice. One walk through time for each identity group. A buy opens a lot and first serves the losses of the
last 30 days that still wait, earliest first; a sale takes its slices, and each loss looks for purchases of the
last 30 days that are still there, then waits for later ones. Walking in time is the same as taking the losses
one by one and looking both ways (Reg. 1.1091-1(b)): an earlier loss always reaches a purchase first. No loss or
purchase is looked at again once 30 days have passed, so the work grows with the trades, not their square.

A lot is a pool of alike shares. Matched shares leave the pool as a slice of their own, with the disallowed loss
in its basis and the tacked holding period; slices are sold first, in the order of matching, then the rest.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from transforms.exact import apportioned
from transforms.lots.relief import Taken, relieved, trade_order
from transforms.lots.rules import Rules
from transforms.lots.term import term
from transforms.model import Books, Disposal, Lot, Trade, WashSale

REPLACED = "26 USC 1091(a), (d); Treas. Reg. 1.1091-1, 1.1091-2"
REPLACED_IN_DEFERRED = "26 USC 1091(a); Rev. Rul. 2008-5"


def book(trades: Iterable[Trade], rules: Rules, identical: Mapping[str, str] | None = None) -> Books:
    """Book a household's trades.

    Law      26 USC 1012, 1091, 1222, 1223(3); Treas. Reg. 1.1012-1(c), 1.1091-1, 1.1091-2; Rev. Rul. 2008-5.
    Window   `rules.window_days` before to after the sale, ends included (30: 26 USC 1091(a)).
    Order    sales in trade order; inside a sale the lots by acquisition; replacements in trade order. A share
             replaces once. A taxable purchase before the sale counts for the shares still held at the end of
             that day, a deferred one in full; the sold lot itself never.
    Units    nano-shares and cents, in and out.
    Omits    short sales, options, transfers, corporate actions (there is no trade to say them with); losses
             between related persons (26 USC 267).

    `identical` maps a security to its group of substantially identical ones; a security without one is its own.

    >>> def trade(name, is_buy, usd, month, day):
    ...     on = date(2025, month, day)
    ...     return Trade(name, "broker", "XYZ", is_buy, 100 * 10**9, usd * 100, on, None, False)
    >>> books = book([trade("A", True, 1000, 1, 6), trade("S", False, 750, 3, 10), trade("B", True, 800, 3, 25)], Rules())
    >>> [(d.disallowed, d.gain) for d in books.disposals], [(lot.lot_id, lot.basis) for lot in books.lots]
    ([(25000, 0)], [('B', 105000)])
    """
    ordered = sorted(trades, key=trade_order)
    takes, refused = relieved(ordered)
    groups: dict[str, list[Trade]] = defaultdict(list)
    same = identical or {}
    for trade in ordered:
        if trade.is_buy or trade.trade_id in takes:
            groups[same.get(trade.security_id, trade.security_id)].append(trade)
    books = Books([], [], [], refused)
    for group in groups.values():
        _book_group(group, takes, rules, books)
    books.disposals.sort(key=lambda row: row.sold_on)
    books.lots.sort(key=lambda lot: (lot.account_id, lot.security_id, lot.acquired_on, lot.lot_id.encode()))
    return books


@dataclass(slots=True)
class _Slice:
    """Alike shares: one basis, one holding period. `left_at` shares of `size` have gone."""

    size: int
    amount: int
    holding_since: date
    gone: int = 0
    held_on: date | None = None  # matched because it was still held at the end of this day

    @property
    def remains(self) -> int:
        return self.size - self.gone

    def take(self, quantity: int) -> int:
        """Take shares out and return the cents that go with them."""
        before, self.gone = self.gone, self.gone + quantity
        return apportioned(self.amount, before, self.gone, self.size)

    @property
    def worth(self) -> int:
        return apportioned(self.amount, self.gone, self.size, self.size)


@dataclass(slots=True)
class _Lot:
    trade: Trade
    rest: _Slice
    matched: list[_Slice] = field(default_factory=list)
    unmatched: int = 0  # shares bought that have not replaced a loss, held or not


@dataclass(slots=True)
class _Loss:
    """A slice sold at a loss that still looks for its replacements."""

    row: int  # of books.disposals
    loss: int
    held_days: timedelta
    replaced: int = 0


def _book_group(trades: list[Trade], takes: Mapping[str, list[Taken]], rules: Rules, books: Books) -> None:
    window = timedelta(days=rules.window_days)
    lots: dict[str, _Lot] = {}
    bought: deque[_Lot] = deque()
    waiting: deque[_Loss] = deque()
    leaves = _leaves_by_day(trades, takes)
    for trade in trades:
        while waiting and books.disposals[waiting[0].row].sold_on + window < trade.traded_on:
            waiting.popleft()
        while bought and bought[0].trade.traded_on + window < trade.traded_on:
            bought.popleft()
        if trade.is_buy:
            lot = _Lot(trade, _Slice(trade.quantity, trade.amount, trade.traded_on), unmatched=trade.quantity)
            lots[trade.trade_id] = lot
            bought.append(lot)
            for loss in waiting:
                if not lot.unmatched:
                    break
                _match(loss, lot, lot.unmatched, books, None)
            waiting = deque(loss for loss in waiting if loss.replaced < books.disposals[loss.row].quantity)
        else:
            for lot_id, quantity in takes[trade.trade_id]:
                leaves[lot_id, trade.traded_on] -= quantity
            if trade.is_deferred:
                for lot_id, quantity in takes[trade.trade_id]:
                    lots[lot_id].rest.take(quantity)
                continue
            for loss in _sell(trade, takes[trade.trade_id], lots, books):
                sold = books.disposals[loss.row].quantity
                for lot in bought:
                    if loss.replaced == sold:
                        break
                    if not (lot.unmatched if lot.trade.is_deferred else lot.rest.remains):
                        continue
                    leaving = leaves[lot.trade.trade_id, trade.traded_on]
                    _match(loss, lot, _free(lot, leaving, trade.traded_on), books, trade.traded_on)
                if loss.replaced < sold:
                    waiting.append(loss)
            bought = deque(lot for lot in bought if (lot.unmatched if lot.trade.is_deferred else lot.rest.remains))
    books.lots.extend(row for lot in lots.values() for row in _open_rows(lot))


def _sell(trade: Trade, taken: list[Taken], lots: Mapping[str, _Lot], books: Books) -> list[_Loss]:
    """Write a disposal for each slice sold; the losses among them, by order of acquisition."""
    losses, sold = [], 0
    for lot_id, needed in taken:
        lot = lots[lot_id]
        for part in (*lot.matched, lot.rest):
            count = min(needed, part.remains)
            if not count:
                continue
            needed -= count
            basis = part.take(count)
            proceeds = apportioned(trade.amount, sold, sold + count, trade.quantity)
            sold += count
            since = part.holding_since
            if proceeds < basis:
                losses.append(_Loss(len(books.disposals), basis - proceeds, trade.traded_on - since))
            books.disposals.append(
                Disposal(
                    trade.trade_id, lot_id, trade.account_id, trade.security_id, count, lot.trade.traded_on,
                    since, trade.traded_on, proceeds, basis, 0, 0, term(since, trade.traded_on),
                )
            )  # fmt: skip
        lot.matched = [part for part in lot.matched if part.remains or part.held_on == trade.traded_on]
    return losses


def _match(loss: _Loss, lot: _Lot, free: int, books: Books, held_on: date | None) -> None:
    """Let shares of `lot` replace what is left of the loss; `held_on` is the day at whose end they must be held."""
    sold = books.disposals[loss.row]
    count = min(sold.quantity - loss.replaced, free)
    if count <= 0 or lot.trade.trade_id == sold.lot_id:
        return
    disallowed = apportioned(loss.loss, loss.replaced, loss.replaced + count, sold.quantity)
    loss.replaced += count
    lot.unmatched -= count
    if not lot.trade.is_deferred:
        since = lot.trade.traded_on - loss.held_days
        lot.matched.append(_Slice(count, lot.rest.take(count) + disallowed, since, held_on=held_on))
    permanent = disallowed if lot.trade.is_deferred else 0
    books.disposals[loss.row] = sold._replace(
        disallowed=sold.disallowed + disallowed, permanent=sold.permanent + permanent
    )
    books.wash_sales.append(
        WashSale(
            sold.trade_id, sold.lot_id, lot.trade.trade_id, count, disallowed, permanent,
            (lot.trade.traded_on - sold.sold_on).days, REPLACED_IN_DEFERRED if lot.trade.is_deferred else REPLACED,
        )
    )  # fmt: skip


def _free(lot: _Lot, leaving: int, today: date) -> int:
    """Shares bought before a sale of `today` that may replace its loss, when `leaving` more will be sold that day.

    They are those still held tonight: matched shares leave first, and what today's sales matched is held for them.
    """
    if lot.trade.is_deferred:
        return lot.unmatched
    tonight = lot.rest.remains + sum(part.remains for part in lot.matched) - leaving
    before = sum(part.remains for part in lot.matched if part.held_on != today)
    since = sum(part.size for part in lot.matched if part.held_on == today)
    return min(lot.rest.remains, tonight - max(0, before - leaving) - since)


def _leaves_by_day(trades: list[Trade], takes: Mapping[str, list[Taken]]) -> dict[tuple[str, date], int]:
    """Shares of each lot that are sold on each day; what the walk has passed is taken off as it goes."""
    leaves: dict[tuple[str, date], int] = defaultdict(int)
    for trade in trades:
        if not trade.is_buy:
            for lot_id, quantity in takes[trade.trade_id]:
                leaves[lot_id, trade.traded_on] += quantity
    return leaves


def _open_rows(lot: _Lot) -> list[Lot]:
    trade = lot.trade
    parts = (*lot.matched, lot.rest) if not trade.is_deferred else (lot.rest,)
    return [
        Lot(
            trade.trade_id, trade.account_id, trade.security_id, part.remains, trade.traded_on,
            part.holding_since, part.worth, trade.is_deferred,
        )
        for part in parts
        if part.remains
    ]  # fmt: skip
