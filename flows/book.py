"""Ledger -> lots, disposals, wash sales; the books must balance.

New and restated rows become versions in the ledger; then the whole history is booked anew. It is fast enough,
and nothing that is recomputed can drift away from what is stored.
"""

from datetime import date

import polars as pl

from flows.book_rows import book_rows
from flows.day import Day
from flows.ledger import read_ledger
from flows.reconcile import reconcile
from transforms import tables
from transforms.lots.book import book as booked
from transforms.model import Event
from warehouse.checks import balance
from warehouse.db import Warehouse
from warehouse.law import wash_rules


def book(warehouse: Warehouse, day: Day, until: date | None = None) -> None:
    """Bring ledger and books up to `until` (by default `day.as_of`).

    Errors   UnbalancedBooks when a check of sql/check finds a row: nothing of the day can be relied on.
    """
    until = until or day.as_of
    before = warehouse.rows("SELECT * FROM core.disposals WHERE sold_on <= $until", until=until)
    moved = _append_versions(warehouse, day)
    accounts = [
        (a.id, a.name, a.type, a.owner, a.broker, a.relief, a.intends, a.orders, a.is_deferred, until)
        for a in day.settings.portfolio.accounts
    ]
    warehouse.replace("core.accounts", tables.core("accounts", accounts))
    ledger = read_ledger(warehouse, day, until)
    law = wash_rules(until, day.settings.portfolio.law_policy)
    books = booked(ledger.events, law, day.settings.portfolio.groups)
    frames = book_rows(warehouse, day, ledger, books, law, until)
    for name, frame in frames.items():
        warehouse.replace(f"core.{name}", frame)
    unbooked = ledger.unbooked + [(row.trade_id, row.reason) for row in books.refused]
    warehouse.replace("core.unbooked", tables.core("unbooked", sorted(unbooked)))
    if moved or until == day.as_of:  # what this run has moved stays said when its fills are booked
        warehouse.replace("core.moved_disposals", _moved(before, frames["disposals"] if moved else before))
    reconcile(warehouse, day, until)
    balance(warehouse, until)


def ledger_events(warehouse: Warehouse, day: Day, until: date) -> tuple[list[Event], list[tuple[str, str]]]:
    """What the ledger says up to a day as events, and the rows that cannot be booked with the reason."""
    ledger = read_ledger(warehouse, day, until)
    return ledger.events, ledger.unbooked


def _append_versions(warehouse: Warehouse, day: Day) -> bool:
    """Bring sound new rows, and sound restatements of known ones, into the ledger; was one late or restated?"""
    booked_to = warehouse.value("SELECT max(as_of) FROM ledger.runs WHERE stage = 'booked'")
    new = warehouse.rows(
        """
        WITH delivered AS (
            SELECT a.* EXCLUDE (payload), payload ->> '$."(surplus)"' IS NULL AS is_whole, true AS is_first
            FROM stg.activities AS a
            ANTI JOIN core.set_aside AS s
                ON s.kind = 'activities' AND s.delivery_id = a.delivery_id AND s.raw_line = a.line
            QUALIFY row_number() OVER (PARTITION BY transaction_id ORDER BY delivery_id DESC, line) = 1
        ), known AS (
            SELECT * FROM ledger.transactions
            QUALIFY row_number() OVER (PARTITION BY transaction_id ORDER BY version DESC) = 1
        )
        SELECT d.* EXCLUDE (line), (coalesce(k.version, 0) + 1)::INTEGER AS version
        FROM delivered AS d LEFT JOIN known AS k USING (transaction_id)
        WHERE (k.kind, k.side, k.security_id, k.quantity, k.price_usd, k.fee_usd, k.amount_usd, k.traded_on, k.traded_at, k.lots, k.details)
            IS DISTINCT FROM
            (d.kind, d.side, d.security_id, d.quantity, d.price_usd, d.fee_usd, d.amount_usd, d.traded_on, d.traded_at, d.lots, d.details)
        """
    )
    if new.height:  # a row that was set aside and is delivered no more was judged by nobody in this run
        new = tables.split(new, tables.activities(day.today))[0].drop("is_exact", "is_whole", "is_first")
    warehouse.append("ledger.transactions", new.with_columns(known_at=pl.lit(day.known_at)))
    if booked_to is None:
        return False
    return not new.filter((pl.col("version") > 1) | (pl.col("traded_on") <= booked_to)).is_empty()


def _moved(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Disposals of the last books that are gone or different now, and what stands in their place."""
    columns = ["trade_id", "lot_id", "slice", "quantity", "basis_usd", "gain_usd", "term"]
    sales = before["trade_id"].unique().to_list()
    now = after.filter(pl.col("trade_id").is_in(sales))
    gone = before.join(now, on=columns, how="anti").select(columns).with_columns(change=pl.lit("was"))
    made = now.join(before, on=columns, how="anti").select(columns).with_columns(change=pl.lit("is now"))
    return tables.core("moved_disposals", pl.concat([gone, made]).sort("trade_id", "slice", "change"))
