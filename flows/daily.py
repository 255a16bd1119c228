"""The pipeline on one screen: ingest -> book -> measure -> propose -> decide -> execute -> report.

Each station is a plain function in a module of its own; it reads what the ones before it left in the warehouse
and leaves its own there. `step` calls a station: directly here, as a Prefect task in deployments.py.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

from flows.book import book
from flows.calendar import is_open, last_completed, replayed, session_on_or_before, sessions
from flows.day import REAL, Clock, Day, day_of
from flows.decide import decide
from flows.fills import note_states
from flows.index_scene import constituents_of
from flows.ingest import ingest
from flows.measure import measure
from flows.orders import execute
from flows.propose import propose
from flows.report import report
from flows.runs import last_booked, publish, reached
from flows.settings import Settings
from flows.summary import Summary, summary
from flows.taxes import taxes
from warehouse.db import Warehouse, reader, writer

Step = Callable[..., Any]


class Done(NamedTuple):
    """What a run leaves: the day it worked on, the page of its report, and the summary."""

    as_of: date
    page: Path
    summary: Summary


def whole(station: Callable[[Warehouse, Day], Any]) -> Callable[[Warehouse, Day], Any]:
    """A station that leaves all of its tables or none: where it fails, those of the last good day stand."""

    @wraps(station)
    def in_one_transaction(warehouse: Warehouse, day: Day) -> Any:
        with warehouse.transaction():
            return station(warehouse, day)

    return in_one_transaction


def nobody() -> str:
    """Nobody has stopped trading, besides the file STOP."""
    return ""


def directly(station: Callable[..., Any], *given: Any) -> Any:
    return station(*given)


def daily(
    settings: Settings,
    as_of: date | None = None,
    known_at: datetime | None = None,
    step: Step = directly,
    wait: float = 0,
    clock: Clock = REAL,
    stopped: Callable[[], str] = nobody,
) -> Done:
    """Book every session up to `as_of` that is not booked yet, in order; decide on the last one; report.

    Errors   Locked, SettingsError, UnbalancedBooks, LawMissing, CalendarEnded.
    """
    known_at = known_at or clock.now()
    constituents_of(settings)  # a file of the policy that cannot be used is told at once
    with writer(settings.warehouse, wait) as warehouse:
        newest = last_booked(warehouse)
        as_of = session_on_or_before(as_of) if as_of else session_to_work_on(warehouse, settings, known_at)
        for session in told(unbooked(newest, as_of)):
            day = day_of(settings, session, known_at, clock, stopped())
            with last_good_stage_published(warehouse, day):
                reached(warehouse, day, "started")
                step(ingest, warehouse, day)
                step(note_states, warehouse, day)
                step(whole(book), warehouse, day)
                step(whole(measure), warehouse, day)
                reached(warehouse, day, "booked")
        with last_good_stage_published(warehouse, day):
            step(whole(propose), warehouse, day)
            if newest is None or as_of >= newest:  # an earlier day is booked again as it was; nothing is decided on it
                step(whole(decide), warehouse, day)
                reached(warehouse, day, "decided")
                publish(warehouse, day)
                step(execute, warehouse, day)
                reached(warehouse, day, "executed")
            page = _reported(warehouse, day, step)
        return Done(as_of, page, summary(warehouse, day, page))


def final(
    settings: Settings,
    known_at: datetime | None = None,
    step: Step = directly,
    wait: float = 0,
    clock: Clock = REAL,
    stopped: Callable[[], str] = nobody,
    *,
    once: bool = False,
) -> Done | None:
    """Go on with the newest decision: send what was meant and not sent, book what was filled, report. None without one.

    While orders are worked it looks again every few seconds, for as long as the policy says. Done again it changes
    nothing: every line of a decision is refused, sent and filled once.
    """
    known_at = known_at or clock.now()
    policy = settings.portfolio.orders
    until = clock.now() + timedelta(minutes=0 if once else policy.work_minutes)
    is_first = True
    while True:
        with writer(settings.warehouse, wait) as warehouse:  # others get their turn between two looks
            decided = warehouse.value("SELECT max(as_of) FROM ledger.batches")
            if decided is None or decided != last_booked(warehouse):
                return None
            day = day_of(settings, decided, known_at, clock, stopped())
            with last_good_stage_published(warehouse, day):
                if is_first:
                    reached(warehouse, day, "started")
                is_first = False
                booked_to = warehouse.value("SELECT max(booked_to) FROM core.accounts")
                if (
                    booked_to is None or booked_to < decided
                ):  # emptied by a newer version, or an earlier day was booked again
                    step(ingest, warehouse, day)
                    step(whole(book), warehouse, day)
                    step(whole(measure), warehouse, day)
                if step(execute, warehouse, day) and is_open(clock.now()) and clock.now() < until:
                    publish(warehouse, day)
                else:
                    reached(warehouse, day, "executed")
                    page = _reported(warehouse, day, step)
                    return Done(decided, page, summary(warehouse, day, page))
        clock.sleep(policy.poll_seconds)


def is_unfinished(settings: Settings) -> bool:
    """Does an order of the newest session wait or is it worked, as the published snapshot has it?"""
    with reader(settings.snapshot) as warehouse:
        return bool(
            warehouse.value(
                "SELECT count(*) FROM mart.orders WHERE status IN ('waiting', 'working') "
                "AND session_on = (SELECT max(session_on) FROM ledger.batches)"
            )
        )


def _reported(warehouse: Warehouse, day: Day, step: Step) -> Path:
    """Reckon the tax years, write the report and publish the snapshot."""
    step(whole(taxes), warehouse, day)
    page: Path = step(report, warehouse, day.settings, day.as_of.year, day.as_of)
    publish(warehouse, day)
    return page


def backfill(settings: Settings, first: date, last: date, step: Step = directly) -> int:
    """Book and measure every session from `first` to `last`. Never decides, never orders. How many sessions."""
    known_at = datetime.now(UTC).replace(tzinfo=None)
    with writer(settings.warehouse) as warehouse:
        days = sessions(first, last)
        for session in told(days):
            day = day_of(settings, session, known_at)
            with last_good_stage_published(warehouse, day):
                reached(warehouse, day, "started")
                step(ingest, warehouse, day)
                step(whole(book), warehouse, day)
                step(whole(measure), warehouse, day)
                reached(warehouse, day, "booked")
        if days:
            publish(warehouse, day)
        return len(days)


def session_to_work_on(warehouse: Warehouse, settings: Settings, known_at: datetime) -> date:
    """The last completed session, or where a replay has come to: on past prices it goes on from its first day."""
    start, now = settings.portfolio.prices.replay_from, known_at.replace(tzinfo=UTC)
    if start is None:
        return last_completed(now)
    first = warehouse.rows("SELECT as_of, known_at FROM ledger.runs ORDER BY reached_at LIMIT 1").rows()
    return replayed(first[0][0], first[0][1].replace(tzinfo=UTC), now) if first else start


def unbooked(newest: date | None, as_of: date) -> list[date]:
    """The sessions to book, in order: those after the newest booked one, or `as_of` alone, for the first time or again."""
    if newest is None or as_of <= newest:
        return [as_of]
    return [day for day in sessions(newest, as_of) if day > newest]


def told(days: list[date]) -> Iterator[date]:
    """The sessions to book; where they are several, each is told on the standard error."""
    for number, day in enumerate(days, 1):
        if len(days) > 1:
            print(f"booking {day}: session {number} of {len(days)}", file=sys.stderr, flush=True)
        yield day


@contextmanager
def last_good_stage_published(warehouse: Warehouse, day: Day) -> Iterator[None]:
    """When a station fails, note it and publish what the last good one left."""
    try:
        yield
    except Exception:
        reached(warehouse, day, "failed")
        publish(warehouse, day)
        raise
