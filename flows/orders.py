"""From a decision to fills: gates, intents, orders, fills.

The problem. Anything may stop between any two steps: this process, the network, the broker. An answer may be lost after
the order was taken, a fill told twice or late, a sale filled and its replacement not.

The choice. `execute` is one pass that can be done again at any time and from anywhere. It asks the broker first how the
orders stand that it knows of, books what was filled, and only then looks at what is left to send. An intent is stored before
it is sent, under a name (batch, line, attempt) that the broker takes once; whether it was sent is never remembered, it is asked.
How the orders stand is in fills.py.
"""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import NamedTuple

from flows.calendar import next_session
from flows.connectors import FINAL, Order, OrderRejected, OrderState, Unavailable
from flows.day import Day
from flows.decide import lines_of
from flows.evidence import held_back_by_gates
from flows.fills import NOTHING, Progress, book_fills, not_told_of, note_states, progress_of_lines, today_at
from flows.ingest import store
from transforms import tables
from transforms.lots.picks import first_picks, rest_of_picks
from transforms.orders.collar import collar
from transforms.orders.gates import WAITS, Line, Refusal
from transforms.orders.identity import client_order_id
from warehouse.db import Warehouse

WHOLE, FRACTION, CENT = Decimal(1), Decimal("0.0001"), Decimal("0.01")


class Attempt(NamedTuple):
    """An order to be sent: a line with the quantity and the lots that are left of it."""

    line: Line
    number: int
    at_market: bool

    @property
    def name(self) -> str:
        return client_order_id(*self.line.key, self.number)


def _pair(line: Line) -> tuple[str, int]:
    return line.batch_id, line.pair


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
    attempts = _attempts(
        day, lines, progress, set(warehouse.rows("SELECT batch_id, line FROM ledger.refusals").iter_rows())
    )
    _balances(warehouse, day, {a.line.account_id for a in attempts})
    going = [a.line for a in attempts if _may_send(day, a.line)]
    shown = [a.line for a in attempts if not _may_send(day, a.line)]  # what is not sent counts for nothing that is
    refused = [
        row
        for some in (going, shown)
        if some
        for row in held_back_by_gates(warehouse, day, some, session_on, day.stopped)
    ]
    held_back = {(row.batch_id, row.line) for row in refused}
    begun = {_pair(line) for line in lines if progress.get(line.key, NOTHING).attempts}
    asked_again = {
        a.line.key for a in attempts if _pair(a.line) in begun
    }  # a pair that has begun is not left on one leg
    later = asked_again | {(row.batch_id, row.line) for row in refused if row.gate in WAITS}
    final = [row for row in refused if row.gate == "expired" or (row.batch_id, row.line) not in later]
    unasked = not_told_of(warehouse)
    passing = [
        a for a in attempts
        if a.line.key not in held_back and _may_send(day, a.line) and a.line.account_id not in unasked
    ]  # fmt: skip
    blind = [a for a in passing if _has_live_prices(day, a.line) and a.line.security_id not in (day.quotes or {})]
    ready, poor = _affordable(warehouse, day, lines, [a for a in passing if a not in blind])
    poor += [
        Refusal(*a.line.key, "live_price", f"no live price of {a.line.security_id} now; asked again") for a in blind
    ]
    intents = [_intent(day, attempt) for attempt in ready]
    waiting = [row for row in refused if row not in final] + poor
    with warehouse.transaction():
        warehouse.add("ledger.refusals", *((*row, day.clock.now()) for row in final))
        warehouse.add("ledger.intents", *intents)
        warehouse.replace("core.waiting", tables.core("waiting", [tuple(row) for row in dict.fromkeys(waiting)]))
    _send(warehouse, day, lines)
    note_states(warehouse, day)
    book_fills(warehouse, day, session_on)
    progress = progress_of_lines(warehouse)
    again = _attempts(day, lines, progress, {(row.batch_id, row.line) for row in final})
    return (
        bool(poor)
        or any(progress.get(line.key, NOTHING).is_open for line in lines)
        or any(a.number > 1 and _may_send(day, a.line) for a in again)
    )


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


def _attempts(
    day: Day, lines: list[Line], progress: dict[tuple[str, int], Progress], refused: set[tuple[str, int]]
) -> list[Attempt]:
    """What is left to send: lines that nothing was sent for, and those whose order ended before they were filled."""
    accounts = {account.id: account for account in day.settings.portfolio.accounts}
    legs = Counter(map(_pair, lines))
    begun = {_pair(line) for line in lines if progress.get(line.key, NOTHING).filled and legs[_pair(line)] > 1}
    found = []
    for line in lines:
        made = progress.get(line.key, NOTHING)
        if made.is_open or made.is_over or made.attempts >= day.settings.portfolio.orders.attempts:
            continue
        if line.key in refused or not (account := accounts.get(line.account_id)):
            continue
        step = WHOLE if account.shares == "whole" else FRACTION
        wanted = line.quantity
        if line.side == "buy" and (share := _sold(day, line, lines, progress)) < 1:
            wanted = (wanted * share).quantize(step, ROUND_DOWN)
        left = wanted - made.filled
        if account.shares == "whole":
            left = left.quantize(WHOLE, ROUND_DOWN)
        if left > 0:
            lots = first_picks(rest_of_picks(line.lots, made.filled), left)
            found.append(
                Attempt(
                    line._replace(quantity=left, lots=lots),
                    made.attempts + 1,
                    made.attempts > 0 and _pair(line) in begun,
                )
            )
    return found


def _sold(day: Day, buy: Line, lines: list[Line], progress: dict[tuple[str, int], Progress]) -> Decimal:
    """The part of a pair's sales that its purchase may replace now: all of it while they can still be filled in full."""
    sales = [line for line in lines if _pair(line) == _pair(buy) and line.side == "sell"]
    made = [progress.get(line.key, NOTHING) for line in sales]
    most = day.settings.portfolio.orders.attempts
    if not any(one.is_over or (one.attempts >= most and not one.is_open) for one in made):
        return Decimal(1)
    worth = sum((line.value_usd for line in sales), Decimal(0))
    done = sum(
        (min(one.filled, line.quantity) * line.price_usd for line, one in zip(sales, made, strict=True)), Decimal(0)
    )
    return done / worth if worth else Decimal(1)


def _may_send(day: Day, line: Line) -> bool:
    """What was decided as a dry run stays one, and an account that is set to another mode sends nothing of it any more."""
    account = next(account for account in day.settings.portfolio.accounts if account.id == line.account_id)
    return line.mode == account.orders != "dry_run"


def _affordable(
    warehouse: Warehouse, day: Day, lines: list[Line], passing: list[Attempt]
) -> tuple[list[Attempt], list[Refusal]]:
    """Sales, and the purchases that the cash at hand pays for; the others wait for the proceeds.

    A simulated broker fills all of a session's orders at once: there the proceeds count already.
    """
    accounts = {account.id: account for account in day.settings.portfolio.accounts}
    at_hand: dict[str, Decimal] = defaultdict(
        Decimal, warehouse.rows("SELECT account_id, cash_usd FROM mart.cash").iter_rows()
    )
    for account_id, worth in warehouse.rows(
        "SELECT b.account_id, sum((i.quantity - coalesce(f.filled, 0)) * coalesce(i.limit_usd, l.price_usd))::DECIMAL(28, 6) "
        "FROM ledger.intents AS i JOIN ledger.batches AS b USING (batch_id) JOIN ledger.batch_lines AS l USING (batch_id, line) "
        "LEFT JOIN (SELECT client_order_id, sum(quantity) AS filled FROM ledger.order_events WHERE event = 'fill' GROUP BY ALL) AS f "
        "USING (client_order_id) WHERE l.side = 'buy' AND b.session_on >= $on AND i.client_order_id NOT IN "
        "(SELECT client_order_id FROM ledger.order_events WHERE list_contains($final, event)) GROUP BY ALL",
        final=list(FINAL),
        on=next_session(day.as_of),
    ).iter_rows():
        at_hand[account_id] -= worth
    sales = {_pair(line) for line in lines if line.side == "sell"}
    ready, poor = [], []
    for attempt in passing:
        line = attempt.line
        if line.side == "sell":
            ready.append(attempt)
            if accounts[line.account_id].broker == "simulated":
                at_hand[line.account_id] += line.value_usd
    for attempt in (a for a in passing if a.line.side == "buy"):
        line = attempt.line
        is_margin = day.settings.portfolio.gates.of(line.account_id).is_margin
        if (_pair(line) in sales or not is_margin) and line.value_usd > at_hand[line.account_id]:
            short = line.value_usd - at_hand[line.account_id]
            poor.append(Refusal(*line.key, "proceeds", f"waits for ${short:,.2f} of cash"))
            continue
        at_hand[line.account_id] -= line.value_usd
        ready.append(attempt)
    return ready, poor


def _intent(day: Day, attempt: Attempt) -> tuple:
    """A row of ledger.intents."""
    line, policy = attempt.line, day.settings.portfolio.orders
    account = next(account for account in day.settings.portfolio.accounts if account.id == line.account_id)
    live = (day.quotes or {}).get(line.security_id)
    rate = policy.collar_rate if live else policy.overnight_collar_rate
    limit = None if attempt.at_market else collar(line.side, live or line.price_usd, Decimal(str(rate)))
    is_notional = line.side == "buy" and account.shares == "notional"
    notional = (line.quantity * (live or line.price_usd)).quantize(CENT, ROUND_HALF_UP) if is_notional else None
    lots = line.lots if account.relief == "on_order" else ""
    return attempt.name, *line.key, attempt.number, line.quantity, limit, notional, lots, day.clock.now()


def _send(warehouse: Warehouse, day: Day, lines: list[Line]) -> None:
    """Send every intent of the session that the broker has not answered yet, sells first."""
    meant = warehouse.rows(
        "SELECT batch_id, line, client_order_id, quantity, limit_usd, notional_usd, lots FROM ledger.intents "
        "ANTI JOIN ledger.order_events USING (client_order_id)"
    )
    unanswered = {(row[0], row[1]): row[2:] for row in meant.iter_rows()}
    progress = progress_of_lines(warehouse)
    brokers = {account.id: day.broker(account) for account in day.settings.portfolio.accounts}
    unasked = not_told_of(warehouse)
    waiting: set[tuple[str, int]] = set()  # pairs of a broker that is down: they are sent by a later pass
    now: dict[str, datetime] = {}  # by its broker's own clock
    unsold = {_pair(line) for line in lines if line.side == "sell" and _came_to_nothing(day, progress.get(line.key))}
    for line in sorted(lines, key=lambda line: line.side == "buy"):
        pair = _pair(line)
        if line.key not in unanswered or pair in waiting or line.account_id not in brokers:
            continue
        try:
            if line.account_id not in now:
                account = next(account for account in day.settings.portfolio.accounts if account.id == line.account_id)
                now[account.id] = brokers[account.id].now() or day.now_at(account)
        except Unavailable:
            waiting.add(pair)
        if pair in waiting or not _may_go(day, line, unasked, now[line.account_id]):
            waiting.add(pair)
            continue
        name, quantity, limit, notional, lots = unanswered[line.key]
        order = Order(name, line.side, line.security_id, _plain(quantity), lots, day.as_of, limit, notional)
        try:
            if line.side == "buy" and pair in unsold:
                raise OrderRejected("not sent: the sale that it replaces was rejected")
            state = brokers[line.account_id].place_order(order)
        except OrderRejected as words:
            if line.side == "sell":
                unsold.add(pair)
            state = OrderState(name, "rejected", "", Decimal(0), str(words))
        except Unavailable:
            waiting.add(pair)
            continue
        if state.event != "rejected":  # it was there already, perhaps filled: its states tell of its fills
            state = state._replace(event="accepted", transaction_id="", quantity=Decimal(0))
        warehouse.add("ledger.order_events", (*state, day.clock.now()))


def _may_go(day: Day, line: Line, unasked: set[str], now: datetime) -> bool:
    """An intent may have been stored long before it is sent: what has changed since holds it back all the same.

    `now` is the time at the broker: an order that a wrong clock of this machine let pass would be worked in the next session.
    """
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
    begun: dict[tuple[str, int], datetime] = {}  # since when a pair stands on one leg
    legs = Counter(map(_pair, lines))
    for line in lines:
        if legs[_pair(line)] > 1 and (filled_at := progress.get(line.key, NOTHING).filled_at):
            begun[_pair(line)] = min(filled_at, begun.get(_pair(line), filled_at))
    lapse = timedelta(minutes=policy.orders.max_lapse_minutes)
    accounts = {account.id: account for account in policy.accounts}
    for line in lines:
        made = progress.get(line.key, NOTHING)
        account = accounts.get(line.account_id)
        if not made.is_open or made.sent_at is None or account is None or account.broker == "simulated":
            continue
        since = begun.get(_pair(line))
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
