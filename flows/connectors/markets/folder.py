"""A folder of real prices: Parquet files us_*_daily_*.parquet, and us_universe.parquet or securities.csv.

Columns  ticker, date, close (adjusted for splits), adj_close (for splits and dividends), volume.
Omits    splits between the day of a trade and the end of the file: `close` is restated by them, the trades of a
         household are not (corporate actions come with the work on lots).
"""

from collections.abc import Collection
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from flows.calendar import NEW_YORK
from flows.connectors import CORPORATE_ACTIONS, Delivery, Quote, Unavailable, no_rows, text_rows
from transforms.exact import decimal


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

    def corporate_actions(self, since: date, until: date) -> Delivery:
        """What corporate_actions.csv says, a file of the columns of the Protocol (`payable_on` may stand there too)."""
        file = self._folder / "corporate_actions.csv"
        if not file.exists():
            return no_rows("folder", "corporate_actions", None, *CORPORATE_ACTIONS)
        rows = text_rows(file, CORPORATE_ACTIONS)
        on = pl.col("on").str.to_date("%Y-%m-%d", strict=False)
        return Delivery("folder", "corporate_actions", until, rows.filter(on.is_between(since, until) | on.is_null()))

    def quotes(self, symbols: Collection[str]) -> list[Quote]:
        """What quotes.csv says, a file of symbol, price_usd and at (ISO; without an offset New York) that somebody keeps fresh."""
        file = self._folder / "quotes.csv"
        if not file.exists():
            raise Unavailable(
                f"{self._folder} has closes only: live prices would be in its quotes.csv, see docs/prices.md"
            )
        rows = text_rows(file, ("symbol", "price_usd", "at")).iter_rows(named=True)
        return [_quote(file, row) for row in rows if row["symbol"] in symbols]


def _quote(file: Path, row: dict[str, Any]) -> Quote:
    try:
        at = datetime.fromisoformat(row["at"])
        return Quote(
            row["symbol"], decimal(row["price_usd"]), (at if at.tzinfo else at.replace(tzinfo=NEW_YORK)).astimezone(UTC)
        )
    except ValueError as wrong:
        raise Unavailable(
            f"{file}, line {row['line']}: {wrong}; price_usd is like 12.34, at like 2025-10-01T11:00:00"
        ) from None
