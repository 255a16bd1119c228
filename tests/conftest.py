"""The demo household in a home of its own. A finished day is run once; a test that changes it works on a copy.

`finished` is the demo as it ships. The homes that tests change read the same prices from a folder, since 2020 only:
a day on them takes half the time.
"""

import importlib.util
import shutil
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
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


def _new_house(home: Path, prices: Path | None = None) -> House:
    house = House(home)
    house.folder.mkdir(parents=True)
    for file in (*DEMO.glob("*.csv"), DEMO / "portfolio.toml"):
        shutil.copy(file, house.folder)
    if prices:
        house.edit("portfolio.toml", 'source = "skfolio"', f'source = "folder"\nfolder = "{prices}"')
    return house


@pytest.fixture(scope="session")
def closes() -> pl.DataFrame:
    """The bundled closes since 2020, as a folder of prices holds them: adjusted only."""
    found = importlib.util.find_spec("skfolio")
    assert found and found.origin
    file = Path(found.origin).parent / "datasets" / "data" / "sp500_dataset.csv.gz"
    wide = pl.read_csv(file, try_parse_dates=True).rename({"Date": "date"}).filter(pl.col("date") >= date(2020, 7, 1))
    return wide.unpivot(index="date", variable_name="ticker", value_name="adj_close").with_columns(
        close=pl.lit(None, pl.Float64), volume=pl.lit(None, pl.Int64)
    )


@pytest.fixture(scope="session")
def prices(closes: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(closes, tmp_path_factory.mktemp("prices"))


def folder_of(rows: pl.DataFrame, folder: Path) -> Path:
    """A folder of prices as Thresher reads it."""
    rows.write_parquet(folder / "us_x_daily_y.parquet")
    shutil.copy(DEMO / "securities.csv", folder)
    return folder


@pytest.fixture
def prices_of(tmp_path: Path) -> Callable[[pl.DataFrame], Path]:
    """A folder made of other prices."""

    def made(rows: pl.DataFrame) -> Path:
        (tmp_path / "prices").mkdir()
        return folder_of(rows, tmp_path / "prices")

    return made


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The demo as it ships: the default day, finished, with its report. To be read only."""
    house = _new_house(tmp_path_factory.mktemp("finished") / "home")
    house.done = daily(house.settings(), date(2022, 10, 14))
    return house


@pytest.fixture(scope="session")
def booked(prices: Path, tmp_path_factory: pytest.TempPathFactory) -> House:
    """The two sessions before the default day, booked and never decided on. To be read only."""
    house = _new_house(tmp_path_factory.mktemp("booked") / "home", prices)
    assert backfill(house.settings(), date(2022, 10, 12), date(2022, 10, 13)) == 2
    return house


@pytest.fixture(scope="session")
def _done(prices: Path, tmp_path_factory: pytest.TempPathFactory) -> House:
    house = _new_house(tmp_path_factory.mktemp("done") / "home", prices)
    house.run(date(2022, 10, 14))
    return house


@pytest.fixture
def house(prices: Path, tmp_path: Path) -> House:
    """A home in which nothing was booked yet."""
    return _new_house(tmp_path / "home", prices)


@pytest.fixture
def day_before(booked: House, tmp_path: Path) -> House:
    """A home in which the default day is next."""
    return booked.copy(tmp_path / "before")


@pytest.fixture
def day_after(_done: House, tmp_path: Path) -> House:
    """A home in which the default day is finished."""
    return _done.copy(tmp_path / "after")
