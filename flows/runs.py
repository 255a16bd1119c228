"""How far runs have come, and the copy that everybody else reads."""

from datetime import UTC, date, datetime
from importlib.metadata import version

from flows.day import Day
from warehouse.db import Warehouse
from warehouse.law import law_hash


def last_booked(warehouse: Warehouse) -> date | None:
    """The newest session that was booked."""
    return warehouse.value("SELECT max(as_of) FROM ledger.runs WHERE stage = 'booked'")


def reached(warehouse: Warehouse, day: Day, stage: str) -> None:
    """Note that a run reached a stage, and with which law and policy."""
    now = datetime.now(UTC).replace(tzinfo=None)
    made_with = law_hash()[:16], day.settings.policy_hash, version("thresher")
    warehouse.add("ledger.runs", (day.run_id, stage, day.as_of, day.known_at, now, *made_with))


def publish(warehouse: Warehouse, day: Day) -> None:
    """Publish the snapshot of the day."""
    warehouse.publish(day.settings.snapshot, day.as_of, day.run_id, datetime.now(UTC).replace(tzinfo=None))
