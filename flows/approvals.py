"""A person says yes, no or otherwise to a decision, and the answer binds to the lines that the person saw.

An answer names the digest of what was shown: a decision with other lines was not approved. An edit is a new decision that
replaces the old one and is shown again. Whoever asks, Prefect's interface or the command line, goes through these functions.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from flows.day import REAL, Clock, Day, day_of
from flows.decide import replace
from flows.documents.tables import usd
from flows.settings import Settings
from warehouse.db import Warehouse, reader, writer

VERDICTS = {"accept": "accepted", "refuse": "refused"}
EDIT = re.compile(r"\s*(\d+)\s*=\s*(\d+(?:\.\d+)?)\s*")


class NotApproved(Exception):
    """An answer that cannot count; the message says why and what to do."""


class Expired(NotApproved):
    """The answer came too late: the next decision takes the place of this one."""


class Question(NamedTuple):
    """What a person is asked. `verdict` is empty while nobody has answered."""

    batch_id: str
    batch_hash: str
    account_id: str
    session_on: object
    expires_at: datetime
    verdict: str
    markdown: str


def waiting(settings: Settings) -> list[Question]:
    """The decisions that wait for a person, as the published snapshot has them."""
    with reader(settings.snapshot) as warehouse:
        rows = warehouse.rows(
            "SELECT b.batch_id FROM ledger.batches AS b ANTI JOIN ledger.approvals USING (batch_id) WHERE b.mode = 'approve' "
            "AND b.session_on = (SELECT max(session_on) FROM ledger.batches) "
            "AND b.batch_id IN (SELECT batch_id FROM ledger.batch_lines) ORDER BY 1"
        )
        return [_question(warehouse, batch) for batch in rows["batch_id"]]


def question(settings: Settings, batch: str) -> Question:
    """A decision, or the newest one that replaces it.

    Errors   NotApproved when there is none of that name.
    """
    with reader(settings.snapshot) as warehouse:
        return _question(warehouse, batch)


def answer(
    settings: Settings,
    batch: str,
    batch_hash: str,
    verdict: str,
    edit: str = "",
    note: str = "",
    *,
    wait: float = 0,
    clock: Clock = REAL,
) -> str:
    """Store what a person said; the batch_id that is now the decision, and to be asked about if it is another one.

    Errors   NotApproved: of another digest, answered before, expired, or an edit that cannot be read.
    """
    with writer(settings.warehouse, wait) as warehouse:
        asked = _question(warehouse, batch)
        if asked.batch_hash != batch_hash:
            raise NotApproved(f"{asked.batch_id} has the digest {asked.batch_hash}, not {batch_hash}: look at it again")
        if asked.verdict:
            raise NotApproved(f"{asked.batch_id} was {asked.verdict} already")
        day = _day(warehouse, settings, asked.batch_id, clock)
        account = next((a for a in settings.portfolio.accounts if a.id == asked.account_id), None)
        if account is None or day.now_at(account) >= asked.expires_at:
            raise Expired(f"{asked.batch_id} expired at {asked.expires_at} UTC; the next decision takes its place")
        if verdict == "edit":
            try:
                name = replace(warehouse, day, asked.batch_id, read_edit(edit), note)
            except ValueError as wrong:
                raise NotApproved(str(wrong)) from None
        elif verdict in VERDICTS:
            if warehouse.value("SELECT count(*) FROM ledger.intents WHERE batch_id = $batch", batch=asked.batch_id):
                raise NotApproved(
                    f"{asked.batch_id} was sent already: the file STOP in the home cancels what is worked"
                )
            warehouse.add("ledger.approvals", (asked.batch_id, batch_hash, VERDICTS[verdict], note, clock.now()))
            name = asked.batch_id
        else:
            raise NotApproved(f"{verdict!r} is not accept, refuse or edit")
        warehouse.publish(settings.snapshot, day.as_of, day.run_id, clock.now())
        return name


def read_edit(text: str) -> dict[int, Decimal]:
    """Quantities by line: what is not named stays as it is.

    Errors   ValueError.

    >>> read_edit("3 = 0, 5=12.5")
    {3: Decimal('0'), 5: Decimal('12.5')}
    """
    parts = [part for part in re.split(r"[,;\n]", text) if part.strip()]
    found = {int(made[1]): Decimal(made[2]) for part in parts if (made := EDIT.fullmatch(part))}
    if not parts or len(found) != len(parts):
        raise ValueError(
            f"{text!r} is not LINE=SHARES, LINE=SHARES: 3=0 leaves line 3 out, 5=12.5 trades less of line 5"
        )
    return found


def _day(warehouse: Warehouse, settings: Settings, batch: str, clock: Clock) -> Day:
    as_of = warehouse.value("SELECT as_of FROM ledger.batches WHERE batch_id = $batch", batch=batch)
    return day_of(settings, as_of, clock.now(), clock)


def _question(warehouse: Warehouse, batch: str) -> Question:
    while newer := warehouse.value("SELECT batch_id FROM ledger.batches WHERE replaces = $batch", batch=batch):
        batch = newer
    rows = warehouse.rows(
        "SELECT batch_id, batch_hash, account_id, session_on, expires_at, coalesce(verdict, '') FROM ledger.batches "
        "LEFT JOIN (SELECT batch_id, verdict FROM ledger.approvals) USING (batch_id) WHERE batch_id = $batch",
        batch=batch,
    ).rows()
    if not rows:
        raise NotApproved(f"there is no decision {batch!r}: thresher approve lists those that wait")
    return Question._make((*rows[0], _markdown(warehouse, rows[0])))


def _markdown(warehouse: Warehouse, batch: tuple) -> str:
    """The decision as a person reads it: every line with what it would do to this year's tax."""
    name, digest, account, session_on, expires_at, _ = batch
    lines = warehouse.rows(
        "SELECT line, format('{} {} {}', side, rtrim(rtrim(quantity::VARCHAR, '0'), '.'), security_id) AS trade, "
        "quantity * price_usd AS worth, loss_usd AS loss, tax_saved_usd AS saves, reason "
        "FROM ledger.batch_lines WHERE batch_id = $batch ORDER BY line",
        batch=name,
    )
    held_back = warehouse.rows(
        "SELECT line, gate, reason FROM ledger.refusals WHERE batch_id = $batch UNION ALL "
        "SELECT line, gate, reason FROM core.waiting WHERE batch_id = $batch AND gate <> 'not_approved' ORDER BY 1, 2",
        batch=name,
    )
    sums = "; ".join(
        f"{what} {usd(lines[column].sum())}" for what, column in (("losses", "loss"), ("tax saved this year", "saves"))
    )
    said = [f"**{account}**, session of {session_on}: {lines.height} orders, {sums}.", ""]
    said += ["| line | order | worth | loss | saves |", "|---|---|---|---|---|"]
    said += [
        f"| {line} | {trade} | {usd(worth)} | {usd(loss) if loss else ''} | {usd(saves) if saves else ''} |"
        for line, trade, worth, loss, saves, _ in lines.iter_rows()
    ]
    said += ["", *(f"- line {row['line']}: {row['reason']}" for row in lines.iter_rows(named=True))]
    said += [f"- line {line} is held back by {gate}: {reason}" for line, gate, reason in held_back.iter_rows()]
    said += ["", f"Decision `{name}`, digest `{digest}`, until {expires_at} UTC."]
    return "\n".join(said)
