"""A household with two accounts at the local Alpaca, on prices that fall on the last day: one harvest is worth doing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from conftest import House, _without_report

from flows.calendar import sessions
from flows.daily import Done, daily, final
from flows.day import Clock
from flows.settings import Settings, read_portfolio
from tests.fake_alpaca.running import Running, running
from warehouse.db import reader

NEW_YORK = ZoneInfo("America/New_York")
BOUGHT, DAY, SESSION = date(2025, 11, 3), date(2026, 3, 2), date(2026, 3, 3)
PORTFOLIO = """
[household]
name = "The household at Alpaca"
filing_status = "mfj"
taxable_income_usd = 210000
linked = true
[prices]
source = "alpaca"
securities = "securities.csv"
[prices.alpaca]
key_name = "ALPACA_TAXABLE"
[harvest]
min_loss_usd = 100
[replacement]
lookback_sessions = 60
max_correlation = 1.0
[gates]
max_order_weight = 1.0
max_position_weight = 1.0
max_daily_turnover = 1.0
max_washed_usd = 0
max_washed_rate = 0
max_permanent_usd = 0
[orders]
poll_seconds = 20
work_minutes = 60
max_lapse_minutes = 5
collar_rate = 0.02
attempts = 3
"""
ACCOUNT = """
[[accounts]]
id = "{id}"
name = "{id}"
type = "{type}"
owner = "self"
broker = "alpaca"
mode = "{mode}"
[accounts.alpaca]
key_name = "ALPACA_{keys}"
"""
SECURITIES = {"ZAA": "One", "ZBB": "One", "ZCC": "Two", "ZDD": "Two"}


class AlpacaHouse(House):
    """`evening` decides on a day's close, `morning` carries it out; time goes by at the broker only when it is told to."""

    def __init__(self, home: Path, server: Running, mode: str = "auto"):
        super().__init__(home)
        self.folder, self.server = home, server
        self.meanwhile: Callable[[], object] = lambda: None  # what happens while Thresher waits
        if (home / "securities.csv").exists():
            return
        text = PORTFOLIO + "".join(
            ACCOUNT.format(id=name, type=kind, mode=mode, keys=name.upper())
            for name, kind in (("taxable", "taxable"), ("roth", "roth_ira"))
        )
        (home / "portfolio.toml").write_text(text)
        rows = [f"{name},{name} Inc.,{sector}" for name, sector in SECURITIES.items()]
        (home / "securities.csv").write_text("\n".join(("symbol,name,sector", *rows, "")))

    @property
    def clock(self) -> Clock:
        return Clock(self.now, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.meanwhile()
        self.server.admin("/clock", {"advance_seconds": seconds})

    def now(self) -> datetime:
        return self._at().astimezone(UTC).replace(tzinfo=None)

    def _at(self) -> datetime:
        return datetime.fromisoformat(self.server.admin("/clock")["timestamp"])

    def at(self, on: date, hour: int, minute: int = 0) -> None:
        """Move the broker's clock to a time in New York."""
        moment = datetime(on.year, on.month, on.day, hour, minute, tzinfo=NEW_YORK)
        self.server.admin("/clock", {"at": moment.isoformat()})

    def settings(self, prices: Path | None = None) -> Settings:
        file = self.home / "portfolio.toml"
        return Settings(home=self.home, portfolio_file=file, portfolio=read_portfolio(file))

    def evening(self, as_of: date = DAY) -> Done:
        self.at(as_of, 18, 15)
        return daily(self.settings(), as_of, self.now(), step=_without_report, clock=self.clock)

    def morning(self, on: date = SESSION, hour: int = 9, minute: int = 45) -> Done | None:
        self.at(on, hour, minute)
        return final(self.settings(), self.now(), step=_without_report, clock=self.clock)

    def told(self, kind: str) -> list[dict]:
        """What the broker wrote down of one kind."""
        return [line for line in self.server.admin("/journal") if line["kind"] == kind]

    def statuses(self) -> dict[tuple[str, str], tuple[str, float, int]]:
        rows = self.ask("SELECT side, security_id, status, filled, attempts FROM mart.orders WHERE session_on = "
                        "(SELECT max(session_on) FROM mart.orders)")  # fmt: skip
        return {(side, name): (status, float(filled), attempts) for side, name, status, filled, attempts in rows}

    def assert_books_are_the_brokers(self) -> None:
        """Shares and cash of the books as the broker's own server states them now."""
        for account, (key, secret) in self.server.keys.items():
            held = {row["symbol"]: row["qty"] for row in ask_as(self.server, key, secret, "/v2/positions")}
            cash = ask_as(self.server, key, secret, "/v2/account")["cash"]
            with reader(self.folder / "snapshot.duckdb") as warehouse:
                ours = warehouse.rows(
                    "SELECT security_id, sum(quantity) FROM core.lots WHERE account_id = $account GROUP BY ALL HAVING sum(quantity) <> 0",
                    account=account,
                )
                money = warehouse.value("SELECT cash_usd FROM mart.cash WHERE account_id = $account", account=account)
            assert {name: float(quantity) for name, quantity in ours.iter_rows()} == {
                n: float(q) for n, q in held.items()
            }
            assert float(money) == float(cash)


def ask_as(server: Running, key: str, secret: str, path: str, body: dict | None = None, method: str | None = None):
    import json
    from urllib.request import Request, urlopen

    request = Request(f"{server.address}{path}", None if body is None else json.dumps(body).encode(), method=method)
    request.add_header("APCA-API-KEY-ID", key)
    request.add_header("APCA-API-SECRET-KEY", secret)
    with urlopen(request, timeout=30) as answer:
        read = answer.read()
    return json.loads(read) if read else None


def price_table(file: Path) -> None:
    """Two sectors of two stocks that move together; on the last days the stocks of the first fall by a fifth."""
    random, days = Random(7), sessions(date(2025, 7, 1), SESSION + timedelta(days=20))
    lines = ["symbol,date,open,high,low,close,volume"]
    price = dict.fromkeys(SECURITIES, 100.0)
    for day in days:
        common = {sector: random.gauss(0, 0.01) for sector in dict.fromkeys(SECURITIES.values())}
        fall = 0.2 if day == DAY else 0.0
        for name, sector in SECURITIES.items():
            before = price[name]
            move = common[sector] + random.gauss(0, 0.002) - (fall if sector == "One" else 0)
            if day > DAY:
                move /= 20  # quiet sessions, in which limits are reached
            price[name] = round(before * (1 + move), 2)
            high, low = max(before, price[name]), min(before, price[name])
            opened = before if day <= DAY else round((before + price[name]) / 2, 2)
            lines.append(f"{name},{day},{opened:.2f},{high:.2f},{low:.2f},{price[name]:.2f},5000000")
    file.write_text("\n".join([*lines, ""]))


@contextmanager
def alpaca_house(
    folder: Path, *, cash: int = 100_000, quantity: int = 200, mode: str = "auto"
) -> Iterator[AlpacaHouse]:
    """The household at noon of the day of the fall, with ZAA bought in November; in a folder that was used before, as it was."""
    is_new = not (folder / "home").exists()
    if is_new:
        price_table(folder / "prices.csv")
        (folder / "home").mkdir(parents=True)
    clock = datetime(BOUGHT.year, BOUGHT.month, BOUGHT.day, 10, tzinfo=NEW_YORK).isoformat()
    options = ("--prices", str(folder / "prices.csv"), "--clock", clock, "--partial", "0", "--no-sync",
               "--account", f"taxable:{cash}", "--account", "roth:50000")  # fmt: skip
    with running(folder / "journal.jsonl", *options) as server, pytest.MonkeyPatch.context() as patch:
        for account, (key, secret) in server.keys.items():
            patch.setenv(f"ALPACA_{account.upper()}_API_KEY", key)
            patch.setenv(f"ALPACA_{account.upper()}_SECRET_KEY", secret)
        patch.setenv("THRESHER_ALPACA_URL", server.address)
        patch.setenv("THRESHER_ALPACA_DATA_URL", server.address)
        house = AlpacaHouse(folder / "home", server, mode)
        if is_new:
            key, secret = server.keys["taxable"]
            ask_as(
                server,
                key,
                secret,
                "/v2/orders",
                {"symbol": "ZAA", "qty": str(quantity), "side": "buy", "type": "market", "time_in_force": "day"},
            )
            house.at(BOUGHT, 12)
        yield house
