"""Faults on demand: which request meets one is told by POST /_admin/faults, a list of

    {"match": {"method": "POST", "path": "/v2/orders"}, "kind": "lost_answer", "times": 1, "after_n": 0, "seconds": 0}

`path` is a prefix, `key` that of one account; the first `after_n` requests that match go well, the next `times` meet the
fault. The first fault in the list that is due meets a request. GET /_admin/faults tells how often each was met; a restart
forgets them.

    429 500 503 504   that status instead; with `carried_out` the request is carried out none the less (504: unless told not to)
    slow              answered after `seconds`
    lost_answer       carried out, the connection is closed without an answer
    refused           the connection is closed, nothing is carried out
    truncated         carried out, half of the body arrives
    duplicate_fills   every fill on a page of activities twice
    shuffled          a page of activities out of order; its last row stays last, so that the next page follows
"""

from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

STATUS = {
    "429": "too many requests.",
    "500": "internal server error occurred",
    "503": "service unavailable",
    "504": "gateway timeout",
}
KINDS = (*STATUS, "slow", "lost_answer", "refused", "truncated", "duplicate_fills", "shuffled")


@dataclass
class Fault:
    kind: str
    match: dict[str, str] = field(default_factory=dict)
    times: int = 1
    after_n: int = 0
    seconds: float = 1
    carried_out: bool | None = None
    seen: int = 0
    fired: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}; it is {self.kind!r}")
        if unknown := set(self.match) - {"method", "path", "key"}:
            raise ValueError(f"match knows method, path and key, not {', '.join(sorted(unknown))}")

    def is_met(self, method: str, path: str, key: str) -> bool:
        if self.match.get("method", method) != method or self.match.get("key", key) != key:
            return False
        if not path.startswith(self.match.get("path", "/")):
            return False
        self.seen += 1
        if self.seen <= self.after_n or self.fired >= self.times:
            return False
        self.fired += 1
        return True

    @property
    def does_it(self) -> bool:
        """Is the request carried out?"""
        usually = self.kind not in ("429", "500", "503", "refused")
        return usually if self.carried_out is None else self.carried_out


class Faults:
    def __init__(self) -> None:
        self.list: list[Fault] = []

    def add(self, told: list[dict[str, Any]]) -> None:
        """
        Errors   ValueError, TypeError: nothing is added.
        """
        self.list += [Fault(**{"kind": "", **one}) for one in told]

    def meeting(self, method: str, path: str, key: str) -> Fault | None:
        return next((fault for fault in self.list if fault.is_met(method, path, key)), None)

    def told(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self.list]


def disturbed(fault: Fault, rows: list[dict]) -> list[dict]:
    """A page of activities as a fault delivers it."""
    if fault.kind == "duplicate_fills":
        return [row for one in rows for row in ([one, one] if one.get("activity_type") == "FILL" else [one])]
    mixed = rows[:-1]
    Random(fault.fired).shuffle(mixed)
    return [*mixed, *rows[-1:]]
