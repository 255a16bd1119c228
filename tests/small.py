"""A small household known by its statements, on prices of a few sessions."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
from conftest import House, _without_report

from flows.daily import daily
from flows.settings import Settings, read_portfolio

HEAD = "id,at,kind,side,symbol,quantity,price_usd,fee_usd,amount_usd,lots"
PORTFOLIO = """
[household]
name = "The Smalls"
filing_status = "mfj"
taxable_income_usd = 210000
state_rate = 0.05
linked = true
[prices]
source = "folder"
folder = "prices"
"""
ACCOUNT = """
[[accounts]]
id = "{id}"
name = "{id}"
type = "{type}"
owner = "{owner}"
broker = "statements"
activities = "{id}.csv"
positions = "{id}-positions.csv"
{more}
"""


class Small(House):
    """`account` adds one, `run` books a day; prices are the same on every session."""

    def __init__(self, home: Path, prices: dict[str, float], kinds: dict[str, str] | None = None):
        super().__init__(home)
        self.folder = home
        self.portfolio = PORTFOLIO
        (home / "prices").mkdir(parents=True)
        self._prices = prices
        rows = [f"{name},{name} Inc.,{name} sector,{(kinds or {}).get(name, '')}" for name in prices]
        (home / "prices" / "securities.csv").write_text("\n".join(("symbol,name,sector,kind", *rows, "")))

    def account(self, name: str, *, type: str = "taxable", owner: str = "joint", more: str = "") -> None:
        self.portfolio += ACCOUNT.format(id=name, type=type, owner=owner, more=more)

    def says(self, name: str, *rows: str, columns: str = "") -> None:
        """The whole of an account's activities; `columns` are those of its kinds."""
        (self.home / f"{name}.csv").write_text("\n".join((HEAD + columns, *rows, "")))

    def holds(self, name: str, on: date, **held: str) -> None:
        """What the account's broker states; `usd` is its cash."""
        rows = [f"{'USD' if symbol == 'usd' else symbol},{quantity},{on}" for symbol, quantity in held.items()]
        (self.home / f"{name}-positions.csv").write_text("\n".join(("symbol,quantity,as_of", *rows, "")))

    def settings(self, prices: Path | None = None) -> Settings:
        file = self.home / "portfolio.toml"
        file.write_text(self.portfolio)
        return Settings(home=self.home, portfolio_file=file, portfolio=read_portfolio(file))

    def run(self, as_of: date, **_: object) -> str:
        days = [as_of - timedelta(days=n) for n in range(20)]
        rows = [
            (name, day, price, price, 1000) for name, price in self._prices.items() for day in days if day.weekday() < 5
        ]
        schema = {
            "ticker": pl.String,
            "date": pl.Date,
            "close": pl.Float64,
            "adj_close": pl.Float64,
            "volume": pl.Int64,
        }
        pl.DataFrame(rows, schema=schema, orient="row").write_parquet(self.home / "prices" / "us_x_daily_y.parquet")
        self.done = daily(self.settings(), as_of, step=_without_report)
        return self.done.summary.plain()
