"""Average cost: one basis for all shares of a fund in an account."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from transforms.exact import apportioned
from transforms.model import Lot


def averaged(lots: Sequence[Lot], holdings: Collection[tuple[str, str]]) -> list[Lot]:
    """Open lots with the basis of these holdings (account_id, security_id) spread evenly over their shares.

    Law      26 USC 1012(c)(2), (d); Treas. Reg. 1.1012-1(e): shares of a fund, each account by itself; the holding periods
             stay as they are, first in, first out.
    Order    as the lots.
    Omits    the election's date, and taking it back.

    >>> from datetime import date
    >>> day = date(2025, 1, 2)
    >>> lots = [Lot(name, "a", "VTSAX", 100, day, day, basis, False) for name, basis in (("A", 1000), ("B", 1301))]
    >>> [lot.basis for lot in averaged(lots, {("a", "VTSAX")})]
    [1151, 1150]
    """
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])  # shares, cents, shares passed
    for lot in lots:
        held = sums[lot.account_id, lot.security_id]
        held[0], held[1] = held[0] + lot.quantity, held[1] + lot.basis
    made = []
    for lot in lots:
        key = lot.account_id, lot.security_id
        if key in holdings and lot.quantity > 0:
            held = sums[key]
            basis = apportioned(held[1], held[2], held[2] + lot.quantity, held[0])
            held[2] += lot.quantity
            lot = lot._replace(basis=basis)
        made.append(lot)
    return made
