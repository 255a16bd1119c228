"""A real HTTP server on loopback that answers what a test wrote down, and remembers what it was asked."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit


class Asked(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class Answer(NamedTuple):
    """`body` as JSON, or as it stands when it is text. CUT breaks the connection, HANG does not answer in time."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = MappingProxyType({})


CUT, HANG = Answer(-1), Answer(-2)


class Scripted:
    """`says` an answer for a request, several for one request after the other; the last of them stays."""

    def __init__(self, url: str):
        self.url = url
        self.asked: list[Asked] = []
        self.ends = threading.Event()
        self._answers: dict[tuple[str, str], list[Answer]] = {}

    def says(self, method: str, path: str, *answers: Answer) -> None:
        self._answers[method, path] = list(answers)

    def next(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        known = self._answers.get((asked.method, asked.path))
        if not known:
            return Answer(404, {"code": 40410000, "message": f"nothing at {asked.path}"})
        return known.pop(0) if len(known) > 1 else known[0]

    def count(self, method: str, path: str) -> int:
        return sum((one.method, one.path) == (method, path) for one in self.asked)


@contextmanager
def scripted() -> Iterator[Scripted]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            split = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(
                self.command,
                split.path,
                dict(parse_qsl(split.query)),
                dict(self.headers),
                json.loads(sent) if sent else None,
            )
            answer = server.next(asked)
            if answer == HANG:
                server.ends.wait(20)
            if answer in (CUT, HANG):
                self.close_connection = True
                return
            text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            content = b"" if answer.body is None else text.encode()
            self.send_response_only(answer.status)
            for name, value in {"Content-Length": str(len(content)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do_PATCH = _answer  # noqa: N815 (http.server's names)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = Scripted(f"http://127.0.0.1:{http.server_address[1]}")
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.ends.set()
        http.shutdown()
        http.server_close()
