"""Ledger -> lots, disposals, wash sales; the books must balance.

New and restated rows become versions in the ledger; then the whole history is booked anew. It is fast enough,
and nothing that is recomputed can drift away from what is stored.
"""

from datetime import date
from decimal import Decimal

import polars as pl

from flows.day import Day
from transforms import tables
from transforms.exact import nano_shares, shares, trade_cents, usd
from transforms.lots.book import book as booked
from transforms.lots.relief import read_picks
from transforms.lots.term import is_provisional, long_term_from
from transforms.model import Books, Trade
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
        (a.id, a.name, a.type, a.owner, a.broker, a.relief, a.orders, a.is_deferred, until)
        for a in day.settings.portfolio.accounts
    ]
    warehouse.replace("core.accounts", tables.core("accounts", accounts))
    trades, unbooked = ledger_trades(warehouse, day, until)
    law = wash_rules(until, day.settings.portfolio.law_policy)
    books = booked(trades, law, day.settings.portfolio.identical)
    unbooked += [(row.trade_id, row.reason) for row in books.refused]
    frames = _frames(books, law.window_days, until)
    for name, frame in frames.items():
        warehouse.replace(f"core.{name}", frame)
    warehouse.replace("core.unbooked", tables.core("unbooked", sorted(unbooked)))
    if moved or until == day.as_of:  # what this run has moved stays said when its fills are booked
        warehouse.replace("core.moved_disposals", _moved(before, frames["disposals"] if moved else before))
    breaks = _breaks(warehouse, until)
    if until != day.as_of:  # fills were booked: accounts without any stay as they were compared
        stated = warehouse.rows(
            "SELECT DISTINCT source FROM raw.deliveries WHERE kind = 'positions' AND stated_on = $on", on=until
        )
        others = warehouse.rows("SELECT * FROM core.breaks").filter(
            ~pl.col("account_id").is_in(stated["source"].to_list())
        )
        breaks = pl.concat([others, breaks])
    warehouse.replace("core.breaks", breaks)
    balance(warehouse, until)


def ledger_trades(warehouse: Warehouse, day: Day, until: date) -> tuple[list[Trade], list[tuple[str, str]]]:
    """The buys and sells of the ledger up to a day, and those that cannot be booked with the reason."""
    rows = warehouse.rows(
        "SELECT t.transaction_id, t.account_id, t.security_id, t.side, t.quantity, t.price_usd, t.fee_usd, t.traded_on, "
        "t.traded_at, t.lots, s.security_id IS NOT NULL AS is_known "
        "FROM stg.transactions AS t LEFT JOIN stg.securities AS s USING (security_id) "
        "WHERE t.kind = 'trade' AND t.traded_on <= $until",
        until=until,
    )
    is_deferred = {account.id: account.is_deferred for account in day.settings.portfolio.accounts}
    trades: list[Trade] = []
    unbooked: list[tuple[str, str]] = []
    for name, account, security, side, quantity, price, fee, on, at, lots, is_known in rows.iter_rows():
        if account not in is_deferred:
            unbooked.append((name, f"account {account} is not in portfolio.toml: list it, closed accounts too"))
            continue
        if not is_known:
            unbooked.append(
                (name, f"unknown symbol {security}: no source describes it; correct it or add it to the securities")
            )
            continue
        try:
            picks = read_picks(lots)
        except ValueError as wrong:
            unbooked.append((name, str(wrong)))
            continue
        is_buy = side == "buy"
        amount = trade_cents(quantity, price, fee if is_buy else -fee)
        trades.append(
            Trade(name, account, security, is_buy, nano_shares(quantity), amount, on, at, is_deferred[account], picks)
        )
    return trades, unbooked


def _append_versions(warehouse: Warehouse, day: Day) -> bool:
    """Bring sound new rows, and sound restatements of known ones, into the ledger; was one late or restated?"""
    booked_to = warehouse.value("SELECT max(as_of) FROM ledger.runs WHERE stage = 'booked'")
    new = warehouse.rows(
        """
        WITH delivered AS (
            SELECT a.* EXCLUDE (payload, is_exact)
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
        WHERE (k.kind, k.side, k.security_id, k.quantity, k.price_usd, k.fee_usd, k.amount_usd, k.traded_on, k.traded_at, k.lots)
            IS DISTINCT FROM
            (d.kind, d.side, d.security_id, d.quantity, d.price_usd, d.fee_usd, d.amount_usd, d.traded_on, d.traded_at, d.lots)
        """
    )
    warehouse.append("ledger.transactions", new.with_columns(known_at=pl.lit(day.known_at)))
    if booked_to is None:
        return False
    return not new.filter((pl.col("version") > 1) | (pl.col("traded_on") <= booked_to)).is_empty()


def _frames(books: Books, window: int, until: date) -> dict[str, pl.DataFrame]:
    slices: dict[str, int] = {}

    def part(key: str) -> int:
        slices[key] = slices.get(key, 0) + 1
        return slices[key]

    lots = [
        (
            lot.lot_id, part(lot.lot_id), lot.account_id, lot.security_id, shares(lot.quantity), lot.acquired_on,
            lot.holding_since, long_term_from(lot.holding_since), usd(lot.basis), lot.is_deferred,
        )
        for lot in books.lots
    ]  # fmt: skip
    disposals = [
        (
            row.trade_id, row.lot_id, part(f"sale {row.trade_id}"), row.account_id, row.security_id, shares(row.quantity),
            row.acquired_on, row.holding_since, row.sold_on, usd(row.proceeds), usd(row.basis),
            "W" if row.disallowed else "", usd(row.disallowed), usd(row.permanent), usd(row.gain), row.term,
            is_provisional(row.proceeds < row.basis, row.sold_on, window, until),
        )
        for row in books.disposals
    ]  # fmt: skip
    matches = [
        (
            row.trade_id, row.sold_lot_id, row.replacement_lot_id, shares(row.quantity), usd(row.disallowed),
            usd(row.permanent), row.days, row.citation,
        )
        for row in books.wash_sales
    ]  # fmt: skip
    return {
        "lots": tables.core("lots", lots),
        "disposals": tables.core("disposals", disposals),
        "wash_sales": tables.core("wash_sales", matches),
    }


def _moved(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Disposals of the last books that are gone or different now, and what stands in their place."""
    columns = ["trade_id", "lot_id", "slice", "quantity", "basis_usd", "gain_usd", "term"]
    sales = before["trade_id"].unique().to_list()
    now = after.filter(pl.col("trade_id").is_in(sales))
    gone = before.join(now, on=columns, how="anti").select(columns).with_columns(change=pl.lit("was"))
    made = now.join(before, on=columns, how="anti").select(columns).with_columns(change=pl.lit("is now"))
    return tables.core("moved_disposals", pl.concat([gone, made]).sort("trade_id", "slice", "change"))


def _breaks(warehouse: Warehouse, until: date) -> pl.DataFrame:
    """Where the broker and the ledger differ, among accounts whose statement is of this very day."""
    rows = warehouse.rows(
        """
        WITH stated AS (
            SELECT p.account_id, p.security_id, p.quantity FROM stg.positions AS p
            JOIN raw.deliveries AS d USING (delivery_id)
            WHERE d.stated_on = $until AND p.quantity IS NOT NULL
        ), held AS (
            SELECT account_id, security_id, sum(quantity)::DECIMAL(28, 9) AS quantity FROM core.lots GROUP BY ALL
            UNION ALL
            SELECT account_id, 'USD', cash_usd::DECIMAL(28, 9) FROM mart.cash
        )
        SELECT account_id, security_id, coalesce(s.quantity, 0)::DECIMAL(28, 9) AS broker_quantity,
            coalesce(h.quantity, 0)::DECIMAL(28, 9) AS ledger_quantity
        FROM stated AS s FULL JOIN held AS h USING (account_id, security_id)
        WHERE coalesce(s.quantity, 0) <> coalesce(h.quantity, 0)
            AND account_id IN (SELECT account_id FROM stated)
        """,
        until=until,
    )
    waiting = set(warehouse.rows("SELECT DISTINCT source FROM mart.set_aside WHERE kind = 'activities'")["source"])
    guesses = [
        "rows of this account were set aside; correct them at the source" if account in waiting
        else "the broker reports less than the ledger: a sale or transfer is missing" if Decimal(b) < Decimal(h)
        else "the broker reports more than the ledger: a purchase, deposit or transfer is missing"
        for account, _, b, h in rows.iter_rows()
    ]  # fmt: skip
    return tables.core("breaks", rows.with_columns(guess=pl.Series(guesses, dtype=pl.String)))
