"""The flows that Prefect runs, A to Z as prefect.yaml deploys them. The way of the data is in daily.py.

A task is a station: coarse enough that Prefect's own work does not show. Neither secrets nor frames are in
parameters or results; what a run found is in its artifacts. No station is tried again by itself: files do not get
better by reading them twice, and an order is never sent twice because something else failed.
"""

import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import daily as pipeline
from flows.calendar import NEW_YORK, is_session
from flows.documents.tables import trimmed
from flows.settings import load
from warehouse.db import reader

LOCK_WAIT_SECONDS = 600  # a run that was started by hand is let finish first

TABLES = {
    "harvests": (
        "Harvests proposed and refused",
        "SELECT if(is_refused, 'refused', 'harvest') AS verdict, account_id, security_id, rtrim(rtrim(quantity::VARCHAR, '0'), '.') "
        "AS quantity, round(loss_usd, 2)::DECIMAL(18, 2) AS loss_usd, replacement_id, reason FROM mart.harvest_candidates",
    ),
    "drift": (
        "Weights against targets",
        "SELECT asset_class, round(value_usd, 2)::DECIMAL(18, 2) AS value_usd, round(weight, 4) AS weight, target_weight, "
        "round(drift, 4) AS drift, band, is_outside FROM core.drift",
    ),
    "orders": ("Orders of the newest decision", "SELECT * FROM mart.orders WHERE session_on = (SELECT max(session_on) FROM mart.orders)"),
    "refusals": (
        "Held back by a gate",
        "SELECT b.session_on, b.account_id, l.side, l.security_id, l.quantity, r.gate, r.reason FROM ledger.refusals AS r "
        "JOIN ledger.batches AS b USING (batch_id) JOIN ledger.batch_lines AS l USING (batch_id, line) "
        "WHERE b.session_on = (SELECT max(session_on) FROM ledger.batches)",
    ),
    "set-aside": ("Rows that could not be used", "SELECT source, kind, line, reason, payload FROM mart.set_aside"),
    "sources": ("How fresh every source is", "SELECT * FROM core.source_status"),
}  # fmt: skip


@flow(name="daily", flow_run_name="daily {as_of}", validate_parameters=False)
def daily(as_of: date | None = None, prices: str | None = None) -> State:
    """The household of THRESHER_HOME, after the close of `as_of` (by default the last completed session)."""
    return _day(as_of, prices, is_demo=False)


@flow(name="demo", flow_run_name="demo {as_of}", validate_parameters=False)
def demo(as_of: date | None = None, prices: str | None = None) -> State:
    """The demo household, on a replay that goes on by one session with every real one."""
    return _day(as_of, prices, is_demo=True)


@flow(name="execute", validate_parameters=False)
def execute(demo: bool = False) -> State:
    """The final flow by itself: go on with the newest decision, book its fills, write the reports."""
    if not is_session(_today()):
        return _skipped()
    settings = load(demo=demo)
    done = pipeline.final(settings, step=_as_task, wait=LOCK_WAIT_SECONDS)
    if done is None:
        return Completed(message="nothing is decided")
    _show(settings.snapshot, done)
    return Completed(message=f"{done.as_of}: {done.page}")


def _day(as_of: date | str | None, prices: str | None, *, is_demo: bool) -> State:
    if as_of is None and not is_session(_today()):
        return _skipped()
    as_of = date.fromisoformat(as_of) if isinstance(as_of, str) else as_of
    settings = load(Path(prices) if prices else None, demo=is_demo)
    done = pipeline.daily(settings, as_of, step=_as_task, wait=LOCK_WAIT_SECONDS)
    _show(settings.snapshot, done)
    return Completed(message=f"{done.as_of}: {done.page}")


def _today() -> date:
    return datetime.now(UTC).astimezone(NEW_YORK).date()


def _skipped() -> State:
    return Completed(name="Skipped: holiday", message=f"the exchange is closed on {_today()}")


def _as_task(station: Callable[..., Any], *given: Any) -> Any:
    """Run a station as a task that carries its name and says how long it took."""

    def timed(*given: Any) -> Any:
        start = time.perf_counter()
        result = station(*given)
        took = f"{station.__name__:<8} {time.perf_counter() - start:5.2f} s"
        get_run_logger().info(took)
        print(took, file=sys.stderr, flush=True)
        return result

    return task(name=station.__name__, description=station.__doc__, cache_policy=NO_CACHE)(timed)(*given)


def _show(snapshot: Path, done: pipeline.Done) -> None:
    """The day's artifacts: a summary, tables, and where the page is."""
    create_markdown_artifact(done.summary.markdown(), key="summary", description=f"The day of {done.as_of}")
    with reader(snapshot) as warehouse:
        for key, (what, query) in TABLES.items():
            rows = trimmed(warehouse.rows(query).head(500))
            table = [
                {name: "" if value is None else str(value) for name, value in row.items()}
                for row in rows.iter_rows(named=True)
            ]
            create_table_artifact(table or [{"": "none"}], key=key, description=f"{what}, {done.as_of}")
    create_link_artifact(
        done.page.as_uri(), key="report", link_text=str(done.page), description=f"Report, {done.as_of}"
    )
