"""Which fault a step meets: every kind in turn, in an order that the seed shuffles, and again while it was not met.

Where orders are to be sent most faults are about orders; where some are worked, now and then trading is stopped, which cancels them.
"""

from collections import Counter
from random import Random
from typing import Any, NamedTuple

from tests.chaos.hooks import BOUNDARIES, Meets

BY_THE_BROKER = (
    "429", "500", "503", "504", "slow", "lost_answer", "refused", "truncated", "duplicate_fills", "shuffled",
)  # fmt: skip
OF_AN_ORDER = ("429", "500", "503", "504", "slow", "lost_answer", "refused", "truncated")
KILLED = tuple(f"killed {boundary}" for boundary in BOUNDARIES)
ORDERS_ONLY = ("an order", "a cancel")
AROUND = (
    "the broker is killed", "the broker is down", "the disk is full", "the clock is behind", "the clock is ahead",
    "the clock jumps", "the warehouse is locked", "the snapshot is held open",
)  # fmt: skip
ANYTIME = (*(f"{kind} of the broker" for kind in BY_THE_BROKER), *AROUND,
           *(name for name in KILLED if not name.endswith(ORDERS_ONLY)))  # fmt: skip
MORNINGS = (*(f"{kind} to an order" for kind in OF_AN_ORDER), "killed before an order", "killed after an order")
CANCELS = ("killed before a cancel", "killed after a cancel")
ALL = (*ANYTIME, *MORNINGS, *CANCELS)


class Fault(NamedTuple):
    """What is in a step's way: in its process, at the broker (as its controls take it), or around it."""

    name: str
    meets: Meets = Meets()
    at_the_broker: dict[str, Any] | None = None
    around: str = ""


class Deck:
    """Faults to come, only those named where some are.

    `last` are the boundaries that a step of a kind passed when it was last counted.
    """

    def __init__(self, seed: str, only: tuple[str, ...] = ()):
        self.only = only
        self.random = Random(f"faults {seed}")
        self._decks: dict[str, list[str]] = {}
        self.last: dict[str, dict[str, int]] = {}
        self.met: Counter[str] = Counter()

    def draw(self, kind: str) -> Fault:
        deck = self._decks.setdefault(kind, [])
        if not deck:
            deck += self.only or {"opening": MORNINGS, "stopping": CANCELS}.get(kind, ANYTIME)
            self.random.shuffle(deck)
        return self._made(deck.pop(), kind)

    def done(self, kind: str, fault: Fault, was_met: bool, counts: dict[str, int] | None) -> None:
        if counts:
            self.last[kind] = counts
        if was_met:
            self.met[fault.name] += 1
        elif self.random.random() < 0.7:
            self._decks[kind].insert(0, fault.name)

    def _made(self, name: str, kind: str) -> Fault:
        random, last = self.random, self.last.get(kind, {})
        if name.startswith("killed "):
            boundary = name.removeprefix("killed ")
            return Fault(name, Meets(killed_at=(boundary, random.randint(1, max(1, last.get(boundary, 1))))))
        if name.endswith((" of the broker", " to an order")):
            what = name.partition(" ")[0]
            match = {"method": "POST", "path": "/v2/orders"} if name.endswith("order") else {"path": "/v2/"}
            after = random.choice((0, 0, 0, 1, 2)) if name.endswith("order") else random.randint(0, 8)
            if what in ("duplicate_fills", "shuffled"):
                match, after = {"path": "/v2/account/activities"}, 0
            times = random.choice((1, 1, 2, 3, 5, 40)) if what not in ("duplicate_fills", "shuffled") else 40
            told = {
                "match": match,
                "kind": what,
                "times": 1 if what == "slow" else times,
                "after_n": after,
                "seconds": 3,
            }
            return Fault(name, Meets(patience=1.0 if what == "slow" else 60.0), told)
        if name == "the broker is killed":
            return Fault(name, Meets(broker_dies_at=random.randint(1, max(2, last.get("before a request", 2)))))
        if name == "the disk is full":
            return Fault(name, Meets(disk=random.choice((0.0, 0.005, 0.1, 0.5, 0.99, 1.0))))
        if name.startswith("the clock"):
            hours = {"behind": -1, "ahead": 1, "jumps": random.choice((-1, 1))}[
                name.rpartition(" ")[2]
            ] * random.uniform(0.2, 20)
            return Fault(
                name, Meets(clock_hours=hours, clock_from=random.randint(2, 12) if name.endswith("jumps") else 0)
            )
        return Fault(name, around=name)
