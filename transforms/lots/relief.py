"""Which sale takes how many shares of which lot.

Relief looks at quantities only, never at dollars, so it can be settled for the whole history before the first
wash sale is matched. That is what lets the matching ask how much of a lot is "still held at the end of the
day" without going round in a circle.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable
from datetime import date

from transforms.exact import NANO, decimal, nano_shares, shares_text
from transforms.model import Refused, Trade

Taken = tuple[str, int]  # lot_id, nano-shares


def trade_order(trade: Trade) -> tuple:
    """The one order in which trades happen.

    Order    day; then buys of which only the day is known, timed trades by the clock, sells of which only the
             day is known; at one instant buys before sells, of buys the taxable before the deferred account;
             then trade_id bytewise.
    """
    timed = trade.traded_at is not None
    return (
        trade.traded_on,
        1 if timed else 0 if trade.is_buy else 2,
        trade.traded_at.isoformat() if trade.traded_at is not None else "",
        not trade.is_buy,
        trade.is_buy and trade.is_deferred,
        trade.trade_id.encode(),
    )


def relieved(trades: Iterable[Trade]) -> tuple[dict[str, list[Taken]], list[Refused]]:
    """The lots that each sale takes, in order of acquisition, and the sales that cannot be.

    Law      Treas. Reg. 1.1012-1(c): the lots identified, else first in, first out; each account by itself.
    Order    trades in `trade_order`; lots by (acquired_on, trade_id bytewise). A deferred account is FIFO always.
    Omits    average cost, short sales (a sale of more than is held is refused whole).
    """
    queues: dict[tuple[str, str], list[tuple[date, bytes, str]]] = defaultdict(list)
    spent: dict[tuple[str, str], int] = defaultdict(int)
    left: dict[str, int] = {}
    takes: dict[str, list[Taken]] = {}
    refused: list[Refused] = []
    for trade in trades:
        holding = trade.account_id, trade.security_id
        queue = queues[holding]
        if trade.is_buy:
            insort(queue, (trade.traded_on, trade.trade_id.encode(), trade.trade_id))
            left[trade.trade_id] = trade.quantity
            continue
        taken = _picked(trade, queue, left)
        if not isinstance(taken, Refused) and (trade.is_deferred or not trade.picks):
            taken = _fifo(trade, queue, left)
        if isinstance(taken, Refused):
            refused.append(taken)
            continue
        takes[trade.trade_id] = taken
        for lot_id, quantity in taken:
            left[lot_id] -= quantity
            spent[holding] += not left[lot_id]
        gone = 0  # first in, first out leaves empty lots in front; picks leave them anywhere
        while gone < len(queue) and not left[queue[gone][2]]:
            gone += 1
        del queue[:gone]
        spent[holding] -= gone
        if spent[holding] > 32 and spent[holding] * 2 > len(queue):  # step over few empty lots, never over many
            queue[:] = [lot for lot in queue if left[lot[2]]]
            spent[holding] = 0
    return takes, refused


def read_picks(text: str) -> tuple[tuple[str, int], ...]:
    """LOT:QTY;LOT:QTY as (lot_id, nano-shares); an empty text picks nothing.

    Errors   ValueError.

    >>> read_picks("P-1:2.5;P-7:1")
    (('P-1', 2500000000), ('P-7', 1000000000))
    """
    picks = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        lot_id, colon, quantity = part.rpartition(":")
        if not colon or not lot_id.strip():
            raise ValueError(f"lots {text!r} is not LOT:QTY;LOT:QTY")
        picked = nano_shares(decimal(quantity))
        if picked <= 0:
            raise ValueError(f"lots {text!r}: a quantity is not above zero")
        picks.append((lot_id.strip(), picked))
    return tuple(picks)


def _fifo(trade: Trade, queue: list[tuple[date, bytes, str]], left: dict[str, int]) -> list[Taken] | Refused:
    need, taken = trade.quantity, []
    for *_, lot_id in queue:
        part = min(need, left[lot_id])
        if part:
            taken.append((lot_id, part))
            need -= part
        if not need:
            return taken
    return Refused(
        trade.trade_id,
        f"oversell: {trade.account_id} holds {_short(trade.quantity - need)} of {trade.security_id} on "
        f"{trade.traded_on}, {_short(need)} too few",
    )


def _picked(trade: Trade, queue: list[tuple[date, bytes, str]], left: dict[str, int]) -> list[Taken] | Refused:
    """The picks of a sale in order of acquisition, or why they cannot be followed."""
    wanted: dict[str, int] = defaultdict(int)
    for lot_id, quantity in trade.picks:
        wanted[lot_id] += quantity
    if trade.picks and sum(wanted.values()) != trade.quantity:
        return Refused(trade.trade_id, "its lots do not add up to the quantity sold")
    taken = [(lot_id, wanted.pop(lot_id)) for *_, lot_id in queue if lot_id in wanted] if wanted else []
    for lot_id in wanted:
        return Refused(trade.trade_id, f"lot {lot_id} is not an open lot of {trade.security_id} in {trade.account_id}")
    for lot_id, quantity in taken:
        if quantity > left[lot_id]:
            missing = _short(quantity - left[lot_id])
            return Refused(trade.trade_id, f"takes more from lot {lot_id} than is left: {missing} missing")
    return taken


def _short(nano: int) -> str:
    return f"{shares_text(nano)} share" + ("" if nano == NANO else "s")
