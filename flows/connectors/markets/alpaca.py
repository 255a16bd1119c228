"""Prices by Alpaca: daily bars as traded and adjusted, what companies do, and what securities trade at now.

Shares, options and coins are asked in their own ways; a symbol says which it is. Adjusted closes are Alpaca's own (splits,
dividends, spin-offs); options and coins have none, so their close stands for both. A live price is the last trade, or,
where there was none, the middle of the quote.
"""

import time
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from alpaca.data import historical, requests
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.timeframe import TimeFrame

from flows.accounts import AlpacaPrices
from flows.calendar import NEW_YORK
from flows.connectors import CORPORATE_ACTIONS, Delivery, Quote, Unavailable, text_rows
from flows.connectors.alpaca import DATA, Body, Client, Sleep, as_text, base_url, client, needed
from flows.connectors.brokers.alpaca_rows import OCC
from transforms.exact import decimal

FIRST = date(2016, 1, 1)  # Alpaca's daily bars begin here
BATCH = 100  # symbols a request
PRICES = {
    "symbol": pl.String, "session_on": pl.Date, "close_usd": pl.Float64, "adjusted_close_usd": pl.Float64, "volume": pl.Int64,
}  # fmt: skip


class Way(NamedTuple):
    """How one sort of security is asked: a client of alpaca-py, and its methods with what each takes."""

    client: Any
    bars: tuple[str, Any]
    trades: tuple[str, Any]
    quotes: tuple[str, Any]


WAYS = {
    "share": Way(
        historical.StockHistoricalDataClient,
        ("get_stock_bars", requests.StockBarsRequest),
        ("get_stock_latest_trade", requests.StockLatestTradeRequest),
        ("get_stock_latest_quote", requests.StockLatestQuoteRequest),
    ),
    "option": Way(
        historical.OptionHistoricalDataClient,
        ("get_option_bars", requests.OptionBarsRequest),
        ("get_option_latest_trade", requests.OptionLatestTradeRequest),
        ("get_option_latest_quote", requests.OptionLatestQuoteRequest),
    ),
    "coin": Way(
        historical.CryptoHistoricalDataClient,
        ("get_crypto_bars", requests.CryptoBarsRequest),
        ("get_crypto_latest_trade", requests.CryptoLatestTradeRequest),
        ("get_crypto_latest_quote", requests.CryptoLatestQuoteRequest),
    ),
}


class Said(NamedTuple):
    """Where one sort of Alpaca's corporate actions says what the rows of CORPORATE_ACTIONS say; a field, or none.

    Units    `new` shares for `old` ones; `cash` in USD for `cash_per` shares.
    """

    kind: str
    symbol: str = "symbol"
    on: str = "ex_date"
    new: str = ""
    old: str = ""
    to: str = ""
    cash: str = ""
    cash_per: str = ""


ACTIONS = {
    "forward_splits": Said("split", new="new_rate", old="old_rate"),
    "reverse_splits": Said("split", new="new_rate", old="old_rate"),
    "stock_dividends": Said("split", new="rate"),
    "cash_dividends": Said("dividend", cash="rate"),
    "spin_offs": Said("spin_off", "source_symbol", new="new_rate", old="source_rate", to="new_symbol"),
    "cash_mergers": Said("merger", "acquiree_symbol", "effective_date", cash="rate"),
    "stock_mergers": Said(
        "merger", "acquiree_symbol", "effective_date", "acquirer_rate", "acquiree_rate", "acquirer_symbol"
    ),
    "stock_and_cash_mergers": Said(
        "merger", "acquiree_symbol", "effective_date", "acquirer_rate", "acquiree_rate", "acquirer_symbol", "cash_rate", "acquiree_rate"
    ),
    "name_changes": Said("symbol_change", "old_symbol", "process_date", to="new_symbol"),
    "unit_splits": Said("unit_split", "old_symbol", "effective_date", "new_rate", "old_rate", "new_symbol"),
    "redemptions": Said("redemption", on="process_date", cash="rate"),
    "worthless_removals": Said("worthless_removal", on="process_date"),
    "rights_distributions": Said("rights_distribution", "source_symbol", new="rate", to="new_symbol"),
}  # fmt: skip


class AlpacaMarket:
    def __init__(self, prices: AlpacaPrices, securities: Path, sleep: Sleep = time.sleep):
        self._prices, self._securities, self._sleep = prices, securities, sleep
        self._clients: dict[Any, Any] = {}

    def securities(self) -> Delivery:
        return Delivery("alpaca", "securities", None, text_rows(self._securities, ("symbol", "name", "sector")))

    def prices(self, since: date | None, until: date) -> Delivery:
        rows: dict[tuple[str, date], dict[str, Any]] = {}
        for sort, symbols in self._batches(self._symbols()):
            span = {"start": datetime.combine(since or FIRST, datetime.min.time()), "end": _end_of(until)}
            raw = {"adjustment": "raw", "feed": self._prices.feed} if sort == "share" else {}
            for name, day, bar in self._bars(sort, symbols, until, **span, **raw):
                close = float(needed(bar, "c", f"a bar of {name}"))
                rows[name, day] = {
                    "symbol": name, "session_on": day, "close_usd": close,
                    "adjusted_close_usd": None if sort == "share" else close, "volume": int(decimal(as_text(bar.get("v")) or "0")),
                }  # fmt: skip
            if sort == "share":
                for name, day, bar in self._bars(sort, symbols, until, **span, **raw | {"adjustment": "all"}):
                    if (name, day) in rows:
                        rows[name, day]["adjusted_close_usd"] = float(needed(bar, "c", f"a bar of {name}"))
        frame = pl.DataFrame(list(rows.values()), schema=PRICES, orient="row").sort("symbol", "session_on")
        return Delivery("alpaca", "prices", frame["session_on"].max(), frame)  # type: ignore[arg-type]

    def corporate_actions(self, since: date, until: date) -> Delivery:
        """Those of the household's securities. One that our list of kinds does not know bears Alpaca's word."""
        rows = []
        for sort, symbols in self._batches(self._symbols()):
            if sort != "share":
                continue
            asked = requests.CorporateActionsRequest(
                symbols=symbols, start=since, end=until, limit=None
            )  # a limit cuts off
            told = self._ask(CorporateActionsClient, "get_corporate_actions", asked)
            rows += [_action(name, action) for name, actions in told.items() for action in actions]
        rows.sort(key=lambda row: (row["on"], row["symbol"], row["id"]))
        columns = dict.fromkeys((*CORPORATE_ACTIONS, *(name for row in rows for name in row)))
        frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row").fill_null("")
        frame = frame.with_row_index("line", 1).cast({"line": pl.Int64})
        return Delivery("alpaca", "corporate_actions", until, frame)

    def quotes(self, symbols: Collection[str]) -> list[Quote]:
        found: dict[str, Quote] = {}
        for sort, batch in self._batches(symbols):
            feed = {"feed": self._prices.feed} if sort == "share" else {}
            for name, trade in self._latest(sort, WAYS[sort].trades, batch, **feed).items():
                found[name] = Quote(name, _price(trade, "p", name), _moment(trade, name))
            if silent := [name for name in batch if name not in found]:
                for name, quote in self._latest(sort, WAYS[sort].quotes, silent, **feed).items():
                    bid, ask = _price(quote, "bp", name), _price(quote, "ap", name)
                    if bid and ask:
                        found[name] = Quote(name, (bid + ask) / 2, _moment(quote, name))
        return [found[name] for name in dict.fromkeys(symbols) if name in found and found[name].price_usd]

    def _symbols(self) -> list[str]:
        return [name for name in self.securities().rows["symbol"].str.strip_chars().unique(maintain_order=True) if name]

    def _batches(self, symbols: Collection[str]) -> Iterator[tuple[str, list[str]]]:
        sorts: dict[str, list[str]] = {}
        for name in dict.fromkeys(symbols):
            sorts.setdefault("option" if OCC.fullmatch(name) else "coin" if "/" in name else "share", []).append(name)
        for sort, names in sorts.items():
            for first in range(0, len(names), BATCH):
                yield sort, names[first : first + BATCH]

    def _bars(self, sort: str, symbols: list[str], until: date, **asked: Any) -> Iterator[tuple[str, date, Body]]:
        way = WAYS[sort]
        request = way.bars[1](symbol_or_symbols=symbols, timeframe=TimeFrame.Day, **asked)
        for name, bars in self._ask(way.client, way.bars[0], request).items():
            for bar in bars:
                day = _moment(bar, name).astimezone(NEW_YORK).date()
                if day <= until:
                    yield name, day, bar

    def _latest(self, sort: str, way: tuple[str, Any], symbols: list[str], **asked: Any) -> dict[str, Body]:
        return self._ask(WAYS[sort].client, way[0], way[1](symbol_or_symbols=symbols, **asked))

    def _ask(self, make: type[Client], method: str, request: Any) -> dict[str, Any]:
        """Ask a client of alpaca-py, which reads all pages.

        Errors   Unavailable.
        """
        if make not in self._clients:
            url = base_url("THRESHER_ALPACA_DATA_URL", DATA)
            self._clients[make] = client(make, url, self._prices.key_name, self._sleep)
        try:
            return getattr(self._clients[make], method)(request)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise Unavailable(f"Alpaca's answer to {method} has another shape than documented") from None


def _action(sort: str, action: Body) -> dict[str, str]:
    """A row of CORPORATE_ACTIONS, then every field of Alpaca as `alpaca_<field>`."""
    what = f"one of Alpaca's {sort}"
    said = ACTIONS.get(sort, Said(sort, on="process_date"))
    ratio = ""
    if sort == "stock_dividends":
        ratio = f"{1 + _exact(action, said.new, what):f}:1"
    elif said.new:
        ratio = f"{needed(action, said.new, what)}:{needed(action, said.old, what) if said.old else '1'}"
    cash = ""
    if said.cash:
        whole = _exact(action, said.cash, what) / (_exact(action, said.cash_per, what) if said.cash_per else 1)
        cash = f"{whole.normalize():f}"
    row = {
        "id": needed(action, "id", what), "kind": said.kind, "symbol": needed(action, said.symbol, what),
        "on": as_text(action.get(said.on)) or needed(action, "process_date", what), "ratio": ratio,
        "new_symbol": needed(action, said.to, what) if said.to else "", "cash_usd": cash,
        "payable_on": as_text(action.get("payable_date")),
    }  # fmt: skip
    return row | {f"alpaca_{name}": as_text(value) for name, value in action.items() if name != "id"}


def _exact(body: Body, field: str, what: str) -> Decimal:
    try:
        return decimal(needed(body, field, what))
    except ValueError as wrong:
        raise Unavailable(f"{field} of {what}: {wrong}") from None


def _price(body: Body, field: str, name: str) -> Decimal:
    return _exact(body, field, f"the latest price of {name}")


def _moment(body: Body, name: str) -> datetime:
    try:
        return datetime.fromisoformat(needed(body, "t", f"a price of {name}")).astimezone(UTC)
    except ValueError:
        raise Unavailable(f"the time of a price of {name} is not one: {as_text(body['t'])[:40]!r}") from None


def _end_of(day: date) -> datetime:
    """The last second of a day in New York, in UTC."""
    return datetime.combine(day, datetime.max.time().replace(microsecond=0), NEW_YORK).astimezone(UTC)
