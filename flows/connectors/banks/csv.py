"""A bank account as a CSV file: id, posted_on, description, amount_usd."""

from datetime import date
from pathlib import Path

import polars as pl

from flows.connectors import Delivery, text_rows, up_to

COLUMNS = ("id", "posted_on", "description", "amount_usd")


class CsvBank:
    """The file speaks as far as its newest line."""

    def __init__(self, bank_id: str, file: Path, today: date):
        self.bank_id, self._file, self._today = bank_id, file, today

    def lines(self, until: date) -> Delivery:
        rows = up_to(text_rows(self._file, COLUMNS), "posted_on", until, self._today)
        days = rows["posted_on"].str.to_date("%Y-%m-%d", strict=False)
        stated: date | None = days.filter(days <= until).max()  # type: ignore[assignment]
        return Delivery(self.bank_id, "bank_lines", stated, rows.select("line", pl.exclude("line")))
