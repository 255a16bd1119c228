"""From a decision to fills: gates, intents, orders, fills.

The problem. Anything may stop between any two steps: this process, the network, the broker. An answer may be lost after
the order was taken, a fill told twice or late, a sale filled and its replacement not.

The choice. `execute` is one pass that can be done again at any time and from anywhere. It asks the broker first how the
orders stand that it knows of, books what was filled, and only then looks at what is left to send. An intent is stored before
it is sent, under a name (batch, line, attempt) that the broker takes once; whether it was sent is never remembered, it is asked.
What is left to send and what the cash pays for is in attempts.py, how the orders stand in fills.py.
"""

from collections import Counter
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from flows.attempts import Attempt, affordable, attempts_of
from flows.calendar import next_session
from flows.connectors import Broker, Order, OrderRejected, OrderState, Unavailable
from flows.day import Day
from flows.decide import halves, lines_of
from flows.evidence import held_back_by_gates
from flows.fills import NOTHING, Progress, book_fills, not_told_of, note_states, progress_of_lines, today_at
from flows.ingest import store
from transforms import tables
from transforms.orders.gates import WAITS, Line, Refusal
from transforms.orders.identity import client_order_id
from warehouse.db import Warehouse

CENT = Decimal("0.01")


def execute(warehouse: Warehouse, day: Day) -> bool:
    """One pass over the decisions for the session after `day.as_of`; is an order still worked, or does one wait for its proceeds?

    A line that was refused stays refused, one that ended is tried again with what is left while its attempts last. What
    waits (for the exchange, a person, its pair) is asked again by all gates, on what they see then.
    """
    session_on = next_session(day.as_of)
    note_states(warehouse, day)
    lines = lines_of(warehouse, session_on)
    _cancel(warehouse, day, lines)  # before anything that can fail: the kill switch needs no books
    book_fills(warehouse, day, session_on)
    day = day._replace(quotes=_live(day, lines))
    progress = progress_of_lines(warehouse)
    refused_before = set(warehouse.rows("SELECT batch_id, line FROM ledger.refusals").iter_rows())
    attempts = attempts_of(day, lines, progress, refused_before)
    _balances(warehouse, day, {a.line.account_id for a in attempts})
    begun = {line.together for line in lines if progress.get(line.key, NOTHING).attempts}
    silent = _silent(warehouse, day, session_on, lines, begun)
    going = [a.line for a in attempts if a.line.key not in silent]
    shown = [a.line for a in attempts if a.line.key in silent]  # what is not sent counts for nothing that is
    refused = [
        row
        for some in (going, shown)
        if some
        for row in held_back_by_gates(warehouse, day, some, session_on, day.stopped)
    ]
    held_back = {(row.batch_id, row.line) for row in refused}
    asked_again = {
        a.line.key for a in attempts if a.line.together in begun
    }  # a pair that has begun is not left on one leg
    later = asked_again | {(row.batch_id, row.line) for row in refused if row.gate in WAITS}
    final = [row for row in refused if row.gate == "expired" or (row.batch_id, row.line) not in later]
    passing = [a for a in attempts if a.line.key not in held_back and a.line.key not in silent]
    blind = {
        a.line.together: a.line.security_id
        for a in passing
        if _has_live_prices(day, a.line) and a.line.security_id not in (day.quotes or {})
    }
    ready, poor = affordable(warehouse, day, lines, progress, [a for a in passing if a.line.together not in blind])
    poor += [
        Refusal(*a.line.key, "live_price", f"no live price of {blind[a.line.together]} now; asked again")
        for a in passing
        if a.line.together in blind
    ]
    alone = [Refusal(*line.key, "pair", silent[line.key]) for line in shown if silent[line.key]]
    intents = [_intent(day, attempt) for attempt in ready]
    waiting = [row for row in refused if row not in final] + poor + alone
    with warehouse.transaction():
        warehouse.add("ledger.refusals", *((*row, day.clock.now()) for row in final))
        warehouse.add("ledger.intents", *intents)
        warehouse.replace("core.waiting", tables.core("waiting", [tuple(row) for row in dict.fromkeys(waiting)]))
    _send(warehouse, day, lines)
    note_states(warehouse, day)
    book_fills(warehouse, day, session_on)
    progress = progress_of_lines(warehouse)
    again = attempts_of(day, lines, progress, {(row.batch_id, row.line) for row in final})
    return (
        bool(poor)
        or any(progress.get(line.key, NOTHING).is_open for line in lines)
        or any(a.number > 1 and _may_send(day, a.line) for a in again)
    )


def _silent(
    warehouse: Warehouse, day: Day, session_on: date, lines: list[Line], begun: set[tuple[date, str, int]]
) -> dict[tuple[str, int], str]:
    """Lines that are not sent now: dry runs, those whose broker cannot be asked, and, with the reason, those whose pair has such a part.

    A pair that has begun goes on where it can.
    """
    unasked = not_told_of(warehouse)
    found = {line.key: "" for line in lines if not _may_send(day, line) or line.account_id in unasked}
    parts = halves(warehouse, session_on) | {line.together: line.account_id for line in lines if line.key in found}
    return {
        line.key: f"{parts[line.together]} sends nothing of its pair"
        for line in lines
        if line.together in parts.keys() - begun
    } | found


def _has_live_prices(day: Day, line: Line) -> bool:
    """Is the line one of a real broker's, and the market one that tells live prices? Then it is not sent without one."""
    account = next(account for account in day.settings.portfolio.accounts if account.id == line.account_id)
    return account.broker != "simulated" and day.settings.portfolio.prices.source in ("alpaca", "ibkr")


def _live(day: Day, lines: list[Line]) -> dict[str, Decimal]:
    """What the lines of real brokers trade at now; nothing where the market has closes only."""
    real = {
        account.id for account in day.settings.portfolio.accounts if account.broker not in ("simulated", "statements")
    }
    symbols = sorted({line.security_id for line in lines if line.account_id in real})
    try:
        return {quote.security_id: quote.price_usd for quote in day.market().quotes(symbols)} if symbols else {}
    except Unavailable:
        return {}


def _balances(warehouse: Warehouse, day: Day, accounts: set[str]) -> None:
    """What real brokers say of the accounts that are to trade, now: buying power moves with every fill."""
    for account in day.settings.portfolio.accounts:
        if account.id in accounts and account.broker not in ("simulated", "statements"):
            try:
                store(warehouse, day, day.broker(account).balances(today_at(day, account)))
            except Unavailable:  # the orders will tell whether it is there
                continue


def _may_send(day: Day, line: Line) -> bool:
    """What was decided as a dry run stays one, and an account that is set to another mode sends nothing of it any more."""
    account = next(account for account in day.settings.portfolio.accounts if account.id == line.account_id)
    return line.mode == account.orders != "dry_run"


def _intent(day: Day, attempt: Attempt) -> tuple:
    """A row of ledger.intents."""
    line = attempt.line
    account = next(account for account in day.settings.portfolio.accounts if account.id == line.account_id)
    price = (day.quotes or {}).get(line.security_id, line.price_usd)
    is_notional = line.side == "buy" and account.shares == "notional"
    notional = (line.quantity * price).quantize(CENT, ROUND_HALF_UP) if is_notional else None
    lots = line.lots if account.relief == "on_order" else ""
    return attempt.name, *line.key, attempt.number, line.quantity, attempt.limit_usd, notional, lots, day.clock.now()


def _send(warehouse: Warehouse, day: Day, lines: list[Line]) -> None:
    """Send every intent of the session that the broker has not answered yet, sells first."""
    rows = warehouse.rows(
        "SELECT batch_id, line, client_order_id, quantity, limit_usd, notional_usd, lots FROM ledger.intents "
        "ANTI JOIN ledger.order_events USING (client_order_id)"
    )
    unanswered = {(row[0], row[1]): row[2:] for row in rows.iter_rows()}
    progress = progress_of_lines(warehouse)
    brokers = {account.id: day.broker(account) for account in day.settings.portfolio.accounts}
    unasked = not_told_of(warehouse)
    unsold = {line.pair_here for line in lines if line.side == "sell" and _came_to_nothing(day, progress.get(line.key))}
    meant = [line for line in lines if line.key in unanswered and line.account_id in brokers]
    now = _clocks(day, {line.account_id: brokers[line.account_id] for line in meant})
    waiting = {line.together for line in meant if not _may_go(day, line, unasked, now[line.account_id])}
    for line in sorted(meant, key=lambda line: line.side == "buy"):
        if line.together in waiting or not _may_go(day, line, unasked, now[line.account_id]):
            waiting.add(line.together)
            continue
        name, quantity, limit, notional, lots = unanswered[line.key]
        order = Order(name, line.side, line.security_id, _plain(quantity), lots, day.as_of, limit, notional)
        try:
            if line.side == "buy" and line.pair_here in unsold:
                raise OrderRejected("not sent: the sale that it replaces was rejected")
            state = brokers[line.account_id].place_order(order)
        except OrderRejected as words:
            if line.side == "sell":
                unsold.add(line.pair_here)
            state = OrderState(name, "rejected", "", Decimal(0), str(words))
        except Unavailable:
            waiting.add(line.together)
            continue
        if state.event != "rejected":  # it was there already, perhaps filled: its states tell of its fills
            state = state._replace(event="accepted", transaction_id="", quantity=Decimal(0))
        warehouse.add("ledger.order_events", (*state, day.clock.now()))


def _clocks(day: Day, brokers: dict[str, Broker]) -> dict[str, datetime | None]:
    """The time at each account's broker, by its own clock; none where it is down."""
    found: dict[str, datetime | None] = {}
    for account in day.settings.portfolio.accounts:
        if account.id in brokers:
            try:
                found[account.id] = brokers[account.id].now() or day.now_at(account)
            except Unavailable:
                found[account.id] = None
    return found


def _may_go(day: Day, line: Line, unasked: set[str], now: datetime | None) -> bool:
    """An intent may have been stored long before it is sent: what has changed since holds it back all the same.

    `now` is the time at the broker, none when it is down: an order that a wrong clock of this machine let pass would be worked
    in the next session.
    """
    if now is None:
        return False
    is_over = line.expires_at is not None and now >= line.expires_at
    return not (_is_stopped(day) or is_over or line.account_id in unasked) and _may_send(day, line)


def _is_stopped(day: Day) -> bool:
    return bool(day.stopped) or (day.settings.home / "STOP").exists()


def _came_to_nothing(day: Day, made: Progress | None) -> bool:
    """A sale that was rejected, or ended without a share sold and is not tried again."""
    if made is None or made.is_open or made.filled:
        return False
    return made.is_over or made.attempts >= day.settings.portfolio.orders.attempts


def _cancel(warehouse: Warehouse, day: Day, lines: list[Line]) -> None:
    """Cancel what is worked when trading is stopped, and what keeps a pair on one leg for too long: it is tried at the market."""
    policy = day.settings.portfolio
    stopped = _is_stopped(day)
    progress = progress_of_lines(warehouse)
    begun: dict[tuple[date, str, int], datetime] = {}  # since when a pair stands on one leg
    legs = Counter(line.together for line in lines)
    for line in lines:
        if legs[line.together] > 1 and (filled_at := progress.get(line.key, NOTHING).filled_at):
            begun[line.together] = min(filled_at, begun.get(line.together, filled_at))
    lapse = timedelta(minutes=policy.orders.max_lapse_minutes)
    accounts = {account.id: account for account in policy.accounts}
    for line in lines:
        made = progress.get(line.key, NOTHING)
        account = accounts.get(line.account_id)
        if not made.is_open or made.sent_at is None or account is None or account.broker == "simulated":
            continue
        since = begun.get(line.together)
        is_late = (
            since is not None
            and made.attempts < policy.orders.attempts
            and day.clock.now() - max(since, made.sent_at) > lapse
        )
        if stopped or is_late:
            try:
                day.broker(account).cancel_order(client_order_id(*line.key, made.attempts))
            except (Unavailable, OrderRejected):  # how it ended is asked for; a later pass tries again
                continue
    if any(made.is_open for made in progress.values()):
        note_states(warehouse, day)


def _plain(quantity: Decimal) -> Decimal:
    return Decimal(f"{quantity.normalize():f}")
