"""A folder of real prices: Parquet files us_*_daily_*.parquet, and us_universe.parquet or securities.csv.

Columns  ticker, date, close (adjusted for splits), adj_close (for splits and dividends), volume.
Omits    splits between the day of a trade and the end of the file: `close` is restated by them, the trades of a
         household are not (corporate actions come with the work on lots).
"""

from datetime import date
from pathlib import Path

import polars as pl

from flows.connectors import Delivery, Unavailable, text_rows


class FolderMarket:
    def __init__(self, folder: Path):
        self._folder = folder

    def securities(self) -> Delivery:
        named = self._folder / "securities.csv"
        if named.exists():
            return Delivery("folder", "securities", None, text_rows(named, ("symbol", "name", "sector")))
        universe = self._folder / "us_universe.parquet"
        if not universe.exists():
            raise Unavailable(
                f"{self._folder} has neither securities.csv nor us_universe.parquet: say what each symbol is"
            )
        rows = pl.read_parquet(universe).select(
            pl.col("ticker").alias("symbol"), "name", pl.coalesce("gics_sector", "segment").alias("sector")
        )
        rows = rows.sort("symbol").with_row_index("line", offset=2).with_columns(pl.col("line").cast(pl.Int64))
        return Delivery("folder", "securities", None, rows)

    def prices(self, since: date | None, until: date) -> Delivery:
        files = sorted(self._folder.glob("us_*_daily_*.parquet"))
        if not files:
            raise Unavailable(f"{self._folder} has no us_*_daily_*.parquet: see docs/prices.md for the columns")
        wanted = (pl.col("date") >= since if since else pl.lit(True)) & (pl.col("date") <= until)
        rows = pl.concat(
            [
                pl.scan_parquet(file)
                .filter(wanted)
                .select(
                    pl.col("ticker").alias("symbol"),
                    pl.col("date").alias("session_on"),
                    pl.col("close").cast(pl.Float64).alias("close_usd"),
                    pl.col("adj_close").cast(pl.Float64).alias("adjusted_close_usd"),
                    pl.col("volume").cast(pl.Int64),
                )
                for file in files
            ]
        ).collect()
        return Delivery("folder", "prices", rows["session_on"].max(), rows)  # type: ignore[arg-type]
