"""The prices that the simulation trades at: the market's own, its future too, read by the year and remembered.

A price of a dollar and more is a whole number of cents, as on an exchange; below it four decimals, and below a cent nine.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

import polars as pl

from flows.connectors import Market
from flows.connectors.brokers.simulation.fills import Session

RECENT = timedelta(days=14)  # a price that is older says nothing of a day any more
LEAST_DIVIDEND = 0.00005  # of the price: below it lies the rounding of adjusted closes


class _Year(NamedTuple):
    """A year's prices by symbol and session; `rows_of` says where a symbol's rows begin, and how many there are."""

    rows: pl.DataFrame
    rows_of: dict[str, tuple[int, int]]
    sessions_of: dict[str, list[Session]]  # of the symbols that were asked for
    adjusted_on: frozenset[date]
    newest: date
    known_to: date  # it speaks so far, or was asked so far


class CorporateAction(NamedTuple):
    """What a company did. `payable_on` is the ex-date where the feed does not know it; `cash_usd` is USD a share."""

    id: str
    kind: str
    symbol: str
    on: date
    payable_on: date
    ratio: str = ""
    new_symbol: str = ""
    cash_usd: Decimal = Decimal(0)
    note: str = ""


class PriceTable:
    def __init__(self, market: Market):
        self._market = market
        self._years: dict[int, _Year] = {}
        self._actions: dict[int, tuple[date, list[CorporateAction]]] = {}
        self._latest: dict[tuple[str, date], Decimal | None] = {}
        self._derived: dict[tuple[int, date], list[CorporateAction]] = {}

    def look_again(self) -> None:
        """From now on what lies after a table's newest row is asked for anew: it may have grown."""
        self._years = {number: year._replace(known_to=year.newest) for number, year in self._years.items()}
        self._latest.clear()

    def sessions(self, symbol: str, after: date, until: date) -> Iterator[Session]:
        """The sessions in which a security traded, after a day and up to another; they end where the data end."""
        for number in range(after.year, until.year + 1):
            year = self._year(number, until)
            if not year.rows_of and number > after.year:
                return
            for session in self._sessions_of(year, symbol):
                if after < session.on <= until:
                    yield session

    def latest(self, symbol: str, day: date) -> Decimal | None:
        """The newest price that was known at the end of a day."""
        if (symbol, day) not in self._latest:
            recent = [session.close_usd for session in self.sessions(symbol, day - RECENT, day)]
            self._latest[symbol, day] = recent[-1] if recent else None
        return self._latest[symbol, day]

    def is_adjusted(self, day: date) -> bool:
        """True where the market has adjusted prices only: dividends are inside them and are not cash."""
        first = day - RECENT
        years = {first.year, day.year}
        return any(first < on <= day for number in years for on in self._year(number, day).adjusted_on)

    def corporate_actions(self, since: date, until: date) -> list[CorporateAction]:
        """What the market's own feed says, by ex-date; rows that cannot be read are left to those who check the feed."""
        found: list[CorporateAction] = []
        for number in range(since.year, until.year + 1):
            first, last = date(number, 1, 1), min(until, date(number, 12, 31))
            if number not in self._actions or self._actions[number][0] < last:
                rows = self._market.corporate_actions(first, last).rows
                self._actions[number] = last, [action for row in rows.iter_rows(named=True) if (action := _read(row))]
            found += [action for action in self._actions[number][1] if since <= action.on <= until]
        return found

    def derived_dividends(self, since: date, until: date) -> list[CorporateAction]:
        """Dividends that the adjusted closes imply: an adjusted close falls short of the close's own return by them.

        Omits    what a company pays in shares of another: it looks like a dividend; and dividends below 0.005 % of the price.
        """
        years = (self._dividends_of(number, until) for number in range(since.year, until.year + 1))
        return [action for year in years for action in year if since <= action.on <= until]

    def _sessions_of(self, year: _Year, symbol: str) -> list[Session]:
        if symbol not in year.sessions_of:
            rows = year.rows.slice(*year.rows_of.get(symbol, (0, 0))).select("session_on", "price", "volume")
            priced = (Session(on, _usd(price), volume) for on, price, volume in rows.iter_rows())
            year.sessions_of[symbol] = [session for session in priced if session.close_usd]
        return year.sessions_of[symbol]

    def _dividends_of(self, number: int, until: date) -> list[CorporateAction]:
        year = self._year(number, until)
        if (number, year.newest) not in self._derived:
            eve = self._year(number - 1, until).rows.group_by("symbol", maintain_order=True).tail(1)
            close, adjusted = pl.col("close_usd"), pl.col("adjusted_close_usd")
            found = (
                pl.concat([eve, year.rows])
                .sort("symbol", "session_on")
                .with_columns(
                    before=close.shift(1).over("symbol"),
                    kept=(adjusted / close).shift(1).over("symbol") / (adjusted / close),
                )
                .with_columns(cash=(pl.col("before") * (1 - pl.col("kept"))).round(4))
                .filter((pl.col("kept") < 1 - LEAST_DIVIDEND) & (pl.col("cash") > 0))
            )
            self._derived[number, year.newest] = [
                CorporateAction(
                    f"{symbol}-{on}", "dividend", symbol, on, on, cash_usd=Decimal(str(cash)),
                    note="derived from the adjusted closes",
                )
                for symbol, on, cash in found.select("symbol", "session_on", "cash").iter_rows()
            ]  # fmt: skip
        return self._derived[number, year.newest]

    def _year(self, number: int, until: date) -> _Year:
        """A year's prices; read again only for days that lie after its newest row and that it was not asked for."""
        last = date(number, 12, 31)
        if number in self._years and min(until, last) <= self._years[number].known_to:
            return self._years[number]
        price = pl.coalesce("close_usd", "adjusted_close_usd")
        rows = (
            self._market.prices(date(number, 1, 1), last)
            .rows.with_columns(price=price)
            .filter(pl.col("price").is_finite() & (pl.col("price") > 0))
            .unique(["symbol", "session_on"], keep="last")
            .sort("symbol", "session_on")
        )
        counts = rows.group_by("symbol", maintain_order=True).len()
        starts = counts.with_columns(first=pl.col("len").cum_sum() - pl.col("len"))
        newest: date = rows["session_on"].max() or date.min  # type: ignore[assignment]
        adjusted_on = rows.filter(pl.col("close_usd").is_null())["session_on"].unique()
        self._years[number] = _Year(
            rows,
            {symbol: (first, count) for symbol, count, first in starts.iter_rows()},
            {},
            frozenset(adjusted_on),
            newest,
            max(newest, min(until, last)),
        )
        return self._years[number]


def _usd(price: float) -> Decimal:
    """
    >>> _usd(270.84000244140626), _usd(0.51230001), _usd(0.0000123)
    (Decimal('270.84'), Decimal('0.5123'), Decimal('0.000012300'))
    """
    exact = Decimal(str(price))
    finest = "0.01" if exact >= 1 else "0.0001" if exact >= Decimal("0.01") else "0.000000001"
    return exact.quantize(Decimal(finest), ROUND_HALF_UP)


def _read(row: dict[str, str]) -> CorporateAction | None:
    try:
        on, cash = date.fromisoformat(row["on"]), Decimal(row["cash_usd"] or 0)
        payable_on = date.fromisoformat(row.get("payable_on") or row["on"])
    except (ValueError, ArithmeticError):
        return None
    if not cash.is_finite() or not row["symbol"]:
        return None
    return CorporateAction(row["id"], row["kind"], row["symbol"], on, payable_on, row["ratio"], row["new_symbol"], cash)
