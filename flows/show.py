"""What the command line prints."""

import shutil
import sys
from datetime import UTC, date, datetime
from importlib import import_module
from threading import Thread
from typing import Any

import polars as pl

from flows.calendar import session_on_or_before
from flows.daily import session_to_work_on
from flows.day import day_of
from flows.documents.tables import trimmed
from flows.report import report
from flows.settings import Settings
from flows.summary import summary
from warehouse.db import QueryError, reader, writer


def run_flow(made: Any, settings: Settings, as_of: date | None, prices: str | None) -> int:
    """Run a flow of deployments.py and print the day's summary.

    Errors   the flow's own error.
    """
    Thread(target=_import_ahead, daemon=True).start()
    now = datetime.now(UTC).replace(tzinfo=None)
    if as_of is None:
        with writer(settings.warehouse) as warehouse:
            as_of = session_to_work_on(warehouse, settings, now)
    as_of = session_on_or_before(as_of)
    state = made(as_of, prices, return_state=True)
    if not state.is_completed():
        state.result()  # raises what the flow raised
        print(f"thresher: the run ended as {state.name}: {state.message}", file=sys.stderr)
        return 1
    page = settings.reports / str(as_of.year) / "index.html"
    with reader(settings.snapshot) as warehouse:
        print(summary(warehouse, day_of(settings, as_of, now), page).plain())
    return 0


def _import_ahead() -> None:
    """Load what is slow to load while Prefect's server starts in a process of its own."""
    for name in ("great_expectations", "altair", "vl_convert"):
        import_module(name)


def print_rows(settings: Settings, query: str) -> int:
    """The rows of a query on the snapshot: a table for a person, CSV for a pipe."""
    with reader(settings.snapshot) as warehouse:
        try:
            rows = warehouse.rows(query)
        except QueryError as wrong:
            print(f"thresher: {wrong}", file=sys.stderr)
            return 1
    if not sys.stdout.isatty():
        nested = [name for name, of in rows.schema.items() if of.is_nested()]
        sys.stdout.write(
            rows.with_columns(pl.Series(name, map(str, rows[name].to_list()), pl.String) for name in nested).write_csv()
        )
        return 0
    width = max(shutil.get_terminal_size().columns, 100)
    with pl.Config(
        tbl_rows=200, tbl_cols=-1, tbl_width_chars=width, fmt_str_lengths=100, tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
    ):  # fmt: skip
        print(trimmed(rows))
    print(f"{rows.height} rows")
    return 0


def write_report(settings: Settings, year: int) -> int:
    """Write the report of a tax year from the snapshot and say where it is."""
    with reader(settings.snapshot) as warehouse:
        booked = warehouse.rows(
            "SELECT DISTINCT year(sold_on) FROM core.disposals UNION SELECT DISTINCT year(posted_on) FROM core.expenses ORDER BY 1"
        )
        years = booked.to_series().to_list()
        if year not in years:
            print(
                f"thresher: nothing is booked in {year}; there is {', '.join(map(str, years)) or 'nothing yet'}",
                file=sys.stderr,
            )
            return 1
        as_of = warehouse.value("SELECT as_of FROM mart.published")
        print(report(warehouse, settings, year, as_of))
    return 0
