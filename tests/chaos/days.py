"""A world, day by day: the evening decides, the morning carries out, and each process may meet a fault.

A day ends with a run that nothing disturbs, an hour after the faults at the latest. Then, and only then, the books must be
the broker's: until then a process may lie dead half-way.
"""

import fcntl
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from flows.calendar import closes
from tests.chaos.bugs import BUGS
from tests.chaos.check import Seen, Violation, no_leg_stands_alone, seen, unforeseen_washes, violations
from tests.chaos.faults import CANCELS, Deck, Fault
from tests.chaos.process import begun
from tests.chaos.steps import Step, intents_on_the_disk, step
from tests.chaos.truth import executions, orders
from tests.chaos.world import ACCOUNTS, SYMBOLS, World, at
from tests.fake_alpaca.journal import recomputed
from warehouse.db import reader


class Ran(NamedTuple):
    """What a world came to."""

    seed: str
    days: int
    runs: int
    orders: int
    fills: int
    washed: int  # losses washed by what nobody could know
    met: dict[str, int]
    errors: dict[str, int]  # of disturbed runs: what they ended with
    violations: list[list[str]]  # day, name, words


class Days:
    """The days of one world. Stops at the first day with a violation."""

    def __init__(self, folder: Path, seed: str, days: int, bug: str = "", log: Any = None):
        self.world, self.deck, self.bug, self.days = (
            World(folder, seed, days),
            Deck(seed, BUGS[bug].faults if bug else ()),
            bug,
            days,
        )
        self.random = Random(f"days {seed}")
        self.runs, self.began, self.errors, self.log = 0, 0, Counter[str](), log
        self.found: list[tuple[date, Violation]] = []
        self.last: Seen | None = None

    def run(self) -> Ran:
        world, broker, done = self.world, self.world.broker, 0
        broker.start()
        try:
            self._begin()
            for today, tomorrow in zip(world.days, world.days[1:], strict=False):
                done += 1
                self._day(today, tomorrow)
                if self.found or done == self.days:
                    break
        finally:
            broker.kill()
        events = broker.events()
        sent = [one for one in orders(events) if one.name[:2] == "20"]
        return Ran(
            world.seed, done, self.runs, len(sent), len(executions(events)),
            unforeseen_washes(self.last) if self.last else 0, dict(self.deck.met), dict(self.errors),
            [[str(on), *violation] for on, violation in self.found],
        )  # fmt: skip

    def _begin(self) -> None:
        """What the household bought before there was a Thresher, and the splits to come."""
        world, broker = self.world, self.world.broker
        broker.admin("/liquidity", {"symbol": "*", "plan": [[0, "1"]]})
        for name, (_, _, cash) in ACCOUNTS.items():
            for symbol in self.random.sample([*SYMBOLS], 8 if name != "roth" else 2):
                broker.order(name, symbol, cash // 1500)
        for (symbol, on), ratio in world.splits.items():
            action = {"type": "forward_split", "symbol": symbol, "new_rate": ratio, "old_rate": 1, "ex_date": str(on)}
            broker.admin("/corporate_actions", action)
        broker.go_to(at(world.days[0], 12))
        self.began = len(broker.events())

    def _day(self, today: date, tomorrow: date) -> None:
        """The evening of today, the session of tomorrow."""
        broker, random = self.world.broker, self.random
        broker.go_to(at(today, 18, 15))
        is_off = random.random() < 0.04  # the machine is off for a night
        if not is_off:
            for _ in range(random.choice((0, 0, 1, 1, 2))):
                self._disturbed("evening")
                broker.go_to(broker.at + timedelta(minutes=random.randint(1, 40)))
            clean = self._undisturbed("evening", today)
            if clean is None or clean.ledger is None:
                return
            self._judge(clean, today)
            if self.found:
                return
        self._overnight(tomorrow)
        wanted = not is_off and random.random() < 0.5 and self._by_hand()
        if random.random() < 0.04:  # nobody is there in the morning
            return
        lines = self.last.lines.values() if self.last else ()
        self._session(
            tomorrow, is_off=is_off, has_orders=wanted or any(one.session_on == str(tomorrow) for one in lines)
        )

    def _session(self, on: date, *, is_off: bool, has_orders: bool) -> None:
        broker, random = self.world.broker, self.random
        pieces = random.choice(((1,), (1,), (1,), (0.5, 0.5), (0.3, 0.3, 0.4), (0.1, 0.9)))
        seconds = random.choice((60, 400, 1500, 1500, 30_000))  # between them; the longest: never in this session
        broker.admin(
            "/liquidity", {"symbol": "*", "plan": [[seconds * bool(n), str(part)] for n, part in enumerate(pieces)]}
        )
        if random.random() < 0.25:
            broker.admin("/reject", {"symbol": random.choice([*SYMBOLS]), "reason": "halted"})
        broker.go_to(at(on, 9, random.choice((28, 31, 33, 36, 45))))
        for n in range(random.choice((1, 1, 2, 3))):
            if n and not is_off and broker.at < _before_close(on, 60) and random.random() < 0.6:
                has_orders = self._by_hand()
            is_worked = any(one.ended_at is None for one in orders(broker.events()))
            deck = (
                "stopping"
                if is_worked and random.random() < 0.7
                else "opening"
                if has_orders and random.random() < 0.85
                else ""
            )
            self._disturbed("morning", deck=deck)
            has_orders = False
            broker.go_to(min(broker.at + timedelta(minutes=random.randint(1, 75)), _before_close(on, 50)))
        if random.random() < 0.65:
            broker.go_to(_before_close(on, 45))
            began = broker.at
            clean = self._undisturbed("morning", on)
            if clean and clean.ledger is not None and not is_off:
                at_work = self._seen(clean.ledger, on, began)
                found = [Violation("a leg alone", words) for words in no_leg_stands_alone(at_work)]
                found += [
                    Violation("books are not the broker's", f"in the session: {row}") for row in clean.ledger["breaks"]
                ]
                self.found += [(on, one) for one in found]

    def _overnight(self, on: date) -> None:
        """Deposits come, companies pay."""
        broker, random = self.world.broker, self.random
        if random.random() < 0.15:
            name = random.choice([*ACCOUNTS])
            broker.admin(
                "/activities", {"account": name, "activity_type": "CSD", "net_amount": str(random.randint(500, 3000))}
            )
        if random.random() < 0.1:
            paid = {"type": "cash_dividend", "symbol": random.choice([*SYMBOLS]), "rate": "0.31", "ex_date": str(on)}
            broker.admin("/corporate_actions", paid | {"payable_date": str(on)})

    def _by_hand(self) -> bool:
        """Orders that a person wants, mostly of what was not sold lately: some would wash a loss all the same. Were there any?"""
        random, events = self.random, self.world.broker.events()
        held, now = recomputed(events), self.world.broker.at
        sold = {one.symbol for one in executions(events) if one.side == "sell" and now - one.at < timedelta(days=32)}
        free = [symbol for symbol in SYMBOLS if symbol not in sold]
        rows = []
        for account in random.choices([*ACCOUNTS], k=random.randint(1, 3)):
            own = [symbol for symbol, quantity in held.get(account, {}).items() if symbol != "USD" and quantity >= 2]
            if own and random.random() < 0.4:
                symbol = random.choice(sorted(own))
                rows.append(f"{account},sell,{symbol},{int(held[account][symbol] * random.choice((1, 2, 4)) / 4) or 1}")
            elif held.get(account, {}).get("USD", Decimal(0)) > 2500:
                wanted = random.choice(free if free and random.random() < 0.8 else [*SYMBOLS])
                rows.append(f"{account},buy,{wanted},{random.randint(1, 15)}")
        if rows:
            file = self.world.folder / "mine.csv"
            file.write_text("\n".join(("account,side,symbol,quantity", *rows, "")))
            if random.random() < 0.2:
                self._disturbed("hand", file)
            else:
                self._undisturbed("hand", self.world.broker.at.date(), file)
        return bool(rows)

    # Runs -----------------------------------------------------------------------------------------------

    def _undisturbed(self, kind: str, on: date, orders: Path | None = None) -> Step | None:
        """A run that nothing disturbs: it has to go well."""
        made = self._stepped(kind, Fault(""), orders)
        if made.was_killed or made.error:
            self.found.append((on, Violation("a clean run fails", f"{kind}: {made.error} {made.said}")))
            return None
        self.deck.last[kind] = made.counts or {}
        return made

    def _disturbed(self, kind: str, file: Path | None = None, deck: str = "") -> None:
        fault, broker = self.deck.draw(deck or kind), self.world.broker
        if fault.at_the_broker:
            broker.admin("/faults", [fault.at_the_broker])
        if fault.around == "the broker is down":
            broker.kill()
        with _around(fault, self.world.home):
            made = self._stepped(kind, fault, file)
        if made.broker_died or not broker.pid or not _lives(broker.pid):
            if broker.pid:
                broker.gone()
            broker.start()
        met = made.broker_died or fault.around not in ("", "the warehouse is locked")
        met |= made.was_killed or (made.error == "Locked")
        met |= bool(fault.meets.clock_hours) or (fault.meets.disk is not None and made.error != "")
        if fault.at_the_broker:
            met |= any(one["fired"] for one in broker.admin("/faults"))
            broker.admin("/faults", method="DELETE")
        self.deck.done(deck or kind, fault, met, made.counts)
        if made.error:
            self.errors[made.error] += 1
        if made.was_killed and kind == "morning":
            meant = intents_on_the_disk(self.world)
            sent = [one.name for one in orders(broker.events()[self.began :]) if one.name not in meant]
            day = broker.at.date()
            self.found += [(day, Violation("an order without an intent", f"{name}, after a kill")) for name in sent]

    def _stepped(self, kind: str, fault: Fault, orders: Path | None) -> Step:
        self.runs += 1
        made = step(self.world, kind, fault.meets, self.bug, orders)
        if self.log:
            ended = "killed" if made.was_killed else made.error or "well"
            print(
                f"{self.world.broker.at:%F %H:%M} {kind} {fault.name or 'undisturbed'}: {ended}",
                file=self.log,
                flush=True,
            )
        if _lives(self.world.broker.pid):
            self.world.broker.look()
        return made

    # Judging --------------------------------------------------------------------------------------------

    def _seen(self, ledger: Any, on: date, worked_at: datetime | None = None) -> Seen:
        return seen(self.world.broker.events(), self.began, ledger, on, self.world.splits, worked_at)

    def _judge(self, clean: Step, today: date) -> None:
        self.last = self._seen(clean.ledger, today)
        self.found += [(today, one) for one in violations(self.last)]


def run_world(seed: str, days: int, bug: str = "", log: Any = None, keep: bool = False) -> Ran:
    """A world from its seed, in a folder of memory that is gone afterwards."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-", dir=shared if shared.is_dir() else None))
    try:
        return Days(folder, seed, days, bug, log).run()
    finally:
        if keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)


def _before_close(on: date, minutes: int) -> datetime:
    return closes(on).replace(tzinfo=UTC) - timedelta(minutes=minutes)


def _lives(pid: int) -> bool:
    """A process that is there and no zombie."""
    if not pid:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def _around(fault: Fault, home: Path) -> Iterator[None]:
    """What others do meanwhile: stop trading, write the warehouse, read the snapshot."""
    if fault.name in CANCELS:
        (home / "STOP").touch()
        yield
        (home / "STOP").unlink()
    elif fault.around == "the warehouse is locked":
        with (home / "warehouse.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    elif fault.around == "the snapshot is held open" and (home / "snapshot.duckdb").exists():
        go_on, ready = os.pipe(), os.pipe()

        def read(_: int) -> None:
            os.close(go_on[1])
            with reader(home / "snapshot.duckdb") as warehouse:
                before = warehouse.value("SELECT count(*) FROM ledger.transactions")
                os.write(ready[1], b"1")
                os.read(go_on[0], 1)
                assert warehouse.value("SELECT count(*) FROM ledger.transactions") == before

        pid, told = begun(read)
        os.read(ready[0], 1)
        try:
            yield
        finally:
            os.close(go_on[1])
            _, status = os.waitpid(pid, 0)
            for end in (go_on[0], *ready, told):
                os.close(end)
            if status:
                raise AssertionError("a reader of the published copy was disturbed by a run")
    else:
        yield
