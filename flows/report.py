"""The year's forms as CSV files, and one page.

Everything is read from the warehouse; nothing is decided here and no clock is read, so that the same books
always give the same bytes.
"""

from datetime import date
from pathlib import Path

import polars as pl

from flows.documents.statement import statement
from flows.documents.tables import write_csv
from flows.settings import Settings
from transforms.tax.form_8949 import form_8949
from transforms.tax.schedule_d import TEXT
from warehouse.db import Warehouse

_ORDER = {line: place for place, line in enumerate(TEXT)}


def report(warehouse: Warehouse, settings: Settings, year: int, as_of: date) -> Path:
    """Write the year's CSV files and index.html, and return the path of that page.

    Order    by the keys of every table, so that a second run writes the same bytes.
    """
    folder = settings.reports / str(year)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    filed = _filed(warehouse, year)
    for name, rows in filed.items():
        write_csv(rows, folder / f"{name}.csv")
    index = folder / "index.html"
    index.write_bytes(statement(warehouse, settings.portfolio, filed, year, as_of).encode())
    return index


def _filed(warehouse: Warehouse, year: int) -> dict[str, pl.DataFrame]:
    """What becomes a CSV file, by its name."""

    def of_year(table: str, column: str, order: str) -> pl.DataFrame:
        return warehouse.rows(f"FROM {table} WHERE {column} = $year ORDER BY {order}", year=year)

    sales = of_year("core.reported_sales", "year(sold_on)", "sold_on, trade_id, lot_id, slice")
    business = of_year("mart.schedule_c", "year", "category")
    by_line = pl.col("schedule_c_line").str.extract(r"^(\d+)").cast(pl.Int64)
    return {
        "form_8949": form_8949(sales, year),
        "broker_differs": of_year("mart.broker_differs", "year", "sold_on, trade_id, slice"),
        "lot_identifications": of_year("mart.lot_identifications", "year(sold_on)", "sold_on, trade_id"),
        "schedule_d": of_year("core.schedule_d", "year", "line").sort(pl.col("line").replace_strict(_ORDER)),
        "schedule_c": business.sort(by_line, "schedule_c_line", "category", nulls_last=True),
        "expenses": of_year("core.expenses", "year(posted_on)", "posted_on, bank_id, bank_line_id"),
        "wash_sales": of_year("mart.wash_sales", "year(sold_on)", "sold_on, trade_id, replaced_on, replacement_lot_id"),
    }
