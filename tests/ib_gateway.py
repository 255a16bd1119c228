"""A gateway of Interactive Brokers for tests, on loopback: it keeps orders, executions, shares and cash.

It speaks as much of the socket protocol (server version 176: length, then fields ended by NUL) as the connector asks. It
shows that our wiring is right, not how Interactive Brokers behaves: it fills when the test says so. Beside it a Flex web
service, which answers what it is given.
"""

import asyncio
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from zlib import crc32
from zoneinfo import ZoneInfo

import pytest

from flows.accounts import Account, Ibkr
from flows.connectors.brokers import ibkr

NEW_YORK = ZoneInfo("America/New_York")
VERSION = 176
TOKEN = "304567890123456789"
POSITIONS, OPEN, ALL_OPEN, TIME, PLACE, CANCEL, DETAILS, EXECUTIONS, START = 61, 5, 16, 49, 3, 4, 9, 7, 71
COMPLETED, SUMMARY, HISTORY, QUOTE = 99, 62, 20, 1


@dataclass
class Placed:
    order_id: int
    client_id: int
    symbol: str
    action: str
    quantity: Decimal
    kind: str
    limit: str
    tif: str
    account: str
    ref: str
    cash_quantity: str
    status: str = "Submitted"
    filled: Decimal = Decimal(0)

    @property
    def perm_id(self) -> int:
        return 1_000_000 + self.order_id

    @property
    def is_open(self) -> bool:
        return self.status in ("PreSubmitted", "Submitted")


@dataclass
class Executed:
    id: str
    order: Placed
    quantity: Decimal
    price: Decimal
    commission: Decimal
    at: datetime


@dataclass
class Gateway:
    """What it does when it is asked is in its fields; change them while it runs."""

    now: datetime = datetime(2026, 11, 20, 16, 30, tzinfo=NEW_YORK)
    account: str = "DU1234567"
    accounts: tuple[str, ...] = ()
    cash: Decimal = Decimal("100000.00")
    settled: Decimal = Decimal("100000.00")
    held: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)  # symbol -> shares, average cost
    known: set[str] = field(default_factory=lambda: {"SPY", "VTI", "BRK B"})
    bars: dict[tuple[str, str], list[tuple[str, str, str]]] = field(
        default_factory=dict
    )  # symbol, kind -> day, close, volume
    quotes: dict[str, tuple[str, str, str, int]] = field(default_factory=dict)  # symbol -> bid, ask, last, type of data
    refuses: str = ""  # what it says to every new order
    tells_commissions: bool = True
    greets: bool = True
    silent_to: set[int] = field(default_factory=set)  # messages that it does not answer
    drops_on: Counter[int] = field(default_factory=Counter)  # message -> how often it hangs up instead of answering
    loses_answer_to: Counter[int] = field(default_factory=Counter)  # message -> how often it does it, then hangs up
    orders: list[Placed] = field(default_factory=list)
    executions: list[Executed] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    port: int = 0

    def fill(
        self, ref: str, price: str, quantity: str = "", commission: str = "1.00", at: datetime | None = None
    ) -> str:
        """Fill an open order, or a part of it; the execution's id."""
        order = next(o for o in self.orders if o.ref == ref and o.is_open)
        shares = Decimal(quantity) if quantity else order.quantity - order.filled
        one = Executed(
            f"0000e0d5.{len(self.executions) + 1:08x}.01.01",
            order,
            shares,
            Decimal(price),
            Decimal(commission),
            at or self.now,
        )
        self.executions.append(one)
        order.filled += shares
        if order.filled == order.quantity:
            order.status = "Filled"
        sign = 1 if order.action == "BUY" else -1
        self.cash -= sign * shares * one.price + one.commission
        before, cost = self.held.get(order.symbol, (Decimal(0), Decimal(0)))
        after = before + sign * shares
        if sign > 0:
            cost = (before * cost + shares * one.price + one.commission) / after
        self.held[order.symbol] = (after, cost)
        if not after:
            del self.held[order.symbol]
        return one.id

    def correct(self, execution_id: str, price: str) -> None:
        """Send a fill once more, at another price, under the next revision of its id."""
        old = next(e for e in self.executions if e.id == execution_id)
        stem, revision = execution_id.rsplit(".", 1)
        new = Executed(
            f"{stem}.{int(revision) + 1:02d}", old.order, old.quantity, Decimal(price), old.commission, old.at
        )
        self.executions.append(new)

    def end(self, ref: str, status: str = "Cancelled") -> None:
        next(o for o in self.orders if o.ref == ref and o.is_open).status = status

    def settings(self, **other: object) -> Ibkr:
        return Ibkr(**{"port": self.port, "patience_seconds": 1.0, "flex_query": "123456", **other})  # type: ignore[arg-type]

    @contextmanager
    def running(self) -> Iterator["Gateway"]:
        loop, ready = asyncio.new_event_loop(), threading.Event()

        async def listen() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()

        def run() -> None:
            loop.create_task(listen())
            loop.run_forever()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        ready.wait(5)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = 0

        def send(*fields: object) -> None:
            body = "".join(f"{one}\0" for one in fields).encode()
            writer.write(struct.pack(">I", len(body)) + body)

        try:
            await reader.readexactly(4)  # API and a NUL
            await _message(reader)
            if self.greets:
                send(VERSION, "20261120 16:30:00 EST")
            while True:
                fields = await _message(reader)
                code = int(fields[0])
                self.asked.append(code)
                if self.drops_on[code] > 0:
                    self.drops_on[code] -= 1
                    return
                if code in self.silent_to:
                    continue
                if code == START:
                    client = int(fields[2])
                lost = self.loses_answer_to[code] > 0
                ANSWERS.get(code, _nothing)(self, fields, client, (lambda *_: None) if lost else send)
                if lost:
                    self.loses_answer_to[code] -= 1
                    return
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()


Send = Callable[..., None]


async def _message(reader: asyncio.StreamReader) -> list[str]:
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    return (await reader.readexactly(length)).decode().split("\0")[:-1] if length else []


def _nothing(gateway: Gateway, fields: list[str], client: int, send: Send) -> None:
    pass


def _start(gateway: Gateway, fields: list[str], client: int, send: Send) -> None:
    send(15, 1, ",".join(gateway.accounts or (gateway.account,)))
    send(9, 1, max((o.order_id for o in gateway.orders), default=0) + 1)


def _stock(symbol: str) -> list[object]:
    return [crc32(symbol.encode()), symbol, "STK", "", 0, "", "", "SMART", "USD", symbol, symbol]


def _positions(gateway: Gateway, fields: list[str], client: int, send: Send) -> None:
    for symbol, (shares, cost) in gateway.held.items():
        send(61, 3, gateway.account, *_stock(symbol), shares, cost)
    send(62, 1)


def _time(gateway: Gateway, fields: list[str], client: int, send: Send) -> None:
    send(49, 1, int(gateway.now.timestamp()))


def _details(gateway: Gateway, fields: list[str], client: int, send: Send) -> None:
    number, symbol, kind, local = fields[2], fields[4], fields[5], fields[13]
    name = symbol or local
    if name not in gateway.known:
        send(4, 2, number, 200, "No security definition has been found for the request", "")
        return
    head = [
        10,
        number,
        symbol or name.split()[0],
        kind,
        "",
        0,
        "",
        "SMART",
        "USD",
        name,
        name,
        name,
        crc32(name.encode()),
        0.01,
    ]
    send(*head, "", "", "SMART", 1, 0, name, "ARCA", *[""] * 9, 0, *[""] * 6, 1, 1, 1)
    send(52, 1, number)


def _open(gateway: Gateway, fields: list[str], client: int, send: Send) -> None:
    for order in gateway.orders:
        if order.is_open:
            _tell(order, send)
    send(53, 1)


def _tell(o: Placed, send: Send) -> None:
    send(
        5, o.order_id, *_stock(o.symbol), o.action, o.quantity, o.kind, o.limit, "", o.tif, "", o.account, "", 0, o.ref,
        o.client_id, o.perm_id, 0, 0, 0, *[""] * 6, *[""] * 29, *[""] * 7, 0, 0, 0, *[""] * 4, *[""] * 4, 0, "",
        0, 0, o.status, *[""] * 12, "USD", "", 0, 0, 0, *[""] * 16, "", "", "", *[""] * 5,
    )  # fmt: skip
    send(3, o.order_id, o.status, o.filled, o.quantity - o.filled, 0, o.perm_id, 0, 0, o.client_id, "", 0)


def _completed(gateway: Gateway, fields: list[str], client: int, send: Send) -> None:
    for o in gateway.orders:
        if not o.is_open:
            send(
                101, *_stock(o.symbol), o.action, o.quantity, o.kind, o.limit, "", o.tif, "", o.account, "", 0, o.ref, o.perm_id,
                0, 0, 0, *[""] * 5, *[""] * 23, *[""] * 5, 0, 0, 0, *[""] * 4, *[""] * 3, 0, "", 0, o.status, 0, 0, 0,
                *[""] * 6, o.filled, *[""] * 8, *[""] * 5,
            )  # fmt: skip
    send(102)


def _executions(gateway: Gateway, fields: list[str], client: int, send: Send) -> None:
    number = fields[2]
    for e in gateway.executions:
        o = e.order
        send(
            11, number, o.order_id, *_stock(o.symbol), e.id, f"{e.at.astimezone(NEW_YORK):%Y%m%d %H:%M:%S} US/Eastern", o.account,
            "ISLAND", "BOT" if o.action == "BUY" else "SLD", e.quantity, e.price, o.perm_id, o.client_id, 0, o.filled, e.price,
            o.ref, "", 0, "", 1,
        )  # fmt: skip
    send(55, 1, number)
    for e in gateway.executions if gateway.tells_commissions else ():
        send(59, 1, e.id, e.commission, "USD", 0, 0, "")


def _summary(gateway: Gateway, fields: list[str], client: int, send: Send) -> None:
    worth = gateway.cash + sum((shares * cost for shares, cost in gateway.held.values()), Decimal(0))
    told = {
        "NetLiquidation": worth,
        "BuyingPower": gateway.cash * 4,
        "CashBalance": gateway.cash,
        "SettledCash": gateway.settled,
    }
    for tag, value in told.items():
        send(63, 1, fields[2], gateway.account, tag, value, "USD")
    send(63, 1, fields[2], gateway.account, "CashBalance", "17.5", "EUR")
    send(64, 1, fields[2])


def _place(gateway: Gateway, fields: list[str], client: int, send: Send) -> None:
    number, symbol = int(fields[1]), fields[12] or fields[3]
    if gateway.refuses:
        send(4, 2, number, 201, f"Order rejected - reason:{gateway.refuses}", "")
        return
    order = Placed(
        number, client, symbol, fields[16], Decimal(fields[17]), fields[18], fields[19], fields[21], fields[23], fields[26],
        fields[-14],
    )  # fmt: skip
    gateway.orders.append(order)
    _tell(order, send)


def _cancel(gateway: Gateway, fields: list[str], client: int, send: Send) -> None:
    for order in gateway.orders:
        if order.order_id == int(fields[2]) and order.is_open and order.client_id == client:
            order.status = "Cancelled"
            send(3, order.order_id, "Cancelled", order.filled, 0, 0, order.perm_id, 0, 0, client, "", 0)
            send(4, 2, order.order_id, 202, "Order Canceled - reason:", "")


def _history(gateway: Gateway, fields: list[str], client: int, send: Send) -> None:
    number, symbol, kind = fields[1], fields[3], fields[19]
    bars = gateway.bars.get((symbol, kind), [])
    if not bars:
        send(4, 2, number, 162, "Historical Market Data Service error message:HMDS query returned no data", "")
        return
    told = [one for day, close, volume in bars for one in (day, close, close, close, close, volume, close, 1)]
    send(17, number, "", "", len(bars), *told)


def _quote(gateway: Gateway, fields: list[str], client: int, send: Send) -> None:
    number, symbol = fields[2], fields[4]
    if symbol in gateway.quotes:
        bid, ask, last, kind = gateway.quotes[symbol]
        send(58, 1, number, kind)
        for tick, price in ((1, bid), (2, ask), (4, last)):
            send(1, 6, number, tick, price, 100, 0)
    send(57, 1, number)


ANSWERS: dict[int, Callable[[Gateway, list[str], int, Send], None]] = {
    START: _start, POSITIONS: _positions, TIME: _time, DETAILS: _details, OPEN: _open, ALL_OPEN: _open, COMPLETED: _completed,
    EXECUTIONS: _executions, SUMMARY: _summary, PLACE: _place, CANCEL: _cancel, HISTORY: _history, QUOTE: _quote,
}  # fmt: skip


@dataclass
class FlexService:
    """It answers GetStatement with the bodies that it is given, in their order, the last one for ever."""

    bodies: list[str]
    ordered: list[str] = field(default_factory=list)  # what it answers SendRequest, instead of a reference
    status: int = 200
    location: str = ""  # where its answers send one
    asked: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def running(self) -> Iterator["FlexService"]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                what, said = parts.path.rsplit("/", 1)[1], {k: v[0] for k, v in parse_qs(parts.query).items()}
                service.asked.append((what, said, self.headers["User-Agent"]))
                script = service.ordered if what == "SendRequest" else service.bodies
                body = (
                    script.pop(0)
                    if len(script) > 1 or (script and what == "SendRequest")
                    else (script or [REFERENCE])[0]
                )
                self.send_response(service.status)
                if service.location:
                    self.send_header("Location", service.location)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}/FlexWebService"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


REFERENCE = (
    "<FlexStatementResponse timestamp='20 November, 2026 04:30 PM EST'><Status>Success</Status>"
    "<ReferenceCode>987654321</ReferenceCode><Url>https://example.com/GetStatement</Url></FlexStatementResponse>"
)


def failed(code: int, words: str) -> str:
    said = f"<Status>Fail</Status><ErrorCode>{code}</ErrorCode><ErrorMessage>{words}</ErrorMessage>"
    return f"<FlexStatementResponse>{said}</FlexStatementResponse>"


def flex_statement(rows: str = "", to: str = "20261119", account: str = "DU1234567") -> str:
    return (
        f'<FlexQueryResponse queryName="all" type="AF"><FlexStatements count="1"><FlexStatement accountId="{account}" '
        f'fromDate="20260101" toDate="{to}" period="YearToDate" whenGenerated="20261120;033000">{rows}'
        "</FlexStatement></FlexStatements></FlexQueryResponse>"
    )


DEPOSIT = (
    '<CashTransactions><CashTransaction currency="USD" description="CASH RECEIPTS" dateTime="20260105" amount="100000" '
    'type="Deposits/Withdrawals" transactionID="100" levelOfDetail="DETAIL"/></CashTransactions>'
)


@contextmanager
def at_ibkr(
    monkeypatch: pytest.MonkeyPatch, gateway: Gateway | None = None, statement: str = "", **account: object
) -> Iterator[tuple[ibkr.IbkrBroker, Gateway]]:
    """A broker of the connector, at a gateway and a Flex service of their own."""
    made = gateway or Gateway()
    with made.running(), FlexService([statement or flex_statement(DEPOSIT)]).running() as service:
        monkeypatch.setenv("IBKR_FLEX_URL", service.url)
        monkeypatch.setenv("IBKR_FLEX_TOKEN", TOKEN)
        settings = Account(
            id="ibkr", name="at IBKR", type="taxable", owner="self", broker="ibkr", relief="after_trade",
            ibkr=made.settings(), **account,
        )  # type: ignore[arg-type]  # fmt: skip
        yield ibkr.IbkrBroker(settings), made
