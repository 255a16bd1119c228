"""The demo household in a home of its own. A finished day is run once; a test that changes it works on a copy."""

import shutil
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

import flows.demo
from flows.daily import Done, backfill, daily
from flows.settings import Settings, load
from warehouse.db import reader, writer

DEMO = Path(flows.demo.__file__).parent
NOT_COPIED = shutil.ignore_patterns("backups", "expectations", "reports")


class House:
    """A THRESHER_HOME with the demo household in it, to be changed, run and asked."""

    def __init__(self, home: Path):
        self.home, self.folder = home, home / "demo"
        self.journal = self.folder / "simulated-orders.jsonl"
        self.done: Done | None = None

    def settings(self, prices: Path | None = None) -> Settings:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("THRESHER_HOME", str(self.home))
            return load(prices, demo=True)

    def run(self, as_of: date, *, prices: Path | None = None, known_at: datetime | None = None) -> str:
        """One day without its report; the summary that it prints."""
        self.done = daily(self.settings(prices), as_of, known_at, step=_without_report)
        return self.done.summary.plain()

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        (self.folder / name).write_text(text.replace(old, new))

    def add(self, name: str, *lines: str) -> None:
        with (self.folder / name).open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def ask(self, query: str) -> list[tuple]:
        """The rows of a query on the published snapshot."""
        with reader(self.folder / "snapshot.duckdb") as warehouse:
            return warehouse.rows(query).rows()

    def change(self, statement: str) -> None:
        """Change the warehouse behind Thresher's back."""
        with writer(self.folder / "warehouse.duckdb") as warehouse:
            warehouse.run(statement)

    def orders(self) -> list[str]:
        """What the simulated broker was told, a line an order."""
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def copy(self, home: Path) -> "House":
        shutil.copytree(self.home, home, ignore=NOT_COPIED)
        return House(home)


def _without_report(station: Callable[..., Any], *given: Any) -> Any:
    return None if station.__name__ == "report" else station(*given)


def _new_house(home: Path) -> House:
    house = House(home)
    house.folder.mkdir(parents=True)
    for file in (*DEMO.glob("*.csv"), DEMO / "portfolio.toml"):
        shutil.copy(file, house.folder)
    return house


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The default day, finished, with its report; to be read only."""
    house = _new_house(tmp_path_factory.mktemp("finished") / "home")
    house.done = daily(house.settings(), date(2022, 10, 14))
    return house


@pytest.fixture(scope="session")
def booked(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The two sessions before the default day, booked and never decided on; to be read only."""
    house = _new_house(tmp_path_factory.mktemp("booked") / "home")
    assert backfill(house.settings(), date(2022, 10, 12), date(2022, 10, 13)) == 2
    return house


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A home in which nothing was booked yet."""
    return _new_house(tmp_path / "home")


@pytest.fixture
def day_after(finished: House, tmp_path: Path) -> House:
    """A copy of the finished day's home."""
    return finished.copy(tmp_path / "after")


@pytest.fixture
def day_before(booked: House, tmp_path: Path) -> House:
    """A copy of the home in which the default day is next."""
    return booked.copy(tmp_path / "before")
