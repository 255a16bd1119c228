"""What the broker reports of a sale, what is right, and what Form 8949 says of the difference.

The problem. The IRS has the broker's 1099-B: its basis (box 1e), its wash sales (box 1g), its term. The household's own
books look through all accounts. Both describe the same shares, cut into slices at different places, because a wash
sale cuts a lot and the two views do not see the same wash sales.

The choice. Within a sale, a lot's shares are laid side by side in the order in which they left, and cut wherever either
view cuts; only what then has no counterpart (other lots were identified than the broker relieved) is laid side by side
in the order of the sale. Every piece is a row of the form: the basis as reported, the codes, and one net adjustment that
leads to the right gain.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from transforms.exact import apportioned, usd_text
from transforms.model import Disposal


class Piece(NamedTuple):
    """Shares of one slice in both views. Units: nano-shares, cents; the adjustment is column (g), signed."""

    own: Disposal
    theirs: Disposal
    quantity: int
    proceeds: int
    basis: int  # the right one, with what wash sales added
    disallowed: int
    permanent: int
    broker_basis: int  # box 1e
    broker_disallowed: int  # box 1g
    is_reported: bool  # the broker reports the basis to the IRS
    code: str
    adjustment: int

    @property
    def filed_basis(self) -> int:
        """Column (e)."""
        return self.broker_basis if self.is_reported else self.basis

    @property
    def gain(self) -> int:
        """Column (h)."""
        return self.proceeds - self.filed_basis + self.adjustment

    @property
    def note(self) -> str:
        return "; ".join(_said(self))


def reported(
    own: Iterable[Disposal], theirs: Iterable[Disposal], is_covered: Callable[[Disposal], bool]
) -> Iterator[Piece]:
    """Every disposal beside what its broker reports.

    Law      Instructions for Form 8949 (2025), column (f): W with the own disallowed loss, 0 where the broker reports one
             that is none (and a statement that says why, where the own one is less); B where the basis reported is not the
             right one, with reported less right in column (g); T where the term is not. Codes in alphabetical order, one
             net amount. Pub. 550: what the broker does not report is disallowed all the same.
    Order    as the disposals; pieces of a slice by their place in the sale.
    Omits    1099-Bs as they arrive (this is what the broker will say, computed); the other codes of column (f); a gain
             without a sale that the broker alone sees.

    >>> from datetime import date
    >>> def sold(basis, washed):
    ...     day = date(2025, 3, 3)
    ...     return Disposal("S", "A", "joint", "XYZ", 100, day, day, date(2025, 6, 2), 90000, basis, washed, 0, "short")
    >>> piece, = reported([sold(105000, 0)], [sold(100000, 0)], lambda row: True)
    >>> piece.code, piece.filed_basis, piece.adjustment, piece.gain
    ('B', 100000, -5000, -15000)
    >>> piece, = reported([sold(100000, 2500)], [sold(100000, 10000)], lambda row: True)
    >>> piece.code, piece.adjustment, piece.note.split("; ")[-1]
    ('W', 2500, 'attach a statement that says why it is less')
    """
    by_sale: dict[str, list[Disposal]] = defaultdict(list)
    for row in theirs:
        by_sale[row.trade_id].append(row)
    sales: dict[str, list[Disposal]] = defaultdict(list)
    for row in own:
        sales[row.trade_id].append(row)
    for trade_id, rows in sales.items():
        yield from _sale(rows, by_sale[trade_id], is_covered)


class _Part(NamedTuple):
    """The shares of a row from `start` to `end`."""

    row: Disposal
    start: int
    end: int

    def of(self, amount: int) -> int:
        return apportioned(amount, self.start, self.end, self.row.quantity) if self.row.quantity else amount


def _sale(own: list[Disposal], theirs: list[Disposal], is_covered: Callable[[Disposal], bool]) -> Iterator[Piece]:
    whole, before = sum(row.quantity for row in own), 0
    amount = sum(row.proceeds for row in own)
    is_one_price = _is_one_price(own, amount, whole) and _is_one_price(theirs, amount, whole)
    beside = _beside(own, theirs)
    for row in own:
        for mine, other in beside[id(row)]:
            money = mine.of(row.proceeds)
            if is_one_price and row.quantity:
                money = apportioned(amount, before + mine.start, before + mine.end, whole)
            yield _piece(mine, other, money, is_covered(row))
        before += row.quantity


def _is_one_price(rows: list[Disposal], amount: int, whole: int) -> bool:
    """Are the proceeds of every row its shares' part of the sale's? What is owed has proceeds of its own for each lot."""
    passed = 0
    for row in rows:
        if not row.quantity or row.proceeds != apportioned(amount, passed, passed + row.quantity, whole):
            return False
        passed += row.quantity
    return passed == whole


def _beside(own: list[Disposal], theirs: list[Disposal]) -> dict[int, list[tuple[_Part, _Part]]]:
    """Parts of each own row with their counterparts: of the same lot first, of what is left then."""
    found: dict[int, list[tuple[_Part, _Part]]] = defaultdict(list)
    mine = [_Part(row, 0, row.quantity) for row in own if row.quantity]
    waiting = [_Part(row, 0, row.quantity) for row in theirs if row.quantity]
    for same_lot in (True, False):
        left = []
        for part in mine:
            for i, other in enumerate(waiting):
                if count := _count(part, other, same_lot=same_lot):
                    pair = part._replace(end=part.start + count), other._replace(end=other.start + count)
                    found[id(part.row)].append(pair)
                    part = part._replace(start=part.start + count)
                    waiting[i] = other._replace(start=other.start + count)
            if part.start < part.end:
                left.append(part)
        mine = left
    gains = (_Part(row, 0, 0) for row in theirs if not row.quantity)  # without a sale: one beside another
    mine += [_Part(row, 0, 0) for row in own if not row.quantity]
    for part in mine:
        found[id(part.row)].append((part, next(gains, part) if not part.row.quantity else part))
    for pairs in found.values():
        pairs.sort(key=lambda pair: pair[0].start)
    return found


def _count(part: _Part, other: _Part, *, same_lot: bool) -> int:
    """How many shares of two parts stand side by side."""
    if same_lot and part.row.lot_id != other.row.lot_id:
        return 0
    return min(part.end - part.start, other.end - other.start)


def _piece(mine: _Part, other: _Part, proceeds: int, is_reported: bool) -> Piece:
    own, theirs = mine.row, other.row
    basis, disallowed = mine.of(own.basis), mine.of(own.disallowed)
    broker_basis, broker_disallowed = other.of(theirs.basis), other.of(theirs.disallowed)
    code = "".join(
        letter
        for letter, applies in (
            ("B", is_reported and basis != broker_basis),
            ("T", is_reported and own.term != theirs.term),
            ("W", disallowed or (is_reported and broker_disallowed)),
        )
        if applies
    )
    adjustment = disallowed + (broker_basis - basis if is_reported else 0)
    return Piece(
        own, theirs, mine.end - mine.start, proceeds, basis, disallowed, mine.of(own.permanent), broker_basis,
        broker_disallowed, is_reported, code, adjustment,
    )  # fmt: skip


def _said(piece: Piece) -> Iterator[str]:
    """Where the two views differ, in sentences."""
    if not piece.is_reported:
        return
    own, theirs = usd_text(piece.disallowed), usd_text(piece.broker_disallowed)
    if piece.own.lot_id != piece.theirs.lot_id:
        yield f"the broker relieved lot {piece.theirs.lot_id}, the lot identified is {piece.own.lot_id}"
    if piece.basis != piece.broker_basis:
        why = "" if piece.own.lot_id != piece.theirs.lot_id else ": it does not see what a wash sale added or took"
        yield f"the broker's basis is ${usd_text(piece.broker_basis)}, the right one ${usd_text(piece.basis)}{why}"
    if piece.own.term != piece.theirs.term:
        yield f"the broker says {piece.theirs.term}-term, it is {piece.own.term}-term"
    if piece.disallowed > piece.broker_disallowed:
        yield f"${own} of the loss is disallowed, the broker reports ${theirs}: purchases outside the account count too"
    elif piece.disallowed < piece.broker_disallowed:
        yield f"${own} of the loss is disallowed, the broker reports ${theirs}"
        yield "attach a statement that says why it is less"
