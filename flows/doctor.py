"""Is the last session booked, and is anything held up? The dead man's switch of a household that is unattended."""

import sys
from datetime import UTC, datetime
from urllib.error import URLError
from urllib.request import urlopen

from flows.daily import session_to_work_on
from flows.runs import last_booked
from flows.settings import Settings
from warehouse.db import reader


def examine(settings: Settings, ping: str | None, now: datetime | None = None) -> int:
    """Print what is wrong and what to do; 0 when the last completed session is booked and the last run did not fail.

    `ping` is called only when all is well: whoever waits for the call notices when it stays away.
    """
    now = now or datetime.now(UTC).replace(tzinfo=None)
    with reader(settings.snapshot) as warehouse:
        booked = last_booked(warehouse)
        wanted = session_to_work_on(warehouse, settings, now)
        failed = warehouse.rows(
            "SELECT as_of, reached_at FROM ledger.runs WHERE stage = 'failed' "
            "AND reached_at > (SELECT max(reached_at) FROM ledger.runs WHERE stage IN ('booked', 'executed'))"
        ).rows()
        unsound = warehouse.rows("SELECT reason FROM core.source_status WHERE NOT is_sound ORDER BY 1")["reason"]
    faults = []
    if booked is None or booked < wanted:
        faults.append(
            f"the last booked session is {booked}, the last completed one {wanted}: thresher run, and is the worker up?"
        )
    faults += [
        f"the run of {as_of} failed at {at:%Y-%m-%d %H:%M} UTC: run it again and read what it says"
        for as_of, at in failed
    ]
    for line in faults:
        print(f"behind: {line}")
    for line in unsound:
        print(f"warning: {line}")
    if faults:
        return 1
    print(f"all booked to {booked}")
    if ping:
        try:
            urlopen(ping, timeout=10).close()
        except (URLError, OSError, ValueError) as wrong:
            print(f"thresher: {ping} could not be called: {wrong}", file=sys.stderr)
            return 1
    return 0
