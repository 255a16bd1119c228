"""Market data: bars, quotes, trades and snapshots of stocks, options and crypto, as of the broker's clock.

Nothing later than the clock is told. A quote stands a cent to either side of the last price; sizes are made up.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.fake_alpaca import actions
from tests.fake_alpaca.history import moment
from tests.fake_alpaca.market import Bar, Point, is_crypto, is_option, midnight, new_york
from tests.fake_alpaca.orders import unprocessable
from tests.fake_alpaca.trading import Broker

Body = dict[str, Any]
UNITS = {"Min": 1, "T": 1, "Hour": 60, "H": 60}
KINDS = {"stocks": lambda s: not is_option(s) and not is_crypto(s), "options": is_option, "crypto": is_crypto}
CENT = Decimal("0.01")


def symbols(broker: Broker, kind: str, asked: dict[str, str]) -> list[str]:
    if not asked.get("symbols"):
        raise unprocessable("symbols is required")
    return sorted({s for s in asked["symbols"].split(",") if KINDS[kind](s) and broker.market.knows(s)})


def latest(broker: Broker, kind: str, what: str, asked: dict[str, str]) -> Body:
    """The newest quote, trade or bar of each symbol; one that never traded is left out."""
    found = {s: broker.market.last(s, broker.clock) for s in symbols(broker, kind, asked)}
    return {what: {s: one(broker, kind, what, s, point) for s, point in found.items() if point}}


def one(broker: Broker, kind: str, what: str, symbol: str, point: Point) -> Body:
    return {"quotes": quote, "trades": trade}.get(what, minute_bar)(kind, point)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def quote(kind: str, point: Point) -> Body:
    bid, ask = max(point.price - CENT, CENT), point.price + CENT
    body: Body = {"t": _time(point.at), "bp": float(bid), "bs": 2, "ap": float(ask), "as": 3}
    if kind == "crypto":
        return body | {"bs": 1.5, "as": 1.25}
    body |= {"ax": "Q", "bx": "K"}
    return body | ({"c": ["R"], "z": "C"} if kind == "stocks" else {"c": "A"})


def trade(kind: str, point: Point) -> Body:
    number = int(point.at.timestamp() * 1000) % 10**9
    body: Body = {"t": _time(point.at), "p": float(point.price), "s": 100}
    if kind == "crypto":
        return body | {"s": 0.25, "tks": "B", "i": number}
    body["x"] = "V"
    return body | ({"c": ["@"], "i": number, "z": "C"} if kind == "stocks" else {"c": "I"})


def minute_bar(kind: str, point: Point) -> Body:
    return _bar(point.at.replace(second=0, microsecond=0), Bar(point.price, point.price, point.price, point.price, 100))


def _bar(at: datetime, bar: Bar, factor: Decimal = Decimal(1), shares: Decimal = Decimal(1)) -> Body:
    opened, high, low, close = (float(round(price * factor, 4)) for price in bar[:4])
    middle = float(round(sum(bar[:4], Decimal(0)) / 4 * factor, 6))
    volume = int(bar.volume * shares)
    return {
        "t": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "o": opened, "h": high, "l": low, "c": close, "v": volume, "n": volume // 100 + 1, "vw": middle,
    }  # fmt: skip


def _timeframe(text: str) -> int:
    """Minutes of a bar; 0 for a day.

    Errors   Refused.
    """
    unit = text.lstrip("0123456789")
    count = text[: len(text) - len(unit)] or "1"
    if unit in ("Day", "D") and count == "1":
        return 0
    if unit in UNITS and 0 < int(count) < 60:
        return int(count) * UNITS[unit]
    raise unprocessable(f"invalid timeframe: {text} (minutes, hours and 1Day are known here)")


def _factors(broker: Broker, symbol: str, adjustment: str, day: date) -> tuple[Decimal, Decimal]:
    """What a day's price, and its volume, are multiplied with to be comparable with today's."""
    price, shares = Decimal(1), Decimal(1)
    today = new_york(broker.clock)
    for action in broker.books.actions.values():
        ex_date = date.fromisoformat(action[actions.KINDS[action["type"]][1]])
        if action.get("symbol") != symbol or not day < ex_date <= today:
            continue
        if action["type"] in ("forward_split", "reverse_split", "stock_dividend") and adjustment in ("split", "all"):
            rate = actions.becomes(action, symbol)[1]
            price, shares = price / rate, shares * rate
        elif action["type"] == "cash_dividend" and adjustment in ("dividend", "all"):
            before = broker.market.close_before(symbol, midnight(ex_date) + timedelta(hours=12))
            price *= 1 - Decimal(action["rate"]) / before if before else Decimal(1)
    return price, shares


def bars(broker: Broker, kind: str, asked: dict[str, str], only: str = "") -> Body:
    """A page of bars, by symbol and time."""
    adjustment = asked.get("adjustment", "raw")
    if adjustment not in ("raw", "split", "dividend", "all"):
        raise unprocessable(f"invalid adjustment: {adjustment}")
    minutes = _timeframe(asked.get("timeframe", "1Day"))
    first, last = _span(broker, asked)
    wanted = [only] if only else symbols(broker, kind, asked)

    def rows() -> Iterator[tuple[str, Body]]:
        for symbol in wanted:
            made = (
                _daily(broker, symbol, first, last, adjustment)
                if minutes == 0
                else _intraday(broker, symbol, minutes, first, last)
            )
            for row in reversed(list(made)) if asked.get("sort") == "desc" else made:
                yield symbol, row

    return _page("bars", rows(), asked, only)


def _span(broker: Broker, asked: dict[str, str]) -> tuple[datetime, datetime]:
    first = moment(asked["start"], "start") if "start" in asked else midnight(new_york(broker.clock))
    last = moment(asked["end"], "end") if "end" in asked else broker.clock
    if "end" in asked and len(asked["end"]) == 10:
        last += timedelta(days=1) - timedelta(microseconds=1)
    return first, min(last, broker.clock)


def _daily(broker: Broker, symbol: str, first: datetime, last: datetime, adjustment: str) -> Iterator[Body]:
    for session in broker.market.exchange.between(new_york(first), new_york(last)):
        at = midnight(session.date)
        if not first <= at <= last or session.opens > broker.clock:
            continue
        if bar := broker.market.day(symbol, session, broker.clock):
            factors = (
                (Decimal(1), Decimal(1)) if adjustment == "raw" else _factors(broker, symbol, adjustment, session.date)
            )
            yield _bar(at, bar, *factors)


def _intraday(broker: Broker, symbol: str, minutes: int, first: datetime, last: datetime) -> Iterator[Body]:
    groups: dict[datetime, list[Decimal]] = {}
    for point in broker.market.points(symbol, first - timedelta(microseconds=1), last):
        start = midnight(new_york(point.at))
        steps = int((point.at - start) / timedelta(minutes=minutes))
        groups.setdefault(start + timedelta(minutes=minutes * steps), []).append(point.price)
    for at, prices in groups.items():
        yield _bar(at, Bar(prices[0], max(prices), min(prices), prices[-1], 100 * len(prices)))


def past(broker: Broker, kind: str, what: str, asked: dict[str, str]) -> Body:
    """Quotes or trades of a span, each point of the price path one."""
    first, last = _span(broker, asked)

    def rows() -> Iterator[tuple[str, Body]]:
        for symbol in symbols(broker, kind, asked):
            for point in broker.market.points(symbol, first - timedelta(microseconds=1), last):
                yield symbol, one(broker, kind, what, symbol, point)

    return _page(what, rows(), asked)


def _page(what: str, rows: Iterator[tuple[str, Body]], asked: dict[str, str], only: str = "") -> Body:
    limit = int(asked.get("limit", 1000))
    if not 1 <= limit <= 10_000:
        raise unprocessable("limit must be between 1 and 10000")
    start = int(b64decode(asked["page_token"]).decode()) if asked.get("page_token") else 0
    found: dict[str, list[Body]] = {}
    token = None
    for n, (symbol, row) in enumerate(rows):
        if n == start + limit:
            token = b64encode(str(n).encode()).decode()
            break
        if n >= start:
            found.setdefault(symbol, []).append(row)
    body: Body = {what: found.get(only, []) if only else found, "next_page_token": token}
    return body | ({"symbol": only} if only else {})


def snapshots(broker: Broker, kind: str, asked: dict[str, str], of: list[str] | None = None) -> Body:
    """Latest quote and trade; of stocks and crypto the minute's, today's and yesterday's bar too."""
    exchange, now = broker.market.exchange, broker.clock
    found: Body = {}
    for symbol in of if of is not None else symbols(broker, kind, asked):
        point = broker.market.last(symbol, now)
        if point is None:
            continue
        found[symbol] = {"latestTrade": trade(kind, point), "latestQuote": quote(kind, point)}
        if kind == "options":
            continue
        days = [s for s in exchange.between(new_york(now) - timedelta(days=12), new_york(now)) if s.opens <= now]
        made = [(midnight(s.date), bar) for s in days if (bar := broker.market.day(symbol, s, now))]
        daily = [_bar(*row) for row in made[-2:]]
        names = ("prevDailyBar", "dailyBar")[-len(daily) :] if daily else ()
        found[symbol] |= {"minuteBar": minute_bar(kind, point), **dict(zip(names, daily, strict=True))}
    return found if kind == "stocks" else {"snapshots": found, "next_page_token": None}
