"""What a process does in a world: the evening, the morning, a person's orders; and what the ledger says then."""

import os
import shutil
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from flows.daily import daily, final
from flows.hand import order
from tests.chaos.bugs import BUGS
from tests.chaos.hooks import Hooks, Meets, Time
from tests.chaos.process import Ended, done
from tests.chaos.world import World, advancing
from warehouse.db import reader, writer

LEDGER = {
    "trades": "SELECT transaction_id, version, account_id, side, security_id, quantity, price_usd FROM ledger.transactions "
    "WHERE kind = 'trade' ORDER BY ALL",
    "events": "SELECT client_order_id, event, transaction_id, quantity FROM ledger.order_events ORDER BY ALL",
    "intents": "SELECT client_order_id, batch_id, line, attempt, quantity FROM ledger.intents ORDER BY ALL",
    "lines": "SELECT batch_id, line, pair, method, account_id, session_on, side, security_id, quantity, price_usd "
    "FROM ledger.batch_lines JOIN ledger.batches USING (batch_id) ORDER BY ALL",
    "batches": "SELECT batch_id, batch_hash, count(line) FROM ledger.batches LEFT JOIN ledger.batch_lines USING (batch_id) "
    "GROUP BY ALL ORDER BY ALL",
    "refusals": "SELECT batch_id, line, gate FROM ledger.refusals ORDER BY ALL",
    "waiting": "SELECT batch_id, line, gate FROM core.waiting ORDER BY ALL",
    "shares": "SELECT account_id, security_id, sum(quantity) FROM core.lots GROUP BY ALL HAVING sum(quantity) <> 0 ORDER BY ALL",
    "cash": "SELECT account_id, 'USD', cash_usd FROM mart.cash ORDER BY ALL",
    "breaks": "SELECT account_id, security_id, kind, guess FROM mart.breaks WHERE blocks ORDER BY ALL",
    "unsound": "SELECT source, kind, reason FROM core.source_status WHERE NOT is_sound ORDER BY ALL",
}


class Step(NamedTuple):
    """How a process ended; `counts` are None where it was killed, `ledger` is there after a run that went well."""

    was_killed: bool
    counts: dict[str, int] | None
    error: str
    said: str
    broker_died: bool
    ledger: dict[str, list[list[str]]] | None


def step(world: World, kind: str, meets: Meets = Meets(), bug: str = "", orders: Path | None = None) -> Step:  # noqa: B008
    """Carry it out in a process of its own."""
    ended = done(lambda: _carried_out(world, kind, meets, bug, orders))
    return _step(ended)


def _step(ended: Ended) -> Step:
    if ended.told is None:
        return Step(ended.was_killed, None, "" if ended.was_killed else "Crashed", "", False, None)
    return Step(False, **ended.told)


def _carried_out(world: World, kind: str, meets: Meets, bug: str, orders: Path | None) -> dict[str, Any]:
    broker = world.broker
    os.environ |= {"THRESHER_ALPACA_URL": broker.address, "THRESHER_ALPACA_DATA_URL": broker.address}
    for name, (key, secret) in broker.keys.items():
        os.environ |= {f"ALPACA_{name.upper()}_API_KEY": key, f"ALPACA_{name.upper()}_SECRET_KEY": secret}
    time = Time(broker.at, advancing(broker), meets)
    hooks = Hooks(meets, broker.pid)
    if bug:
        BUGS[bug].plant()
    error = said = ""
    settings = world.settings()
    hooks.put_in(world.home, time.clock)
    try:
        if kind == "evening":
            daily(settings, None, time.clock.now(), step=hooks.step, clock=time.clock)
        elif kind == "morning":
            final(settings, time.clock.now(), step=hooks.step, clock=time.clock)
        elif orders:
            said = order(settings, orders, only_check=False, clock=time.clock)
    except Exception as wrong:  # whatever it is: a clean run that ends so is a violation
        frame = traceback.extract_tb(wrong.__traceback__)[-1]
        error, said = type(wrong).__name__, f"{wrong} ({Path(frame.filename).name}:{frame.lineno})"
    ledger = None if error or meets != Meets() else _ledger(world)
    return {"counts": hooks.counts, "error": error, "said": said, "broker_died": hooks.broker_died, "ledger": ledger}


def intents_on_the_disk(world: World) -> set[str]:
    """What a process that was killed has left: the names of the orders that it meant. Read from a copy, so that nothing is mended."""
    return set(done(lambda: _on_disk(world, "SELECT client_order_id FROM ledger.intents")).told)


def _on_disk(world: World, query: str) -> list[str]:
    copy = world.folder / "copy" / "warehouse.duckdb"
    copy.parent.mkdir(exist_ok=True)
    for name in ("warehouse.duckdb", "warehouse.duckdb.wal"):
        copy.with_name(name).unlink(missing_ok=True)
        if (world.home / name).exists():
            shutil.copyfile(world.home / name, copy.with_name(name))
    with writer(copy) as warehouse:
        return warehouse.rows(query).to_series().to_list()


def _ledger(world: World) -> dict[str, list[list[str]]] | None:
    """What the published copy says, as text; there is none as long as no evening has come to its end."""
    if not (world.home / "snapshot.duckdb").exists() and not _on_disk(world, "SELECT batch_id FROM ledger.batches"):
        return None
    with reader(world.home / "snapshot.duckdb") as warehouse:
        told = {name: warehouse.rows(query).iter_rows() for name, query in LEDGER.items()}
        return {name: [[str(value) for value in row] for row in rows] for name, rows in told.items()}
