"""The journal: what happened at the broker, a JSON line an event, never changed.

Whoever reads only this file can recompute the shares and cash of every account: a line that moves anything says so
itself, in `cash` (signed USD) and `shares` (symbol to signed quantity). Everything else in a line explains it.

A request's lines are written at once and are on the disk before it is answered; the last of them says `"end": true`.
Lines after the last such one are of a request that nobody was answered: they are cut off when the file is opened.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class Journal:
    def __init__(self, path: Path, *, sync: bool = True):
        self.path, self._sync = path, sync
        self.events = _whole_requests(path)
        self._file = path.open("ab")

    def write(self, events: list[Event]) -> None:
        """Put a request's events on the disk, all or none."""
        events[-1]["end"] = True
        self._file.write(b"".join(json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events))
        self._file.flush()
        if self._sync:
            os.fdatasync(self._file.fileno())
        self.events += events


def _whole_requests(path: Path) -> list[Event]:
    """The events of the requests that were written whole; what follows them is cut off."""
    if not path.exists():
        return []
    events: list[Event] = []
    good, read, position = 0, 0, 0
    for line in path.read_bytes().splitlines(keepends=True):
        read += len(line)
        if not line.endswith(b"\n"):
            break
        try:
            events.append(json.loads(line))
        except ValueError as wrong:
            raise SystemExit(
                f"{path}: line {len(events) + 1} is not JSON ({wrong}): it is no journal, or it was changed"
            ) from None
        if events[-1].get("end"):
            good, position = len(events), read
    if position < path.stat().st_size:
        os.truncate(path, position)
    return events[:good]


def recomputed(events: Iterable[Event]) -> dict[str, dict[str, Decimal]]:
    """Shares and cash of every account, from the journal alone; cash is the symbol USD.

    >>> recomputed([{"account": "a", "cash": "100"}, {"account": "a", "cash": "-30.10", "shares": {"SPY": "0.5"}}])
    {'a': {'USD': Decimal('69.90'), 'SPY': Decimal('0.5')}}
    """
    held: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for event in events:
        for symbol, moved in {"USD": event.get("cash", "0"), **event.get("shares", {})}.items():
            if Decimal(moved):
                held[event["account"]][symbol] += Decimal(moved)
    return {account: {symbol: n for symbol, n in of.items() if n} for account, of in held.items()}
