"""When the exchange trades, and what a security trades at.

A price path is what was told point by point (`told`), and for the days of a table a path through its open, low, high and
close: a point every half hour, the same in every run. Prices are as traded: whoever announces a split beside a table gives
a table that is not adjusted for it.
"""

import csv
import json
import os
import tempfile
from bisect import bisect_left, bisect_right, insort
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property, lru_cache
from hashlib import sha256
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
STEPS = 13  # half hours of a session
NAMES = {"symbol": ("symbol", "ticker"), "date": ("date", "session_on")}


class Session(NamedTuple):
    date: date
    opens: datetime
    closes: datetime


class Bar(NamedTuple):
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int


class Point(NamedTuple):
    at: datetime
    price: Decimal


def is_crypto(symbol: str) -> bool:
    return "/" in symbol


def is_option(symbol: str) -> bool:
    """
    >>> is_option("AAPL231103C00170000"), is_option("AAPL")
    (True, False)
    """
    return len(symbol) > 15 and symbol[-15:-9].isdigit() and symbol[-9] in "CP" and symbol[-8:].isdigit()


def new_york(at: datetime) -> date:
    return at.astimezone(NEW_YORK).date()


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)


def to_tick(price: Decimal) -> Decimal:
    """Cents from a dollar on, hundredths of a cent below."""
    return price.quantize(Decimal("0.01") if price >= 1 else Decimal("0.0001"), ROUND_HALF_UP)


class Exchange:
    """Sessions of the New York exchanges."""

    @cached_property
    def sessions(self) -> list[Session]:
        return [
            Session(date.fromisoformat(d), *(datetime.fromtimestamp(t, UTC) for t in span)) for d, *span in _hours()
        ]

    @cached_property
    def _opens(self) -> list[datetime]:
        return [session.opens for session in self.sessions]

    @cached_property
    def _closes(self) -> list[datetime]:
        return [session.closes for session in self.sessions]

    @cached_property
    def by_date(self) -> dict[date, Session]:
        return {session.date: session for session in self.sessions}

    def next_to_close(self, at: datetime) -> Session:
        """The session that is open, or the next one."""
        index = bisect_right(self._closes, at)
        if index == len(self.sessions):
            raise SystemExit(f"the exchange calendar ends on {self.sessions[-1].date}: update exchange-calendars")
        return self.sessions[index]

    def next_to_open(self, at: datetime) -> Session:
        return self.sessions[bisect_right(self._opens, at)]

    def last_closed(self, at: datetime) -> Session | None:
        index = bisect_right(self._closes, at)
        return self.sessions[index - 1] if index else None

    def is_open(self, at: datetime) -> bool:
        return self.next_to_close(at).opens <= at

    def between(self, first: date, last: date) -> list[Session]:
        return self.sessions[
            bisect_left(self.sessions, first, key=lambda s: s.date) : bisect_right(
                self.sessions, last, key=lambda s: s.date
            )
        ]

    def settles_on(self, at: datetime) -> date:
        """The session after the trade's."""
        return self.next_to_open(self.next_to_close(at).opens).date


def _hours() -> list[list]:
    """Every session as date, open and close (seconds); kept in a file, for the calendar takes a second to load."""
    known = Path(tempfile.gettempdir()) / f"fake-alpaca-sessions-{os.getuid()}-{version('exchange_calendars')}.json"
    try:
        return json.loads(known.read_text())
    except (FileNotFoundError, ValueError):
        import exchange_calendars

        hours = exchange_calendars.get_calendar("XNYS", start="1999-12-01").schedule
        rows = [
            [str(day.date()), int(o.timestamp()), int(c.timestamp())]
            for day, o, c in zip(hours.index, hours["open"], hours["close"], strict=True)
        ]
        draft = known.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(rows))
        draft.replace(known)
        return rows


class Table:
    """Daily prices of files: symbol or ticker, date or session_on, close, and open, high, low, volume where they are there."""

    def __init__(self, files: list[Path]):
        for file in files:
            if not file.exists():
                raise SystemExit(f"--prices: {file} does not exist")
        self._csv = [file for file in files if file.suffix == ".csv"]
        self._parquet = [file for file in files if file.suffix != ".csv"]

    @cached_property
    def _from_csv(self) -> dict[str, list[tuple]]:
        found: dict[str, list[tuple]] = {}
        for file in self._csv:
            with file.open(newline="") as lines:
                for row in csv.DictReader(lines):
                    symbol, day = (next(row[n] for n in NAMES[name] if n in row) for name in ("symbol", "date"))
                    values = (row.get(name) or None for name in ("open", "high", "low", "close", "volume"))
                    found.setdefault(symbol, []).append((date.fromisoformat(day), *values))
        return found

    @lru_cache(maxsize=4096)  # noqa: B019 - there is one table for the whole life of the program
    def _rows(self, symbol: str) -> dict[date, tuple]:
        """By day: open, high, low, close, volume as the file has them, and the close of the day before."""
        rows = self._from_csv.get(symbol, [])
        for file in self._parquet:
            import polars as pl

            columns = pl.read_parquet_schema(file)
            ticker, day = (next(n for n in NAMES[name] if n in columns) for name in ("symbol", "date"))
            wanted = [
                pl.col(n) if n in columns else pl.lit(None).alias(n) for n in ("open", "high", "low", "close", "volume")
            ]
            rows = rows + pl.scan_parquet(file).filter(pl.col(ticker) == symbol).select(day, *wanted).collect().rows()
        found: dict[date, tuple] = {}
        before = None
        for day, *values in sorted(rows, key=lambda row: row[0]):
            if values[3] is not None:
                found[day] = (*values, before)
                before = values[3]
        return found

    @lru_cache(maxsize=4096)  # noqa: B019
    def days(self, symbol: str) -> list[date]:
        return list(self._rows(symbol))

    @lru_cache(maxsize=20_000)  # noqa: B019
    def bar(self, symbol: str, day: date) -> Bar | None:
        row = self._rows(symbol).get(day)
        if row is None:
            return None
        opened, high, low, close, volume, before = row
        last = _price(close)
        # without an open the day begins a third of the way from yesterday's close to today's
        guess = last if before is None else to_tick((2 * _price(before) + last) / 3)
        first = guess if opened is None else _price(opened)
        top = max(_price(high) if high is not None else first, first, last)
        bottom = min(_price(low) if low is not None else first, first, last)
        return Bar(first, top, bottom, last, int(volume or 1_000_000))


def _price(value: float | str) -> Decimal:
    return to_tick(Decimal(value if isinstance(value, str) else repr(round(value, 4))))


class Market:
    def __init__(self, exchange: Exchange, table: Table):
        self.exchange, self._table = exchange, table
        self.told: dict[str, list[Point]] = {}

    def tell(self, symbol: str, at: datetime, price: Decimal) -> None:
        insort(self.told.setdefault(symbol, []), Point(at, price), key=lambda point: point.at)

    def knows(self, symbol: str) -> bool:
        return symbol in self.told or bool(self._table.days(symbol))

    @lru_cache(maxsize=20_000)  # noqa: B019
    def _path(self, symbol: str, session: Session) -> tuple[Point, ...]:
        """A day's points: open, the two extremes in the order of a coin, close."""
        bar = self._table.bar(symbol, session.date)
        if bar is None:
            return ()
        low_first = sha256(f"{symbol}{session.date}".encode()).digest()[0] % 2
        corners = [(0, bar.open), (4, bar.low if low_first else bar.high), (9, bar.high if low_first else bar.low)]
        corners.append((STEPS, bar.close))
        length = session.closes - session.opens
        return tuple(
            Point(session.opens + length * step / STEPS, to_tick(was + (will - was) * (step - start) / (end - start)))
            for (start, was), (end, will) in pairwise(corners)
            for step in range(start + (start > 0), end + 1)
        )

    def points(self, symbol: str, after: datetime, until: datetime) -> list[Point]:
        """Its prices in (after, until], in time order."""
        told = self.told.get(symbol, [])
        found = told[bisect_right(told, after, key=_at) : bisect_right(told, until, key=_at)]
        days = self._table.days(symbol)
        first, last = bisect_left(days, new_york(after)), bisect_right(days, new_york(until))
        for day in days[first:last]:
            if session := self.exchange.by_date.get(day):
                found = found + [point for point in self._path(symbol, session) if after < point.at <= until]
        return sorted(found, key=_at)

    def next_point(self, symbol: str, after: datetime) -> datetime | None:
        told = self.told.get(symbol, [])
        index = bisect_right(told, after, key=_at)
        found = [told[index].at] if index < len(told) else []
        days = self._table.days(symbol)
        for day in days[bisect_left(days, new_york(after)) :][:4]:
            session = self.exchange.by_date.get(day)
            if session and session.closes > after:
                found.append(next(point.at for point in self._path(symbol, session) if point.at > after))
                break
        return min(found, default=None)

    def last(self, symbol: str, at: datetime) -> Point | None:
        """What it last traded at."""
        told = self.told.get(symbol, [])
        index = bisect_right(told, at, key=_at)
        found = [told[index - 1]] if index else []
        days = self._table.days(symbol)
        for day in reversed(days[: bisect_right(days, new_york(at))][-4:]):
            session = self.exchange.by_date.get(day)
            if session and session.opens <= at:
                found.append([point for point in self._path(symbol, session) if point.at <= at][-1])
                break
        return max(found, key=_at, default=None)

    def price(self, symbol: str, at: datetime) -> Decimal | None:
        point = self.last(symbol, at)
        return point.price if point else None

    def close_before(self, symbol: str, at: datetime) -> Decimal | None:
        """What it traded at when the last session before today's ended."""
        day = new_york(at)
        session = self.exchange.last_closed(midnight(day))
        return self.price(symbol, session.closes) if session else None

    def day(self, symbol: str, session: Session, until: datetime) -> Bar | None:
        """A session's bar, as far as it went."""
        bar = self._table.bar(symbol, session.date)
        if bar and until >= session.closes and not self.told.get(symbol):
            return bar
        points = self.points(symbol, session.opens - timedelta(microseconds=1), min(until, session.closes))
        if not points:
            return None
        prices = [point.price for point in points]
        return Bar(prices[0], max(prices), min(prices), prices[-1], bar.volume if bar else 100_000)


def _at(point: Point) -> datetime:
    return point.at
