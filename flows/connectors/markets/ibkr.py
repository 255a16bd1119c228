"""Prices by a gateway of Interactive Brokers: daily bars, and quotes.

Omits    closes as traded: IBKR's bars are restated by every split (not by dividends), so `close_usd` before a split is not
         what was paid. Its dividend-adjusted bars stand beside. Quotes that are delayed or frozen: they are left out.
"""

import asyncio
import math
from collections.abc import Collection
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from ib_async import IB, Contract

from flows.accounts import Ibkr
from flows.calendar import NEW_YORK
from flows.connectors import CORPORATE_ACTIONS, Delivery, Quote, Unavailable, no_rows, text_rows
from flows.connectors.brokers.ibkr_gateway import ask, contract
from flows.connectors.brokers.ibkr_rows import exact

AT_ONCE = 10  # requests under way: IBKR allows 50, and slows down who asks for more
FIRST_YEARS = 5  # so far back the first delivery goes
PATIENCE = 40.0  # history comes slowly: so many times patience_seconds
LIVE = 1  # IBKR's type of market data; 2 frozen, 3 and 4 delayed
SCHEMA = {
    "symbol": pl.String, "session_on": pl.Date, "close_usd": pl.Float64, "adjusted_close_usd": pl.Float64,
    "volume": pl.Int64,
}  # fmt: skip


class IbkrMarket:
    def __init__(self, ibkr: Ibkr, securities: Path):
        self._ibkr, self._securities = ibkr, securities

    def securities(self) -> Delivery:
        return Delivery("ibkr", "securities", None, text_rows(self._securities, ("symbol", "name", "sector")))

    def prices(self, since: date | None, until: date) -> Delivery:
        """Daily bars of every security of the file; one that IBKR does not know is left out.

        Errors   Unavailable, also where it has no price at all.
        """
        symbols = self.securities().rows["symbol"].to_list()
        rows = ask(self._ibkr, lambda ib: _bars(ib, symbols, since, until), patience=PATIENCE)
        if not rows:
            raise Unavailable("Interactive Brokers has no daily bars of any security: does the login have market data?")
        frame = pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("symbol", "session_on")
        return Delivery("ibkr", "prices", frame["session_on"].max(), frame)  # type: ignore[arg-type]

    def corporate_actions(self, since: date, until: date) -> Delivery:
        return no_rows("ibkr", "corporate_actions", None, *CORPORATE_ACTIONS)

    def quotes(self, symbols: Collection[str]) -> list[Quote]:
        return ask(self._ibkr, lambda ib: _quotes(ib, list(symbols)))


async def _known(ib: IB, symbols: list[str]) -> dict[str, Contract]:
    found = await ib.qualifyContractsAsync(*(contract(symbol) for symbol in symbols))
    return {symbol: one for symbol, one in zip(symbols, found, strict=True) if isinstance(one, Contract)}


async def _bars(ib: IB, symbols: list[str], since: date | None, until: date) -> list[tuple[Any, ...]]:
    now = await ib.reqCurrentTimeAsync()
    today = now.astimezone(NEW_YORK).date()
    days = (today - since).days + 1 if since else 365 * FIRST_YEARS
    span = f"{max(days, 1)} D" if days <= 365 else f"{math.ceil(days / 365)} Y"
    turn = asyncio.Semaphore(AT_ONCE)

    async def closes(what: Contract, kind: str) -> dict[date, tuple[float, float]]:
        async with turn:
            bars = await ib.reqHistoricalDataAsync(what, "", span, "1 day", kind, useRTH=True, timeout=0)
        return {bar.date: (bar.close, bar.volume) for bar in bars if isinstance(bar.date, date)}

    async def rows(symbol: str, what: Contract) -> list[tuple[Any, ...]]:
        traded, adjusted = await asyncio.gather(closes(what, "TRADES"), closes(what, "ADJUSTED_LAST"))
        return [
            (symbol, on, close, adjusted[on][0] if on in adjusted else None, int(volume))
            for on, (close, volume) in traded.items()
            if (since or date.min) <= on <= until
        ]

    told = await asyncio.gather(*(rows(symbol, what) for symbol, what in (await _known(ib, symbols)).items()))
    return [row for one in told for row in one]


async def _quotes(ib: IB, symbols: list[str]) -> list[Quote]:
    known = await _known(ib, symbols)
    ib.reqMarketDataType(LIVE)
    tickers = await ib.reqTickersAsync(*known.values())
    now: datetime = await ib.reqCurrentTimeAsync()
    quotes = []
    for symbol, ticker in zip(known, tickers, strict=True):
        price = _price(ticker.bid, ticker.ask, ticker.last)
        if price is not None and ticker.marketDataType == LIVE:
            quotes.append(Quote(symbol, price, now.astimezone(UTC)))
    return quotes


def _price(bid: float, ask_: float, last: float) -> Decimal | None:
    """The last trade where it lies within the market, else the middle of the market; nothing where there is neither.

    >>> _price(9.9, 10.1, 10.05), _price(9.9, 10.1, 12.0), _price(-1.0, -1.0, float("nan"))
    (Decimal('10.05'), Decimal('10.0'), None)
    """
    has_market, has_last = bid > 0 and ask_ > 0, last > 0
    if has_last and (not has_market or bid <= last <= ask_):
        return exact(last)
    return (exact(bid) + exact(ask_)) / 2 if has_market else None
