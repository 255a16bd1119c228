"""The flows that Prefect runs, A to Z as prefect.yaml deploys them. The way of the data is in daily.py.

A task is a station: coarse enough that Prefect's own work does not show. Neither secrets nor frames are in
parameters or results; what a run found is in its artifacts. No station is tried again by itself: files do not get
better by reading them twice, and an order is never sent twice because something else failed.
"""

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.states import Completed, Failed
from prefect.variables import Variable

from flows import approvals
from flows import daily as pipeline
from flows.calendar import NEW_YORK, is_open, is_session
from flows.day import REAL
from flows.documents.tables import trimmed
from flows.intraday import intraday as look_at_live_prices
from flows.settings import Settings, load
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
    done = pipeline.final(settings, step=_as_task, wait=LOCK_WAIT_SECONDS, stopped=_stopped)
    if done is None:
        return Completed(message="nothing is decided")
    _show(settings.snapshot, done)
    return Completed(message=f"{done.as_of}: {done.page}")


class Answer(RunInput):
    """What a person says of a decision."""

    decision: Literal["accept", "refuse", "edit"] = "accept"
    edit: str = ""  # LINE=SHARES, LINE=SHARES; 3=0 leaves line 3 out
    note: str = ""


@flow(name="approve", flow_run_name="approve {batch}")
def approve(batch: str, demo: bool = False) -> State:
    """Ask a person about a decision, and carry it out when the answer is yes. Done again it asks only what is open.

    The run is suspended, its process gone, until somebody answers; resumed, it starts from the top.
    """
    settings = load(demo=demo)
    is_replay = settings.portfolio.prices.replay_from is not None  # its sessions lie in the past
    tries, wrong = 0, ""
    while not (asked := approvals.question(settings, batch)).verdict:
        left = int((asked.expires_at - REAL.now()).total_seconds())
        said = suspend_flow_run(
            wait_for_input=Answer.with_initial_data(description=wrong + asked.markdown),
            key=f"{asked.batch_hash}-{tries}",  # the same question has the same answer when the run starts from the top
            timeout=86_400 if is_replay else max(left, 1),
        )
        try:
            batch = approvals.answer(
                settings, asked.batch_id, asked.batch_hash, said.decision, said.edit, said.note, wait=LOCK_WAIT_SECONDS
            )
            tries, wrong = 0, ""
        except approvals.Expired as late:
            return Failed(message=str(late))
        except approvals.NotApproved as why:
            tries, wrong = tries + 1, f"**{why}**\n\n"
    done = pipeline.final(settings, step=_as_task, wait=LOCK_WAIT_SECONDS, stopped=_stopped)
    if done is not None:
        _show(settings.snapshot, done)
    return Completed(message=f"{asked.batch_id} was {asked.verdict}")


@flow(name="intraday", validate_parameters=False)
def intraday(demo: bool = False) -> State:
    """Look at live prices once; what is new is decided, asked about and carried out. Most runs find nothing."""
    now = REAL.now()
    if not is_open(now):
        return Completed(name="Skipped: closed", message=f"the exchange is closed at {now:%Y-%m-%d %H:%M} UTC")
    settings = load(demo=demo)
    found = look_at_live_prices(settings, now, stopped=_stopped(), wait=LOCK_WAIT_SECONDS)
    if found.batches:
        _ask_for_approval(settings, is_demo=demo)
    if found.batches or pipeline.is_unfinished(settings):  # what the morning left, a person's orders, an answer, STOP
        done = pipeline.final(settings, step=_as_task, wait=LOCK_WAIT_SECONDS, stopped=_stopped, once=not found.batches)
        if done is not None:
            _show(settings.snapshot, done)
    return Completed(message=str(found))


def _ask_for_approval(settings: Settings, *, is_demo: bool) -> None:
    """Start a run of `approve` for every decision that waits for a person; one a decision, however often this is done."""
    for asked in approvals.waiting(settings):
        given = {"batch": asked.batch_id, "demo": is_demo}
        try:
            run_deployment(
                "approve/approve",
                parameters=given,
                flow_run_name=f"approve {asked.batch_id}",
                timeout=0,
                idempotency_key=asked.batch_hash,
                as_subflow=False,
            )
        except ObjectNotFound:
            get_run_logger().warning(
                "there is no deployment approve (make serve makes it): answer with thresher approve"
            )
            return


def _stopped() -> str:
    """Who has stopped trading in Prefect: the variable thresher_stop, whatever it says."""
    said = Variable.get("thresher_stop", default=None)
    return f"the Prefect variable thresher_stop is there ({said}): delete it to trade again" if said is not None else ""


def _day(as_of: date | str | None, prices: str | None, *, is_demo: bool) -> State:
    if as_of is None and not is_session(_today()):
        return _skipped()
    as_of = date.fromisoformat(as_of) if isinstance(as_of, str) else as_of
    settings = load(Path(prices) if prices else None, demo=is_demo)
    done = pipeline.daily(settings, as_of, step=_as_task, wait=LOCK_WAIT_SECONDS, stopped=_stopped)
    if os.environ.get("PREFECT_API_URL"):  # else the server ends with the command, and nobody could answer
        _ask_for_approval(settings, is_demo=is_demo)
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
