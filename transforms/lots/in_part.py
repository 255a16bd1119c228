"""The pre-trade check of sales that a limit may leave unfilled, wholly or in part.

A lot of the last 30 days washes nothing once it is sold itself. But it may be left, and then it replaces what was sold before
it. So where the household has bought a security lately, its sale must pass by itself too, and with the shares before its last
young lot only.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from transforms.lots.check import Effect, Limits, beyond
from transforms.model import Trade


class OpenShares(NamedTuple):
    """What is held of a lot. Units: nano-shares; `is_young`: bought within the window before the day."""

    lot_id: str
    account_id: str
    security_id: str
    quantity: int
    is_young: bool


class Young:
    """The young lots of a household; `identical` are its cautious groups."""

    def __init__(self, held: Iterable[OpenShares], identical: Mapping[str, str]):
        self._identical, self._lots, self._groups = identical, set[str](), set[str]()
        self._older: dict[tuple[str, str], int] = {}
        for lot in held:
            of = lot.account_id, lot.security_id
            if lot.is_young:
                self._lots.add(lot.lot_id)
                self._groups.add(self._group(lot.security_id))
            else:
                self._older[of] = self._older.get(of, 0) + lot.quantity

    def _group(self, security_id: str) -> str:
        return self._identical.get(security_id, security_id)

    def part(self, sale: Trade) -> Trade | None:
        """The sale as it would be without its last young lot and what comes after; None where nobody bought of it lately.

        Omits    lots in another order than the picks', or without picks than first in, first out.

        >>> from datetime import date
        >>> young = Young([OpenShares("A", "joint", "XYZ", 200, False), OpenShares("B", "joint", "XYZ", 50, True)], {})
        >>> sale = Trade("S", "joint", "XYZ", False, 230, 23000, date(2026, 3, 9), None, False)
        >>> young.part(sale)[4:6], young.part(sale._replace(picks=(("A", 180), ("B", 50))))[4:6]
        ((200, 20000), (180, 18000))
        >>> young.part(sale._replace(security_id="ABC"))
        """
        if self._group(sale.security_id) not in self._groups:
            return None
        last = max((i for i, (lot_id, _) in enumerate(sale.picks) if lot_id in self._lots), default=0)
        picks = sale.picks[:last] or sale.picks
        older = self._older.get((sale.account_id, sale.security_id), 0)
        quantity = sum(shares for _, shares in picks) if picks else min(sale.quantity, older or sale.quantity)
        return sale._replace(picks=picks, quantity=quantity, amount=sale.amount * quantity // sale.quantity)


def beyond_in_part(
    sales: Iterable[Trade], young: Young, effects: Callable[[Iterable[Trade]], Mapping[str, Effect]], limits: Limits
) -> dict[str, str]:
    """Why sales may not be made although they would pass when filled in full, by trade_id; see `check.beyond`."""
    said = {}
    for sale in sales:
        part = None if sale.is_buy else young.part(sale)
        if part and (reason := beyond(effects([part])[part.trade_id], limits)):
            said[sale.trade_id] = f"if the day's sales of it are filled in part: {reason}"
    return said
