"""The day's deliveries: brokers, banks, prices, securities, what companies do -> raw.

Every source is asked by itself: one that is down leaves the others alone, and the accounts concerned take no
orders. What came is stored as it came; rows that break their contract are set aside beside the good ones. A column
that is new is kept and said. One that is gone stops its source when rows that carried it come again without it:
those rows are set aside, so that the ledger keeps what it knew.
"""

from collections.abc import Callable
from datetime import date, timedelta
from functools import cache
from hashlib import sha256
from typing import NamedTuple

import pandera.polars as pa
import polars as pl

from flows.accounts import Account
from flows.calendar import sessions
from flows.connectors import Broker, Delivery, Unavailable
from flows.csv_file import SURPLUS
from flows.day import Day
from transforms import tables
from warehouse.db import Warehouse
from warehouse.expectations import check_arrivals, columns_read

KEYS = {
    "activities": "id",
    "bank_lines": "id",
    "positions": "symbol",
    "balances": "name",
    "securities": "symbol",
    "corporate_actions": "id",
}  # a source's own id, once in a delivery
SOURCES = {"bank_lines": "bank_id", "corporate_actions": "source"}  # what sql/stg calls the source; else account_id
OF_A_MOMENT = ("positions", "balances")  # every delivery is kept whole
MAY_HAVE_NONE = ("balances", "corporate_actions")  # a source that has nothing of these is no worse for it
OPTIONAL = {"positions": {"cost_usd"}}  # what we read where it is there, and do without where it is not
OVERLAP = timedelta(days=14)  # prices of the last days are read again: a source may have restated them
ACTIONS_OVERLAP, ACTIONS_BACK = (
    timedelta(days=90),
    timedelta(days=366),
)  # the same of actions; and how far the first time
PAUSES = (1.0, 2.0, 4.0)  # seconds before a source is asked again, where that can help


class Question(NamedTuple):
    """One kind of one source, and how old its answer may be."""

    source: str
    kind: str
    max_age_days: int
    ask: Callable[[], Delivery]


class Arrived(NamedTuple):
    """What was stored of a delivery; the columns that no earlier one had, and those that its rows had before."""

    delivery_id: str
    new_columns: list[str]
    gone_columns: list[str]


def ingest(warehouse: Warehouse, day: Day) -> None:
    """Store what every source delivers up to `day.as_of`, and say in core.source_status how good it is."""
    answers: list[tuple[Question, date | None, str]] = []
    arrived: dict[tuple[str, str], Arrived] = {}
    down: set[str] = set()  # they were asked again in vain: of their other kinds they are asked once
    for question in _questions(warehouse, day):
        source, kind = question.source, question.kind
        try:
            delivery = _answer(question.ask, () if source in down else PAUSES, day.clock.sleep)
            if kind in MAY_HAVE_NONE and delivery.rows.is_empty() and _last_stated(warehouse, source, kind) is None:
                continue
            arrived[source, kind] = store(warehouse, day, delivery)
            answers.append((question, delivery.stated_on, _too_old(question, delivery.stated_on, day.as_of)))
        except Unavailable as wrong:
            if wrong.may_pass:
                down.add(source)
            answers.append((question, _last_stated(warehouse, source, kind), str(wrong)))
    warehouse.replace("core.latest_prices", _latest_prices(warehouse, day))
    looked_at = {one.delivery_id: one.gone_columns for one in arrived.values()}
    odd = check_arrivals(warehouse, day.settings.home / "expectations", day.as_of, day.known_at, looked_at)
    status = []
    for question, stated_on, fault in answers:
        said = fault or odd.get((question.source, question.kind), "")
        warning = _new_columns(question, arrived.get((question.source, question.kind)))
        status.append((question.source, question.kind, stated_on, question.max_age_days, not said, said, warning))
    warehouse.replace("core.source_status", tables.core("source_status", status))


def _questions(warehouse: Warehouse, day: Day) -> list[Question]:
    """What is asked, in this order. A broker is reached when it is asked first: one that cannot be is one source down."""
    portfolio, market, until = day.settings.portfolio, day.market(), day.as_of
    source = portfolio.prices.source
    known_to = warehouse.value("SELECT max(session_on) FROM raw.prices WHERE session_on <= $as_of", as_of=until)
    told_to = _last_stated(warehouse, source, "corporate_actions")
    actions_since = min(told_to, until) - ACTIONS_OVERLAP if told_to else until - ACTIONS_BACK
    asked = [
        Question(source, "securities", 0, market.securities),
        Question(source, "prices", 0, lambda: market.prices(known_to - OVERLAP if known_to else None, until)),
        Question(source, "corporate_actions", 0, lambda: market.corporate_actions(actions_since, until)),
    ]
    for account in portfolio.accounts:
        asked += _of_account(day, account)
    for policy, bank in zip(portfolio.banks, day.banks(), strict=True):
        asked.append(Question(policy.id, "bank_lines", policy.max_age_days, lambda b=bank: b.lines(until)))  # type: ignore[misc]
    return asked


def _of_account(day: Day, account: Account) -> list[Question]:
    @cache
    def broker() -> Broker:
        return day.broker(account)

    return [
        Question(account.id, "activities", account.max_age_days, lambda: broker().activities(day.as_of)),
        Question(account.id, "positions", account.max_age_days, lambda: broker().positions(day.as_of)),
        Question(account.id, "balances", account.max_age_days, lambda: broker().balances(day.as_of)),
    ]


def _answer(ask: Callable[[], Delivery], pauses: tuple[float, ...], sleep: Callable[[float], None]) -> Delivery:
    """The answer, asked for again after each pause while that can help.

    Errors   Unavailable.
    """
    for pause in pauses:
        try:
            return ask()
        except Unavailable as wrong:
            if not wrong.may_pass:
                raise
            sleep(pause)
    return ask()


def store(warehouse: Warehouse, day: Day, delivery: Delivery) -> Arrived:
    """Keep what a delivery brings that is new, as it came, and judge all of its rows.

    Errors   Unavailable when its rows have no id: nothing of it can be told apart.
    """
    key = KEYS.get(delivery.kind)
    if key and key not in delivery.rows.columns and not delivery.rows.is_empty():
        raise Unavailable(f"the {delivery.kind} of {delivery.source} have no column {key}: nothing was taken")
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
    new, lacking = _changed_columns(warehouse, delivery)
    with warehouse.transaction():
        warehouse.add("raw.deliveries", facts)
        wrong = (
            _store_prices(warehouse, day, delivery, delivery_id, rows)
            if delivery.kind == "prices"
            else _store_rows(warehouse, day, delivery, delivery_id, rows, lacking)
        )
        warehouse.run(
            "DELETE FROM core.set_aside WHERE source = $source AND kind = $kind",
            source=delivery.source,
            kind=delivery.kind,
        )
        if wrong.height:
            said = wrong.with_columns(kind=pl.lit(delivery.kind), source=pl.lit(delivery.source))
            warehouse.append("core.set_aside", tables.core("set_aside", said))
    return Arrived(delivery_id, new, sorted(lacking["column"].unique()))


def _changed_columns(warehouse: Warehouse, delivery: Delivery) -> tuple[list[str], pl.DataFrame]:
    """Columns that no earlier delivery had; and `id`, `column` of rows that had a value in one that is gone now."""
    source, kind = delivery.source, delivery.kind
    nothing = pl.DataFrame(schema={"id": pl.String, "column": pl.String})
    earlier = warehouse.rows(
        "SELECT DISTINCT columns FROM raw.deliveries WHERE source = $source AND kind = $kind", source=source, kind=kind
    )["columns"]
    known = {column for columns in earlier for column in columns.split(",")}
    now = set(delivery.rows.columns)
    new = sorted(now - known - {SURPLUS}) if known else []
    gone = (known - now) & columns_read(kind) - OPTIONAL.get(kind, set())
    if not gone or delivery.rows.is_empty():
        return new, nothing
    had = [
        warehouse.rows(
            f"SELECT DISTINCT payload ->> '{KEYS[kind]}' AS id, '{column}' AS \"column\" FROM raw.{kind} "
            f"WHERE source = $source AND trim(payload ->> '{column}') <> ''",
            source=source,
        )
        for column in sorted(gone)
    ]
    return new, pl.concat([nothing, *had]).join(delivery.rows.select(id=KEYS[kind]).unique(), on="id")


def _new_columns(question: Question, arrived: Arrived | None) -> str:
    if arrived is None or not arrived.new_columns:
        return ""
    read = columns_read(question.kind)
    said = "; ".join(f"{name} ({'read' if name in read else 'kept, not read'})" for name in arrived.new_columns)
    return f"the {question.kind} of {question.source} have columns that they never had: {said}"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _store_rows(
    warehouse: Warehouse, day: Day, delivery: Delivery, delivery_id: str, rows: pl.DataFrame, lacking: pl.DataFrame
) -> pl.DataFrame:
    """Keep the rows that are new or new again (a row restated back to what it was); those that cannot be used."""
    table, kind = f"raw.{delivery.kind}", delivery.kind
    fresh = rows.select("line", "payload", "payload_hash").with_columns(
        delivery_id=pl.lit(delivery_id), source=pl.lit(delivery.source)
    )
    if kind in OF_A_MOMENT:
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
        f"WHERE {SOURCES.get(kind, 'account_id')} = $source "
        "QUALIFY dense_rank() OVER (PARTITION BY payload_hash ORDER BY delivery_id DESC) = 1",
        source=delivery.source,
    ).rename({"line": "raw_line"})
    current = rows.select(
        "line",
        "payload_hash",
        key=pl.col(KEYS[kind]),
        occurrence=pl.col("line").cum_count().over("payload_hash").cast(pl.Int64),
        is_first=pl.col(KEYS[kind]).is_first_distinct(),
        is_whole=_is_whole(rows),
    ).join(kept, on=["payload_hash", "occurrence"], how="inner", maintain_order="left")
    _, wrong = tables.split(current, _contract(kind, day.today))
    wrong = pl.concat([wrong.select(_nothing().columns), _without(current, lacking)])
    return pl.concat([wrong, _taken_ids(warehouse, delivery, current)]) if kind == "activities" else wrong


def _contract(kind: str, today: date) -> pa.DataFrameSchema:
    of_the_day = {"activities": tables.activities, "bank_lines": tables.bank_lines}
    whenever = {
        "positions": tables.POSITIONS,
        "balances": tables.BALANCES,
        "corporate_actions": tables.CORPORATE_ACTIONS,
    }
    return of_the_day[kind](today) if kind in of_the_day else whenever[kind]


def _without(current: pl.DataFrame, lacking: pl.DataFrame) -> pl.DataFrame:
    """Rows that had a value in a column that is gone: taking them would forget it."""
    if lacking.is_empty():
        return _nothing()
    columns = lacking.group_by("id").agg(pl.col("column").sort().str.join(", "))
    said = pl.format(
        "the column {} is gone, and this row had a value there: bring the file with it, empty where that is meant",
        "column",
    )
    found = current.join(columns, left_on="key", right_on="id")
    return found.select("delivery_id", "raw_line", "line", "payload", reason=said)


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


def _too_old(question: Question, stated_on: date | None, as_of: date) -> str:
    """Why a source that answered cannot be relied on today; empty when it can."""
    source, kind, max_age = question.source, question.kind, question.max_age_days
    if kind == "securities" or kind in MAY_HAVE_NONE:
        return ""
    if stated_on is None:
        return f"{source} has delivered no {kind} yet: bring its first statement"
    if (age := (as_of - stated_on).days) > max_age:
        return (
            f"the {kind} of {source} speak to {stated_on}, {age} days ago (limit {max_age}): bring its newer statement"
        )
    return ""
