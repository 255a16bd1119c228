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

KEYS = {"activities": "id", "bank_lines": "id", "positions": "symbol"}  # a source's own id, once in a delivery
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
    for name, kind, max_age, ask in asked:
        try:
            delivery = ask()
            store(warehouse, day, delivery)
            stated_on, fault = delivery.stated_on, ""
        except Unavailable as wrong:
            stated_on, fault = _last_stated(warehouse, name, kind), str(wrong)
        answers.append((name, kind, stated_on, max_age, fault or _too_old(name, kind, stated_on, max_age, day.as_of)))
    warehouse.replace("core.latest_prices", _latest_prices(warehouse, day))
    odd = check_arrivals(warehouse, day.settings.home / "expectations", day.as_of, day.known_at)
    status = [
        (name, kind, stated_on, max_age, not (said := fault or odd.get((name, kind), "")), said)
        for name, kind, stated_on, max_age, fault in answers
    ]
    warehouse.replace("core.source_status", tables.core("source_status", status))


def store(warehouse: Warehouse, day: Day, delivery: Delivery) -> str:
    """Keep a delivery as it came and set its wrong rows aside; its delivery_id. The same delivery twice adds nothing."""
    rows = delivery.rows
    digest = sha256(rows.write_csv().encode() if rows.height < 100_000 else str(rows.hash_rows().sum()).encode())
    payload_hash = digest.hexdigest()[:16]
    delivery_id = f"{delivery.source}.{delivery.kind}.{day.known_at:%Y%m%dT%H%M%S%f}.{payload_hash[:6]}"
    latest_on = rows["session_on"].max() if delivery.kind == "prices" else delivery.stated_on
    facts = (
        delivery_id, delivery.source, delivery.kind, delivery.stated_on, rows.height, latest_on,
        ",".join(rows.columns), payload_hash, day.known_at,
    )  # fmt: skip
    with warehouse.transaction():
        warehouse.add("raw.deliveries", facts)
        if delivery.kind == "prices":
            _store_prices(warehouse, day, delivery, delivery_id)
        else:
            _store_rows(warehouse, day, delivery, delivery_id)
    return delivery_id


def _store_rows(warehouse: Warehouse, day: Day, delivery: Delivery, delivery_id: str) -> None:
    payload = pl.struct(pl.exclude("line")).struct.json_encode()
    rows = delivery.rows.select("line", payload=payload).with_columns(
        delivery_id=pl.lit(delivery_id),
        source=pl.lit(delivery.source),
        payload_hash=pl.col("payload").map_elements(lambda text: sha256(text.encode()).hexdigest()[:16], pl.String),
    )
    table = f"raw.{delivery.kind}"
    if delivery.kind == "positions":  # a statement of a moment: every one is kept whole
        warehouse.append(table, rows)
    else:
        warehouse.append_new(table, rows, ("source", "payload_hash"))
    contract = {
        "activities": tables.activities(day.today),
        "bank_lines": tables.bank_lines(day.today),
        "positions": tables.POSITIONS,
        "securities": None,
    }[delivery.kind]
    if contract is None:
        return
    stored = warehouse.rows(f"SELECT * FROM stg.{delivery.kind} WHERE delivery_id = $id ORDER BY line", id=delivery_id)
    stored = stored.join(
        delivery.rows.select(
            "line", is_first=pl.col(KEYS[delivery.kind]).is_first_distinct(), is_whole=_is_whole(delivery.rows)
        ),
        on="line",
    )
    _, wrong = tables.split(stored, contract)
    _set_aside(warehouse, day, delivery, delivery_id, wrong.select("line", "payload", "reason"))


def _is_whole(rows: pl.DataFrame) -> pl.Expr:
    return pl.col(SURPLUS) == "" if SURPLUS in rows.columns else pl.lit(True)


def _store_prices(warehouse: Warehouse, day: Day, delivery: Delivery, delivery_id: str) -> None:
    rows = delivery.rows.with_columns(delivery_id=pl.lit(delivery_id))
    first: date | None = rows["session_on"].min()  # type: ignore[assignment]
    key = ("symbol", "session_on", "close_usd", "adjusted_close_usd", "volume")
    warehouse.append_new("raw.prices", rows, key, where=f"t.session_on >= DATE '{first or day.as_of}'")
    _, wrong = tables.split(rows.with_row_index("line"), tables.prices(day.as_of))
    payload = pl.struct(pl.exclude("line", "delivery_id", "reason")).struct.json_encode()
    _set_aside(warehouse, day, delivery, delivery_id, wrong.select("line", payload.alias("payload"), "reason"))


def _set_aside(warehouse: Warehouse, day: Day, delivery: Delivery, delivery_id: str, wrong: pl.DataFrame) -> None:
    rows = wrong.with_columns(
        pl.col("line").cast(pl.Int64),
        delivery_id=pl.lit(delivery_id),
        kind=pl.lit(delivery.kind),
        source=pl.lit(delivery.source),
        known_at=pl.lit(day.known_at),
    )
    warehouse.append_new("raw.set_aside", rows, ("source", "kind", "payload", "reason"))


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
