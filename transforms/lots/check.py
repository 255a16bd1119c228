"""The pre-trade check: what would a batch do to the books? It books the batch and looks.

No second rule of wash sales is written here; the ledger plus the proposed trades go through the same engine, so
the check cannot disagree with the books that the fills will make.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from transforms.lots.book import book
from transforms.lots.rules import Rules
from transforms.model import Books, Event, Refused, Trade, WashSale


class Washed(NamedTuple):
    """A proposed trade that takes part in a wash sale. Units: cents, positive."""

    trade_id: str
    disallowed: int
    permanent: int
    because: tuple[WashSale, ...]


class Effect(NamedTuple):
    """What the proposed trades would do; `washed` names every one of them that would wash or be washed."""

    washed: dict[str, Washed]
    refused: list[Refused]
    books: Books


def effect(
    trades: Iterable[Event], proposed: Iterable[Trade], rules: Rules, identical: Mapping[str, str] | None = None
) -> Effect:
    """Book the history with the proposed trades and say which of them wash.

    Law      as in `book`: a proposed sale washed by any purchase of the household, a proposed purchase that washes
             any loss of the household, proposed ones included.
    Omits    purchases after the proposed trades that nobody knows of yet.
    """
    asked = {trade.trade_id: trade for trade in proposed}
    same = identical or {}
    groups = {same.get(trade.security_id, trade.security_id) for trade in asked.values()}
    near = [trade for trade in trades if same.get(trade.security_id, trade.security_id) in groups]
    books = book([*near, *asked.values()], rules, same)
    found: dict[str, list[WashSale]] = {}
    for match in books.wash_sales:
        for trade_id in {match.trade_id, match.replacement_lot_id} & asked.keys():
            found.setdefault(trade_id, []).append(match)
    washed = {
        trade_id: Washed(
            trade_id, sum(m.disallowed for m in matches), sum(m.permanent for m in matches), tuple(matches)
        )
        for trade_id, matches in found.items()
    }
    return Effect(washed, [row for row in books.refused if row.trade_id in asked], books)
