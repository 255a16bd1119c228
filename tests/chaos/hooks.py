"""The boundaries of a process, counted; at one of them it is killed, or its broker is.

Everything is put in here, in the child that is to die: around DuckDB's connection, the HTTP session, the publishing of the
snapshot and the stations.
"""

import gc
import os
import resource
import signal
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import duckdb
import requests

import flows.connectors.alpaca
import flows.daily
import flows.ingest
from flows.connectors.brokers.alpaca import AlpacaBroker
from flows.connectors.markets.alpaca import AlpacaMarket
from flows.day import Clock
from transforms import tables
from warehouse.db import Warehouse

LEFT_OUT = ("report", "taxes")  # stations that come after the orders, and move nothing
WRITES = ("INSERT", "DELETE", "UPDATE", "CREATE", "DROP", "CHECKPOINT", "ATTACH", "DETACH")
PLACES = ("a station", "a commit", "a write", "publishing", "a request", "an order", "a cancel")
BOUNDARIES = (*(f"{when} {what}" for what in PLACES for when in ("before", "after")), "while publishing")


class Meets(NamedTuple):
    """What happens to a process. Units: hours, seconds; `disk` is a part of the warehouse's size."""

    killed_at: tuple[str, int] | None = None  # a boundary, and the how-manieth time
    broker_dies_at: int | None = None  # before that request
    clock_hours: float = 0
    clock_from: int = 0  # the clock is wrong from that reading on
    disk: float | None = None
    patience: float = 60.0


class Hooks:
    """`reached` counts; `counts` are told to whoever plans the next fault."""

    def __init__(self, meets: Meets, broker_pid: int):
        self.meets, self.broker_pid = meets, broker_pid
        self.counts: Counter[str] = Counter()
        self.broker_died = False

    def reached(self, boundary: str) -> None:
        self.counts[boundary] += 1
        if (boundary, self.counts[boundary]) == self.meets.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def step(self, station: Callable[..., Any], *given: Any) -> Any:
        if station.__name__ in LEFT_OUT:
            return None
        self.reached("before a station")
        result = station(*given)
        self.reached("after a station")
        return result

    def put_in(self, home: Any, clock: Clock) -> None:
        """Count everything from here on.

        Omits    the arrivals' expectations (a second a run) and the contracts of core tables: neither decides anything.
        """
        _count_http(self)
        _count_warehouse(self)
        gc.disable()
        flows.ingest.check_arrivals = lambda *_: {}  # type: ignore[assignment]
        flows.daily.told = iter  # type: ignore[assignment] - how far a run is: nobody reads it here
        tables.checked = lambda frame, contract: frame.select(list(contract.columns))  # type: ignore[assignment]
        flows.connectors.alpaca.TIMEOUT = (5.0, self.meets.patience)
        pause = (
            flows.connectors.alpaca._pause
        )  # it is spread by the address, and the broker's port is another every time
        flows.connectors.alpaca._pause = lambda url, attempt: pause(urlsplit(url).path, attempt)
        for connector in (AlpacaBroker, AlpacaMarket):
            connector.__init__.__defaults__ = (clock.sleep,)  # type: ignore[attr-defined]
        if self.meets.disk is not None:
            file = home / "warehouse.duckdb"
            limit = int((file.stat().st_size if file.exists() else 1_000_000) * self.meets.disk)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


class Time:
    """The time at the broker, as a process sees it; waiting lets it go by."""

    def __init__(self, at: datetime, advance: Callable[[float], None], meets: Meets):
        self._at, self._advance, self._meets, self._readings = at, advance, meets, 0

    @property
    def clock(self) -> Clock:
        return Clock(self.now, self.sleep)

    def now(self) -> datetime:
        self._readings += 1
        wrong = timedelta(hours=self._meets.clock_hours if self._readings > self._meets.clock_from else 0)
        return (self._at + wrong).astimezone(UTC).replace(tzinfo=None)

    def sleep(self, seconds: float) -> None:
        self._at += timedelta(seconds=seconds)
        self._advance(seconds)


class Connection:
    """DuckDB's connection; what it writes is counted."""

    def __init__(self, real: Any, hooks: Hooks):
        self._real, self._hooks, self._is_inside = real, hooks, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __enter__(self) -> "Connection":
        self._real.__enter__()
        return self

    def __exit__(self, *given: Any) -> Any:
        return self._real.__exit__(*given)

    def execute(self, statement: str, *given: Any) -> Any:
        word = statement.split(None, 1)[0].rstrip(";").upper()
        what = "a commit" if word == "COMMIT" else "a write" if word in WRITES and not self._is_inside else ""
        if what:
            self._hooks.reached(f"before {what}")
        result = self._real.execute(statement, *given)
        if word in ("BEGIN", "COMMIT", "ROLLBACK"):
            self._is_inside = word == "BEGIN"
        if what:
            self._hooks.reached(f"after {what}")
        return result


def _count_warehouse(hooks: Hooks) -> None:
    connect, publish, replace = duckdb.connect, Warehouse.publish, os.replace

    def publishing(self: Warehouse, *given: Any) -> None:
        hooks.reached("before publishing")
        publish(self, *given)
        hooks.reached("after publishing")

    def replacing(*given: Any) -> None:
        hooks.reached("while publishing")
        replace(*given)

    def connecting(*given: Any, **named: Any) -> Connection:
        connection = connect(*given, **named)
        connection.execute("SET threads = 1")  # so small a warehouse is done faster by one
        return Connection(connection, hooks)

    duckdb.connect = connecting  # type: ignore[assignment]
    Warehouse.publish = publishing  # type: ignore[method-assign]
    os.replace = replacing  # type: ignore[assignment]


def _count_http(hooks: Hooks) -> None:
    send, requests_made = requests.Session.send, Counter[str]()

    def sending(self: requests.Session, request: requests.PreparedRequest, **named: Any) -> requests.Response:
        is_order = request.method == "POST" and urlsplit(request.url or "").path == "/v2/orders"
        what = "an order" if is_order else "a cancel" if request.method == "DELETE" else "a request"
        hooks.reached(f"before {what}")
        requests_made["all"] += 1
        if requests_made["all"] == hooks.meets.broker_dies_at:
            os.kill(hooks.broker_pid, signal.SIGKILL)
            hooks.broker_died = True
        answer = send(self, request, **named)
        hooks.reached(f"after {what}")
        return answer

    requests.Session.send = sending  # type: ignore[method-assign,assignment]
