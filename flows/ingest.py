"""The day's deliveries: brokers, banks, prices, securities -> raw.

Every source is asked by itself: one that is down leaves the others alone, and the accounts concerned take no
orders. What came is stored as it came; rows that break their contract are set aside beside the good ones.
"""

from collections.abc import Callable
from datetime import date, timedelta
from hashlib import sha256

import polars as pl

from flows.calendar import sessions
from flows.connectors import Delivery, Unavailable
from flows.csv_file import SURPLUS
from flows.day import Day
from transforms import tables
from warehouse.db import Warehouse
from warehouse.expectations import check_arrivals

KEYS = {
    "activities": "id",
    "bank_lines": "id",
    "positions": "symbol",
    "securities": "symbol",
}  # a source's own id, once in a delivery
OVERLAP = timedelta(days=14)  # prices of the last days are read again: a source may have restated them


def ingest(warehouse: Warehouse, day: Day) -> None:
    """Store what every source delivers up to `day.as_of`, and say in core.source_status how good it is."""
    known_to = warehouse.value("SELECT max(session_on) FROM raw.prices WHERE session_on <= $as_of", as_of=day.as_of)
    market, portfolio = day.market(), day.settings.portfolio
    source = portfolio.prices.source
    asked: list[tuple[str, str, int, Callable[[], Delivery]]] = [
        (source, "securities", 0, market.securities),
        (source, "prices", 0, lambda: market.prices(known_to - OVERLAP if known_to else None, day.as_of)),
    ]
    for account in portfolio.accounts:
        broker = day.broker(account)
        asked.append((account.id, "activities", account.max_age_days, lambda b=broker: b.activities(day.as_of)))  # type: ignore[misc]
        asked.append((account.id, "positions", account.max_age_days, lambda b=broker: b.positions(day.as_of)))  # type: ignore[misc]
    for policy, bank in zip(portfolio.banks, day.banks(), strict=True):
        asked.append((policy.id, "bank_lines", policy.max_age_days, lambda b=bank: b.lines(day.as_of)))  # type: ignore[misc]
    answers: list[tuple[str, str, date | None, int, str]] = []
    arrived: list[str] = []
    for name, kind, max_age, ask in asked:
        try:
            delivery = ask()
            arrived.append(store(warehouse, day, delivery))
            stated_on, fault = delivery.stated_on, ""
        except Unavailable as wrong:
            stated_on, fault = _last_stated(warehouse, name, kind), str(wrong)
        answers.append((name, kind, stated_on, max_age, fault or _too_old(name, kind, stated_on, max_age, day.as_of)))
    warehouse.replace("core.latest_prices", _latest_prices(warehouse, day))
    odd = check_arrivals(warehouse, day.settings.home / "expectations", day.as_of, day.known_at, arrived)
    status = [
        (name, kind, stated_on, max_age, not (said := fault or odd.get((name, kind), "")), said)
        for name, kind, stated_on, max_age, fault in answers
    ]
    warehouse.replace("core.source_status", tables.core("source_status", status))


def store(warehouse: Warehouse, day: Day, delivery: Delivery) -> str:
    """Keep what a delivery brings that is new, as it came, and judge all of its rows; its delivery_id."""
    number = warehouse.value("SELECT count(*) FROM raw.deliveries") + 1
    delivery_id = f"{number:08d}.{delivery.source}.{delivery.kind}"
    rows = delivery.rows
    if delivery.kind != "prices":
        payload = pl.struct(pl.exclude("line", SURPLUS)).struct.json_encode()
        if (
            SURPLUS in rows.columns
        ):  # only the rows that have more than the header say so: the others stay what they were
            whole = pl.struct(pl.exclude("line")).struct.json_encode()
            payload = pl.when(pl.col(SURPLUS) == "").then(payload).otherwise(whole)
        rows = rows.with_columns(payload=payload).with_columns(
            payload_hash=pl.col("payload").map_elements(_digest, pl.String, skip_nulls=False)
        )
    digest = _digest("".join(rows["payload_hash"]) if "payload_hash" in rows.columns else str(rows.hash_rows().sum()))
    latest_on = rows["session_on"].max() if delivery.kind == "prices" else delivery.stated_on
    facts = (
        delivery_id, delivery.source, delivery.kind, delivery.stated_on, rows.height, latest_on,
        ",".join(delivery.rows.columns), digest, day.known_at,
    )  # fmt: skip
    with warehouse.transaction():
        warehouse.add("raw.deliveries", facts)
        wrong = (_store_prices if delivery.kind == "prices" else _store_rows)(
            warehouse, day, delivery, delivery_id, rows
        )
        warehouse.run(
            "DELETE FROM core.set_aside WHERE source = $source AND kind = $kind",
            source=delivery.source,
            kind=delivery.kind,
        )
        if wrong.height:
            said = wrong.with_columns(kind=pl.lit(delivery.kind), source=pl.lit(delivery.source))
            warehouse.append("core.set_aside", tables.core("set_aside", said))
    return delivery_id


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _store_rows(
    warehouse: Warehouse, day: Day, delivery: Delivery, delivery_id: str, rows: pl.DataFrame
) -> pl.DataFrame:
    """Keep the rows that are new or new again (a row restated back to what it was); those that cannot be used."""
    table, kind = f"raw.{delivery.kind}", delivery.kind
    fresh = rows.select("line", "payload", "payload_hash").with_columns(
        delivery_id=pl.lit(delivery_id), source=pl.lit(delivery.source)
    )
    if kind == "positions":  # a statement of a moment: every one is kept whole
        warehouse.append(table, fresh)
    else:
        key = KEYS[kind]
        still = (  # no other row of the same id came later, or with it and is gone now: of those two the first was taken
            f"NOT EXISTS (SELECT 1 FROM {table} AS u WHERE u.source = t.source AND u.payload_hash <> t.payload_hash "
            f"AND u.payload ->> '{key}' = t.payload ->> '{key}' AND (u.delivery_id > t.delivery_id "
            "OR (u.delivery_id = t.delivery_id AND u.payload_hash NOT IN (SELECT payload_hash FROM _frame))))"
        )
        warehouse.append_new(table, fresh, ("source", "payload_hash"), where=still)
    if kind == "securities":
        return _nothing()
    kept = warehouse.rows(
        f"SELECT *, row_number() OVER (PARTITION BY delivery_id, payload_hash ORDER BY line) AS occurrence FROM stg.{kind} "
        f"WHERE {'account_id' if kind != 'bank_lines' else 'bank_id'} = $source "
        "QUALIFY dense_rank() OVER (PARTITION BY payload_hash ORDER BY delivery_id DESC) = 1",
        source=delivery.source,
    ).rename({"line": "raw_line"})
    current = rows.select(
        "line",
        "payload_hash",
        occurrence=pl.col("line").cum_count().over("payload_hash").cast(pl.Int64),
        is_first=pl.col(KEYS[kind]).is_first_distinct(),
        is_whole=_is_whole(rows),
    ).join(kept, on=["payload_hash", "occurrence"], how="inner", maintain_order="left")
    contract = {
        "activities": tables.activities(day.today),
        "bank_lines": tables.bank_lines(day.today),
        "positions": tables.POSITIONS,
    }[kind]
    _, wrong = tables.split(current, contract)
    wrong = wrong.select("delivery_id", "raw_line", "line", "payload", "reason")
    return pl.concat([wrong, _taken_ids(warehouse, delivery, current)]) if kind == "activities" else wrong


def _taken_ids(warehouse: Warehouse, delivery: Delivery, current: pl.DataFrame) -> pl.DataFrame:
    """Rows whose id another account used first: they would pass for that account's transaction."""
    taken = warehouse.rows(
        "SELECT payload ->> 'id' AS transaction_id, arg_min(source, (delivery_id, line)) AS taken_by FROM raw.activities "
        "GROUP BY 1 HAVING count(DISTINCT source) > 1 AND arg_min(source, (delivery_id, line)) <> $source",
        source=delivery.source,
    )
    said = pl.format("its id is a transaction of {} already; ids must differ across accounts", pl.col("taken_by"))
    return (
        current.join(taken, on="transaction_id")
        .filter(pl.col("is_first"))
        .select("delivery_id", "raw_line", "line", "payload", reason=said)
    )


def _nothing() -> pl.DataFrame:
    columns = {
        "delivery_id": pl.String,
        "raw_line": pl.Int64,
        "line": pl.Int64,
        "payload": pl.String,
        "reason": pl.String,
    }
    return pl.DataFrame(schema=columns)


def _store_prices(
    warehouse: Warehouse, day: Day, delivery: Delivery, delivery_id: str, rows: pl.DataFrame
) -> pl.DataFrame:
    rows = rows.with_columns(delivery_id=pl.lit(delivery_id))
    first: date | None = rows["session_on"].min()  # type: ignore[assignment]
    key = ("symbol", "session_on", "close_usd", "adjusted_close_usd", "volume")
    warehouse.append_new("raw.prices", rows, key, where=f"t.session_on >= DATE '{first or day.as_of}'")
    _, wrong = tables.split(rows.with_row_index("line", offset=1), tables.prices(day.as_of))
    payload = pl.struct(pl.exclude("line", "delivery_id", "reason")).struct.json_encode()
    line = pl.col("line").cast(pl.Int64)
    return wrong.select("delivery_id", line.alias("raw_line"), line, payload.alias("payload"), "reason")


def _is_whole(rows: pl.DataFrame) -> pl.Expr:
    return pl.col(SURPLUS) == "" if SURPLUS in rows.columns else pl.lit(True)


def _latest_prices(warehouse: Warehouse, day: Day) -> pl.DataFrame:
    rows = warehouse.rows(
        f"""
        SELECT security_id, max(session_on) AS session_on,
            arg_max(price_usd, session_on)::DECIMAL(28, 9) AS price_usd,
            coalesce(arg_max(price_usd, session_on, 2)[2], arg_max(price_usd, session_on))::DECIMAL(28, 9) AS previous_usd,
            bool_or(is_adjusted) AS is_adjusted
        FROM stg.prices
        WHERE session_on BETWEEN DATE '{day.as_of - timedelta(days=30)}' AND DATE '{day.as_of}'
        GROUP BY security_id ORDER BY security_id
        """
    )
    age = {last: len(sessions(last, day.as_of)) - 1 for last in rows["session_on"].unique()}
    old = rows["session_on"].replace_strict(age, return_dtype=pl.Int64) if age else pl.Series([], dtype=pl.Int64)
    return tables.core("latest_prices", rows.with_columns(sessions_old=old))


def _last_stated(warehouse: Warehouse, source: str, kind: str) -> date | None:
    return warehouse.value(
        "SELECT max(stated_on) FROM raw.deliveries WHERE source = $source AND kind = $kind", source=source, kind=kind
    )


def _too_old(source: str, kind: str, stated_on: date | None, max_age: int, as_of: date) -> str:
    """Why a source that answered cannot be relied on today; empty when it can."""
    if kind == "securities":
        return ""
    if stated_on is None:
        return f"{source} has delivered no {kind} yet: bring its first statement"
    if (age := (as_of - stated_on).days) > max_age:
        return (
            f"the {kind} of {source} speak to {stated_on}, {age} days ago (limit {max_age}): bring its newer statement"
        )
    return ""
