"""HTTP on one connection after another, by hand: a fault must be able to close a connection at any point, and a server that
only ever talks to one client on loopback needs no more.
"""

import asyncio
import json
import sys
import traceback
from collections import deque
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

from tests.fake_alpaca import faults
from tests.fake_alpaca.books import Account
from tests.fake_alpaca.controls import Request, keys
from tests.fake_alpaca.orders import Refused
from tests.fake_alpaca.routes import route
from tests.fake_alpaca.trading import Broker

REASONS = {200: "OK", 204: "No Content", 207: "Multi-Status", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
REASONS |= {405: "Method Not Allowed", 400: "Bad Request", 422: "Unprocessable Entity", 429: "Too Many Requests"}
REASONS |= {500: "Internal Server Error", 503: "Service Unavailable", 504: "Gateway Timeout"}
LONGEST = 4_000_000


class Server:
    """The broker behind its door: who asks, what is answered."""

    def __init__(self, broker: Broker):
        self.broker, self.faults = broker, faults.Faults()
        self._by_key: dict[str, tuple[str, str]] = {}

    def account(self, headers: dict[str, str]) -> Account:
        """
        Errors   Refused.
        """
        key, secret = headers.get("apca-api-key-id"), headers.get("apca-api-secret-key")
        if not key or not secret:
            raise Refused(401, 40110000, "request is not authorized")
        if len(self._by_key) != len(self.broker.books.accounts):
            made = {name: keys(self.broker.books.seed, name) for name in self.broker.books.accounts}
            self._by_key = {its: (own, name) for name, (its, own) in made.items()}
        own, name = self._by_key.get(key, ("", ""))
        if not own or own != secret:
            raise Refused(403, 40310000, "forbidden.")
        return self.broker.books.accounts[name]

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        """Carry a request out: on the disk before it is answered."""
        path, _, query = target.partition("?")
        path = unquote(path)
        try:
            self.broker.catch_up()
            account = None if path.startswith("/_admin") else self.account(headers)
            found, parts = route(method, path)
            try:
                given = json.loads(body) if body else {}
            except ValueError:
                raise Refused(400, 40010000, "request body format is invalid") from None
            if not isinstance(given, dict) and account is not None:
                raise Refused(400, 40010000, "request body format is invalid")
            asked: dict[str, str] = {}
            for name, value in parse_qsl(query, keep_blank_values=True):
                asked[name] = f"{asked[name]},{value}" if name in asked else value
            return found(Request(self.broker, self.faults, cast(Account, account), asked, given, parts))
        except Refused as refused:
            return refused.status, refused.body
        except Exception as wrong:  # a fault of the server's own is answered as one; what had happened is kept
            if path.startswith("/_admin") and isinstance(wrong, (KeyError, ValueError, TypeError, ArithmeticError)):
                return 422, {"code": 40010001, "message": f"{type(wrong).__name__}: {wrong}"}
            traceback.print_exc(file=sys.stderr)
            return 500, {"code": 50010000, "message": "internal server error occurred"}
        finally:
            self.broker.flush()


class Connection(asyncio.Protocol):
    """One client's connection: requests in, answers out in the same order."""

    def __init__(self, server: Server):
        self.server = server
        self.received = bytearray()
        self.waiting: deque[bool] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, received: bytes) -> None:
        self.received += received
        while not self.waiting and self._one_request():
            pass

    def _one_request(self) -> bool:
        """Answer the first request that is whole."""
        end = self.received.find(b"\r\n\r\n")
        if end < 0 or self.transport.is_closing():
            return False
        first, *lines = self.received[:end].decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = headers.get("content-length", "0")
        if first.count(" ") != 2 or not length.isdigit() or int(length) > LONGEST or "transfer-encoding" in headers:
            self._send(400, {"code": 40010000, "message": "bad request"}, close=True)
            return False
        whole = end + 4 + int(length)
        if len(self.received) < whole:
            return False
        body = bytes(self.received[end + 4 : whole])
        del self.received[:whole]
        method, target, _ = first.split(" ")
        self._serve(method, target, headers, body)
        return True

    def _serve(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        path = target.partition("?")[0]
        key = headers.get("apca-api-key-id", "")
        fault = None if path.startswith("/_admin") else self.server.faults.meeting(method, path, key)
        close = headers.get("connection", "").lower() == "close"
        status, answer = (0, None)
        if fault is None or fault.does_it:
            status, answer = self.server.answer(method, target, headers, body)
        if fault is None:
            self._send(status, answer, close=close)
        elif fault.kind in faults.STATUS:
            told = {"code": int(f"{fault.kind}10000"), "message": faults.STATUS[fault.kind]}
            retry = f"Retry-After: {max(1, round(fault.seconds))}\r\n" if fault.kind == "429" else ""
            self._send(int(fault.kind), told, close=close, more=retry)
        elif fault.kind == "slow":
            self.waiting.append(True)
            asyncio.get_running_loop().call_later(fault.seconds, self._send_late, status, answer, close)
        elif fault.kind in ("lost_answer", "refused"):
            self.transport.abort()
        elif fault.kind == "truncated":
            self._send(status, answer, close=True, half=True)
        else:
            rows = faults.disturbed(fault, answer) if isinstance(answer, list) else answer
            self._send(status, rows, close=close)

    def _send_late(self, status: int, answer: Any, close: bool) -> None:
        self._send(status, answer, close=close)
        self.waiting.popleft()
        self.data_received(b"")

    def _send(self, status: int, answer: Any, *, close: bool = False, half: bool = False, more: str = "") -> None:
        body = b"" if answer is None else json.dumps(answer, separators=(",", ":")).encode()
        head = (
            f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\nContent-Type: application/json; charset=UTF-8\r\n"
            f"Content-Length: {len(body)}\r\n{more}{'Connection: close' if close else 'Connection: keep-alive'}\r\n\r\n"
        )
        self.transport.write(head.encode("latin-1") + (body[: len(body) // 2] if half else body))
        if close:
            self.transport.close()


async def listen(server: Server, host: str, port: int) -> asyncio.Server:
    return await asyncio.get_running_loop().create_server(lambda: Connection(server), host, port)
