"""How orders stand: asked of the brokers, stored, and what was filled is booked.

The problem. A fill may be told twice, late, out of order or after a restart, and an answer may never come.

The choice. Nothing is counted along the way. Every state is a row under the broker's own name for it, stored once; how far a
line has come is a query over those rows, and which fills still have to be brought and booked is the difference to the ledger.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from flows.accounts import Account
from flows.book import book
from flows.calendar import NEW_YORK
from flows.connectors import FINAL, Broker, OrderRejected, OrderState, Unavailable
from flows.day import Day
from flows.ingest import store
from transforms import tables
from transforms.lots.picks import first_picks, rest_of_picks
from warehouse.db import Warehouse

FORGOTTEN_AFTER = timedelta(
    hours=12
)  # so long after its session a broker that tells nothing of an order has forgotten it


class Progress(NamedTuple):
    """How far a line has come. Units: shares; times are UTC."""

    attempts: int
    filled: Decimal
    is_open: bool  # its newest order has not ended
    is_over: bool  # rejected, or filled whole (in dollars that may be other shares than were meant): not tried again
    sent_at: datetime | None
    filled_at: datetime | None


NOTHING = Progress(0, Decimal(0), False, False, None, None)


def note_states(warehouse: Warehouse, day: Day) -> None:
    """Ask every broker with an open intent how it stands, and store what is new; done before anything is decided.

    An intent that the broker does not know when its time is over was never sent, and is not sent any more.
    """
    open_intents = _open_intents(warehouse)
    faults = []
    for account in day.settings.portfolio.accounts:
        mine = {name: expires_at for name, of, expires_at in open_intents if of == account.id}
        if not mine:
            continue
        try:
            states = day.broker(account).order_states(today_at(day, account))
        except Unavailable as wrong:
            faults.append((account.id, str(wrong)))
            continue
        known = set(
            warehouse.rows("SELECT client_order_id, event, transaction_id FROM ledger.order_events").iter_rows()
        )
        meant = set(warehouse.rows("SELECT client_order_id FROM ledger.intents")["client_order_id"])
        new = {state[:3]: state for state in states if state.client_order_id in meant and state[:3] not in known}
        told = {state.client_order_id for state in states}
        there = told | {name for name, _, _ in known}
        never = [
            OrderState(name, "expired", "", Decimal(0), "never sent: its time is over")
            for name, expires_at in mine.items()
            if name not in there and day.now_at(account) >= expires_at
        ]
        gone = [
            OrderState(name, "expired", "", filled, "its broker tells of it no more, and its session is over")
            for name, filled in _filled(warehouse).items()
            if name in mine and name not in told and day.now_at(account) >= mine[name] + FORGOTTEN_AFTER
        ]
        with warehouse.transaction():
            now, tick = day.clock.now(), timedelta(microseconds=1)  # in the broker's order: fills take lots in theirs
            found = enumerate((*new.values(), *never, *gone))
            warehouse.add("ledger.order_events", *((*state, now + place * tick) for place, state in found))
    _say_not_told_of(warehouse, day, faults)
    warehouse.run(  # an order that the broker has took its lots with it, whoever noted that
        "INSERT INTO ledger.lot_identifications SELECT client_order_id, any_value(lots), min(stored_at), "
        "'the order itself, which names the lots', 'order', NULL FROM ledger.intents JOIN ledger.order_events AS e "
        "USING (client_order_id) ANTI JOIN ledger.lot_identifications USING (client_order_id) "
        "WHERE lots <> '' GROUP BY client_order_id HAVING count(*) FILTER (e.event <> 'rejected' AND e.note NOT LIKE 'never sent%') > 0"
    )


def _filled(warehouse: Warehouse) -> dict[str, Decimal]:
    """Shares filled so far of every order that its broker took."""
    rows = warehouse.rows(
        "SELECT client_order_id, coalesce(sum(quantity) FILTER (event = 'fill'), 0)::DECIMAL(28, 9) FROM ledger.order_events "
        "GROUP BY ALL HAVING count(*) FILTER (event = 'accepted') > 0"
    )
    return dict(rows.iter_rows())


def _say_not_told_of(warehouse: Warehouse, day: Day, faults: list[tuple[str, str]]) -> None:
    """An account whose open orders nobody can tell takes no new ones."""
    warehouse.run("DELETE FROM core.source_status WHERE kind = 'orders'")
    rows = [
        (account, "orders", day.as_of, 1, False, f"its open orders could not be asked for: {why}", "")
        for account, why in faults
    ]
    warehouse.append("core.source_status", tables.core("source_status", rows))


def not_told_of(warehouse: Warehouse) -> set[str]:
    """Accounts whose open orders could not be asked for."""
    rows = warehouse.rows("SELECT source FROM core.source_status WHERE kind = 'orders' AND NOT is_sound")
    return set(rows["source"])


def _open_intents(warehouse: Warehouse) -> list[tuple[str, str, datetime]]:
    """Intents that have not ended, or of which fewer fills are known than they ended with."""
    return warehouse.rows(
        "SELECT i.client_order_id, b.account_id, b.expires_at FROM ledger.intents AS i JOIN ledger.batches AS b USING (batch_id) "
        "LEFT JOIN ledger.order_events AS e USING (client_order_id) GROUP BY ALL "
        "HAVING count(*) FILTER (list_contains($final, e.event)) = 0 OR coalesce(sum(e.quantity) FILTER (e.event = 'fill'), 0) "
        "< coalesce(sum(e.quantity) FILTER (list_contains($final, e.event)), 0) ORDER BY 1",
        final=list(FINAL),
    ).rows()


def progress_of_lines(warehouse: Warehouse) -> dict[tuple[str, int], Progress]:
    """How far every line that an intent was stored for has come."""
    rows = warehouse.rows(
        """
        SELECT i.batch_id, i.line, max(i.attempt) AS attempts,
            coalesce(sum(e.quantity) FILTER (e.event = 'fill'), 0)::DECIMAL(28, 9) AS filled,
            count(DISTINCT i.attempt) > count(*) FILTER (list_contains($final, e.event))
                OR coalesce(sum(e.quantity) FILTER (list_contains($final, e.event)), 0)
                > coalesce(sum(e.quantity) FILTER (e.event = 'fill'), 0) AS is_open,
            count(*) FILTER (e.event IN ('rejected', 'filled')) > 0 AS is_over,
            max(i.stored_at) AS sent_at, max(e.known_at) FILTER (e.event = 'fill') AS filled_at
        FROM ledger.intents AS i LEFT JOIN ledger.order_events AS e USING (client_order_id) GROUP BY ALL
        """,
        final=list(FINAL),
    )
    return {(row[0], row[1]): Progress(*row[2:]) for row in rows.iter_rows()}


def book_fills(warehouse: Warehouse, day: Day, session_on: date) -> None:
    """Bring the transactions of fills that the ledger lacks, and book them. Each is booked once, however often it comes."""
    lacking = dict(
        warehouse.rows(
            "SELECT b.account_id, count(*) FROM ledger.order_events AS e JOIN ledger.intents AS i USING (client_order_id) "
            "JOIN ledger.batches AS b USING (batch_id) ANTI JOIN ledger.transactions AS t ON t.transaction_id = e.transaction_id "
            "WHERE e.event = 'fill' GROUP BY ALL"
        ).iter_rows()
    )
    until = session_on
    brought = bool(  # a day that is booked again is booked without the fills of the session after it
        warehouse.value(
            "SELECT count(*) FROM ledger.transactions JOIN ledger.order_events USING (transaction_id) WHERE event = 'fill' "
            "AND traded_on > (SELECT max(booked_to) FROM core.accounts) AND traded_on <= $until",
            until=until,
        )
    )
    for account in day.settings.portfolio.accounts:
        broker = day.broker(account)
        if account.id in lacking:
            try:
                _deliver(warehouse, day, broker, today_at(day, account))
            except Unavailable:  # its fills are booked by the pass that finds it there again
                continue
            brought = True
            until = max(until, today_at(day, account))
        _tell_lots(warehouse, day, account, broker)
    if brought:
        with warehouse.transaction():
            book(warehouse, day, until)


def _deliver(warehouse: Warehouse, day: Day, broker: Broker, until: date) -> None:
    """Activities and positions of one moment: a fill between the two would look like a break."""
    for _ in range(3):
        activities, positions = broker.activities(until), broker.positions(until)
        if broker.activities(until).rows.equals(activities.rows):
            break
    store(warehouse, day, activities)
    store(warehouse, day, positions)


def _tell_lots(warehouse: Warehouse, day: Day, account: Account, broker: Broker) -> None:
    """Tell a broker that takes lots after the trade those of its fills; what it does not take any more stays untold."""
    if account.relief != "after_trade":
        return
    waiting = warehouse.rows(
        "SELECT i.client_order_id, l.lots, i.quantity, coalesce(sum(p.quantity), 0)::DECIMAL(28, 9) AS before "
        "FROM ledger.intents AS i JOIN ledger.batches AS b USING (batch_id) JOIN ledger.batch_lines AS l USING (batch_id, line) "
        "LEFT JOIN ledger.intents AS q ON q.batch_id = i.batch_id AND q.line = i.line AND q.attempt < i.attempt "
        "LEFT JOIN ledger.order_events AS p ON p.client_order_id = q.client_order_id AND p.event = 'fill' "
        "ANTI JOIN ledger.lot_identifications AS t ON t.client_order_id = i.client_order_id "
        "WHERE b.account_id = $account AND l.side = 'sell' AND l.lots <> '' "
        "AND i.client_order_id IN (SELECT client_order_id FROM ledger.order_events WHERE event IN ('filled', 'canceled', 'expired') "
        "AND quantity > 0) GROUP BY ALL",
        account=account.id,
    )
    for name, lots, quantity, before in waiting.iter_rows():
        own = first_picks(rest_of_picks(lots, before), quantity)
        try:
            at, until = broker.tell_lots(name, own, day.as_of)
        except (OrderRejected, Unavailable):
            continue
        warehouse.add(
            "ledger.lot_identifications", (name, own, _utc(at), "the broker took them", "after trade", _utc(until))
        )


def today_at(day: Day, account: Account) -> date:
    """The date at a broker, New York."""
    return day.now_at(account).replace(tzinfo=UTC).astimezone(NEW_YORK).date()


def _utc(new_york: datetime) -> datetime:
    return new_york.replace(tzinfo=NEW_YORK).astimezone(UTC).replace(tzinfo=None)
