"""In which order lots are sold: oldest first where the broker does that, least tax first where it is told.

An account that trades whole shares only may hold parts of them, of reinvested dividends: they are sold where parts of several
lots make a whole share.
"""

from collections.abc import Iterable
from decimal import ROUND_DOWN, Decimal

from transforms.portfolio.cash_flow import ZERO
from transforms.portfolio.desk import Desk, OpenLot


def queues(desk: Desk, lots: Iterable[OpenLot]) -> dict[tuple[str, str], list[OpenLot]]:
    """The lots of every holding in the order in which they can be sold, in parts that the account can sell."""
    found: dict[tuple[str, str], list[OpenLot]] = {}
    for lot in lots:
        found.setdefault((lot.account_id, lot.security_id), []).append(lot)
    for key, queue in found.items():
        account = desk.accounts[key[0]]
        if account.reaches_any_lot:
            queue.sort(key=lambda lot: tax_rate(desk, lot))  # stable: the oldest of two
        if account.unit == 1:
            found[key] = whole_shares(queue)
    return {key: queue for key, queue in found.items() if queue}


def whole_shares(queue: Iterable[OpenLot]) -> list[OpenLot]:
    """Lots as pieces of whole shares: what a lot has beyond them goes with the next. What is left at the end is no piece.

    >>> lots = [OpenLot("a", "XOM", "Energy", name, Decimal(shares), ZERO, ZERO) for name, shares in (("A", "1.5"), ("B", "0.7"))]
    >>> [(str(piece.quantity), [(name, str(part)) for name, part in piece.parts]) for piece in whole_shares(lots)]
    [('1', [('A', '1.0')]), ('1', [('A', '0.5'), ('B', '0.5')])]
    """
    pieces, rest = [], list[OpenLot]()
    for lot in queue:
        rest.append(lot)
        have = sum((one.quantity for one in rest), ZERO)
        if whole := have.to_integral_value(ROUND_DOWN):
            over = have - whole
            taken = [*rest[:-1], part_of(lot, lot.quantity - over)]
            piece = lot._replace(
                quantity=whole,
                short_gain_usd=sum((one.short_gain_usd for one in taken), ZERO),
                long_gain_usd=sum((one.long_gain_usd for one in taken), ZERO),
                parts=tuple((one.lot_id, one.quantity) for one in taken),
            )
            pieces.append(piece)
            rest = [part_of(lot, over)] if over else []
    return pieces


def part_of(lot: OpenLot, quantity: Decimal) -> OpenLot:
    """So many shares of a lot, with their part of its gains."""
    part = quantity / lot.quantity
    return lot._replace(
        quantity=quantity, short_gain_usd=lot.short_gain_usd * part, long_gain_usd=lot.long_gain_usd * part
    )


def tax_rate(desk: Desk, lot: OpenLot) -> Decimal:
    """Tax on a dollar of a lot's sale, by the household's marginal rates."""
    if desk.accounts[lot.account_id].is_deferred:
        return ZERO
    tax = lot.short_gain_usd * desk.rates.short + lot.long_gain_usd * desk.rates.long
    return tax / (lot.quantity * desk.prices[lot.security_id])
