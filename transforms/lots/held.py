"""Shares that are held, or owed: slices of alike shares, and the lots that they make.

A lot is a pool of alike shares, the rest, and the slices that a wash sale has matched. A matched slice has the
disallowed loss in its basis and the tacked holding period; slices leave first, in the order of matching.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from transforms.exact import apportioned
from transforms.lots.term import term
from transforms.model import Lot


@dataclass(slots=True)
class Slice:
    """Alike shares: one basis, one holding period. `gone` shares of `size` have left."""

    size: int
    amount: int
    holding_since: date
    gone: int = 0
    held_on: date | None = None  # matched because it was still held at the end of this day
    loss_amount: int | None = None  # of a gift: the basis for a loss, where it is lower than `amount`
    gift_on: date | None = None

    @property
    def remains(self) -> int:
        return self.size - self.gone

    @property
    def worth(self) -> int:
        return apportioned(self.amount, self.gone, self.size, self.size)

    def take(self, quantity: int) -> int:
        """Take shares out and return the cents that go with them."""
        before, self.gone = self.gone, self.gone + quantity
        return apportioned(self.amount, before, self.gone, self.size)

    def split_off(self, quantity: int) -> "Slice":
        """Take shares out as a slice of their own."""
        loss = self.loss_amount
        if loss is not None:
            loss = apportioned(loss, self.gone, self.gone + quantity, self.size)
        return Slice(quantity, self.take(quantity), self.holding_since, 0, self.held_on, loss, self.gift_on)

    def basis_for(self, quantity: int, proceeds: int, basis: int) -> tuple[int, date]:
        """Basis and holding period of shares just taken: a gift's are another's for a loss.

        Law      26 USC 1015(a): sold below the market value of its day, that value is the basis and the period starts
                 with the gift; between the two there is neither gain nor loss.
        """
        if self.loss_amount is None or self.gift_on is None or proceeds >= basis:
            return basis, self.holding_since
        low = apportioned(self.loss_amount, self.gone - quantity, self.gone, self.size)
        return (low, self.gift_on) if proceeds < low else (proceeds, self.holding_since)


@dataclass(slots=True, eq=False)
class Held:
    """What is left of one lot in one account."""

    lot_id: str
    account_id: str
    security_id: str
    is_deferred: bool
    is_short: bool
    acquired_on: date
    order: tuple  # of the purchase, among all trades
    rest: Slice
    matched: list[Slice] = field(default_factory=list)
    unmatched: int = 0  # shares bought that have not replaced a loss, held or not
    replaces: frozenset[str] = frozenset()  # the identity groups whose losses it replaces
    per: int = 1  # shares of the underlying that one of it stands for
    rule: str = "purchase"

    @property
    def remains(self) -> int:
        return self.rest.remains + sum(part.remains for part in self.matched)

    def parts(self) -> Iterator[Slice]:
        """The slices that still hold shares, in the order in which they leave."""
        return (part for part in (*self.matched, self.rest) if part.remains)

    def take(self, quantity: int) -> Iterator[tuple[Slice, int, int]]:
        """Take shares out, slice by slice: the slice, how many of it, and the cents that go with them."""
        for part in self.parts():
            count = min(quantity, part.remains)
            if not count:
                return
            quantity -= count
            yield part, count, part.take(count)

    def split_off(self, quantity: int) -> list[tuple[Slice, bool]]:
        """Take shares out as slices of their own, each with: is it matched?"""
        made = []
        for part in self.parts():
            count = min(quantity, part.remains)
            if count:
                quantity -= count
                made.append((part.split_off(count), part is not self.rest))
        return made

    def forget(self, today: date) -> None:
        """Drop the matched slices that are gone, except those of today, which still count as held tonight."""
        self.matched = [part for part in self.matched if part.remains or part.held_on == today]

    def free(self, leaving: int, today: date, to_day_end: bool) -> int:
        """Shares that may replace a loss of `today`, when `leaving` more will be sold that day.

        They are those still held tonight (or now, by policy): matched shares leave first, and what today's sales
        matched is held for them. A deferred account's count in full, held or not.
        """
        if self.is_deferred:
            return self.unmatched
        if not to_day_end:
            return self.rest.remains
        tonight = self.remains - leaving
        before = sum(part.remains for part in self.matched if part.held_on != today)
        since = sum(part.size for part in self.matched if part.held_on == today)
        return min(self.rest.remains, tonight - max(0, before - leaving) - since)

    def add(self, part: Slice, *, is_matched: bool) -> None:
        """Shares of the same purchase come in from another account."""
        if is_matched:
            self.matched.append(part)
        elif self.rest.remains:
            low = (
                None
                if part.loss_amount is None or self.rest.loss_amount is None
                else part.loss_amount + _low(self.rest)
            )
            self.rest = Slice(
                self.rest.remains + part.size,
                self.rest.worth + part.amount,
                part.holding_since,
                0,
                None,
                low,
                part.gift_on,
            )
        else:
            self.rest = part

    def rows(self) -> Iterator[Lot]:
        sign = -1 if self.is_short else 1
        for part in self.parts():
            yield Lot(
                self.lot_id, self.account_id, self.security_id, sign * part.remains, self.acquired_on,
                self.acquired_on if self.is_deferred else part.holding_since, sign * part.worth, self.is_deferred,
            )  # fmt: skip


def _low(part: Slice) -> int:
    assert part.loss_amount is not None
    return apportioned(part.loss_amount, part.gone, part.size, part.size)


def term_of(held: Held, since: date, sold_on: date) -> str:
    """The term of shares sold, and of what was owed: that is always short-term.

    Law      26 USC 1222, 1233(b), 1234(b).
    Omits    what stood beside shares of the same kind: relief refuses it.
    """
    return "short" if held.is_short else term(since, sold_on)
