"""Real prices that come with skfolio: 20 stocks of the S&P 500, daily, 1990 to 2022.

They are adjusted for splits and dividends, and there is no other close; the market says so. The file is read
without importing skfolio, which would load a solver and a learning library for nothing.
"""

import importlib.util
from collections.abc import Collection
from datetime import date
from pathlib import Path

import polars as pl

from flows.connectors import CORPORATE_ACTIONS, Delivery, Quote, Unavailable, no_rows, text_rows


class SkfolioMarket:
    def __init__(self, securities: Path):
        self._securities = securities

    def securities(self) -> Delivery:
        return Delivery("skfolio", "securities", None, text_rows(self._securities, ("symbol", "name", "sector")))

    def prices(self, since: date | None, until: date) -> Delivery:
        found = importlib.util.find_spec("skfolio")
        if found is None or found.origin is None:
            raise Unavailable("skfolio is not installed: make setup")
        file = Path(found.origin).parent / "datasets" / "data" / "sp500_dataset.csv.gz"
        wide = pl.read_csv(file, try_parse_dates=True).rename({"Date": "session_on"})
        wide = wide.filter(pl.col("session_on").is_between(since or date.min, until))
        rows = wide.unpivot(index="session_on", variable_name="symbol", value_name="adjusted_close_usd").select(
            "symbol",
            "session_on",
            pl.lit(None, pl.Float64).alias("close_usd"),
            pl.col("adjusted_close_usd").cast(pl.Float64),
            pl.lit(None, pl.Int64).alias("volume"),
        )
        return Delivery("skfolio", "prices", rows["session_on"].max(), rows)  # type: ignore[arg-type]

    def corporate_actions(self, since: date, until: date) -> Delivery:
        return no_rows("skfolio", "corporate_actions", None, *CORPORATE_ACTIONS)

    def quotes(self, symbols: Collection[str]) -> list[Quote]:
        raise Unavailable("skfolio has closes only, no live prices")
