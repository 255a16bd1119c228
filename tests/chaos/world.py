"""A household of three accounts at the local Alpaca, on prices that fall often enough for harvests; all drawn from a seed."""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

from flows.calendar import sessions
from flows.settings import Settings, read_portfolio
from tests.chaos.process import begun
from tests.fake_alpaca import __main__ as fake_alpaca
from tests.fake_alpaca.controls import keys

NEW_YORK = ZoneInfo("America/New_York")
HISTORY = timedelta(days=110)  # of prices before the first day: what replacements are chosen by
SECTORS = {"One": "A", "Two": "B", "Three": "C"}
SYMBOLS = {f"Z{letter}{n}": sector for sector, letter in SECTORS.items() for n in "ABCDEFGHIJ"}
ACCOUNTS = {  # type, owner, cash
    "taxable": ("taxable", "self", 60_000),
    "spouse": ("taxable", "spouse", 40_000),
    "roth": ("roth_ira", "self", 30_000),
}
PORTFOLIO = """
[household]
name = "The household of bad days"
filing_status = "mfj"
taxable_income_usd = 210000
linked = true
[prices]
source = "alpaca"
securities = "securities.csv"
[prices.alpaca]
key_name = "ALPACA_TAXABLE"
[harvest]
min_loss_usd = 20
min_loss_rate = 0.01
[replacement]
lookback_sessions = 60
min_correlation = 0.3
beta_range = [0.2, 5.0]
[risk]
max_drawdown = 1.0
lookback_sessions = 60
[gates]
max_order_weight = 1.0
max_position_weight = 1.0
max_daily_turnover = 1.0
max_price_age_sessions = 2
max_washed_usd = 0
max_washed_rate = 0
max_permanent_usd = 0
max_daily_short_gain_usd = 1000000
max_daily_long_gain_usd = 1000000
[orders]
poll_seconds = 240
work_minutes = 9
max_lapse_minutes = 12
collar_rate = 0.02
attempts = 3
"""
ACCOUNT = """
[[accounts]]
id = "{id}"
name = "{id}"
type = "{type}"
owner = "{owner}"
broker = "alpaca"
mode = "auto"
shares = "{shares}"
[accounts.alpaca]
key_name = "ALPACA_{keys}"
"""


class World:
    """The folder of a household and the broker beside it."""

    def __init__(self, folder: Path, seed: str, days: int):
        self.folder, self.home, self.seed = folder, folder / "home", seed
        self.random = Random(f"world {seed}")
        first = date(2023, 1, 2) + timedelta(days=self.random.randrange(900))
        self.days = sessions(first, first + timedelta(days=2 * days + 30))[: days + 1]
        self.home.mkdir(parents=True)
        self.broker = Broker(folder, seed, at(self.days[0], 9, 31))
        self.splits = self._prices()
        rows = [f"{name},{name} Inc.,{sector}" for name, sector in SYMBOLS.items()]
        (self.home / "securities.csv").write_text("\n".join(("symbol,name,sector", *rows, "")))
        text = PORTFOLIO + "".join(
            ACCOUNT.format(id=name, type=kind, owner=owner, keys=name.upper(),
                           shares="whole" if name == "spouse" else "fractional")
            for name, (kind, owner, _) in ACCOUNTS.items()
        )  # fmt: skip
        (self.home / "portfolio.toml").write_text(text)

    def _prices(self) -> dict[tuple[str, date], int]:
        """Write the table of prices, as traded; sectors move together, fall by steps, and some stock is split."""
        random = Random(f"prices {self.seed}")
        price = {name: random.uniform(30, 150) for name in SYMBOLS}
        splits = {
            (name, day): 2 for day in self.days[8:-2] if random.random() < 0.03 for name in [random.choice([*SYMBOLS])]
        }
        lines = ["symbol,date,open,high,low,close,volume"]
        for day in sessions(self.days[0] - HISTORY, self.days[-1] + timedelta(days=15)):
            fallen = random.choice([*SECTORS]) if random.random() < 0.15 else ""
            common = {name: random.gauss(-0.001, 0.014) - (0.05 if name == fallen else 0) for name in SECTORS}
            for name, sector in SYMBOLS.items():
                before = price[name] / splits.get((name, day), 1)
                opened = before * (1 + random.gauss(0, 0.004))
                close = max(before * (1 + common[sector] + random.gauss(0, 0.006)), 3.0)
                high, low = max(opened, close) * 1.004, min(opened, close) * 0.996
                price[name] = round(close, 2)
                lines.append(f"{name},{day},{opened:.2f},{high:.2f},{low:.2f},{close:.2f},5000000")
        (self.folder / "prices.csv").write_text("\n".join([*lines, ""]))
        return splits

    def settings(self) -> Settings:
        file = self.home / "portfolio.toml"
        return Settings(home=self.home, portfolio_file=file, portfolio=read_portfolio(file))


class Broker:
    """The local Alpaca as a process of its own: started, killed, started again on its journal at the same port."""

    def __init__(self, folder: Path, seed: str, at: datetime):
        self.journal, self._prices, self._seed, self._from = folder / "journal.jsonl", folder / "prices.csv", seed, at
        self.pid, self.port, self.at = 0, 0, at
        self.keys = {name: keys(seed, name) for name in ACCOUNTS}
        self._read, self._events = 0, []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        said = argparse.Namespace(
            journal=self.journal, prices=[self._prices], host="127.0.0.1", port=self.port, clock=self._from.isoformat(),
            seed=self._seed, partial=0.4, no_sync=True, account=[f"{name}:{cash}" for name, (_, _, cash) in ACCOUNTS.items()],
        )  # fmt: skip

        def serve(telling: int) -> None:
            os.dup2(telling, sys.stdout.fileno())
            sys.stdout = os.fdopen(sys.stdout.fileno(), "w", closefd=False)
            asyncio.run(fake_alpaca.serve(said))

        self.pid, told = begun(serve)
        with os.fdopen(told) as lines:
            first = lines.readline().split()
            if first[:2] != ["listening", "on"]:
                raise RuntimeError(f"the local Alpaca did not start: {first}")
            self.port = int(first[2].rpartition(":")[2])
            while not lines.readline().startswith("clock"):
                pass

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.gone()

    def gone(self) -> None:
        os.waitpid(self.pid, 0)
        self.pid = 0

    def admin(self, path: str, body: Any = None, method: str | None = None) -> Any:
        return asked(f"{self.address}/_admin{path}", body, method)

    def go_to(self, moment: datetime) -> None:
        """Let time go by; it never goes back."""
        if moment > self.at:
            self.admin("/clock", {"at": moment.isoformat()})
        self.look()

    def look(self) -> None:
        self.at = datetime.fromisoformat(self.admin("/clock")["timestamp"]).astimezone(UTC)

    def order(self, account: str, symbol: str, quantity: int) -> None:
        """An order that the household gave before there was a Thresher."""
        body = {"symbol": symbol, "qty": str(quantity), "side": "buy", "type": "market", "time_in_force": "day"}
        asked(f"{self.address}/v2/orders", body, keys=self.keys[account])

    def events(self) -> list[dict]:
        """The journal as it stands on the disk."""
        with self.journal.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        self._events += [json.loads(line) for line in new.splitlines()]
        return self._events


def asked(url: str, body: Any = None, method: str | None = None, keys: tuple[str, str] | None = None) -> Any:
    request = Request(url, None if body is None else json.dumps(body).encode(), method=method)
    if keys:
        request.add_header("APCA-API-KEY-ID", keys[0])
        request.add_header("APCA-API-SECRET-KEY", keys[1])
    with urlopen(request, timeout=120) as answer:
        read = answer.read()
    return json.loads(read) if read else None


def advancing(broker: Broker) -> Callable[[float], None]:
    """Lets time go by at the broker; one that is down misses it."""

    def advance(seconds: float) -> None:
        try:
            broker.admin("/clock", {"advance_seconds": seconds})
        except (URLError, ConnectionError):
            time.sleep(0)

    return advance


def at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=NEW_YORK).astimezone(UTC)
