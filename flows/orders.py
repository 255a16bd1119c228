"""From a decision to fills: gates, intents, orders, fills.

Exactly once: a line's refusals and its intent are stored before anything is sent, an order's name is batch, line
and attempt, and the broker takes a name once. Whatever happens in between, the next run picks up where this one
stopped: it sends what was meant and never sent, and books what was filled.
"""

from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal

from flows.book import book
from flows.calendar import NEW_YORK, next_session
from flows.connectors import Broker, Order, OrderRejected, OrderState, Unavailable
from flows.day import Day
from flows.decide import lines_of
from flows.ingest import store
from flows.pre_trade import known
from flows.settings import Account
from transforms.exact import nano_shares, trade_cents
from transforms.lots.check import Effect
from transforms.lots.relief import read_picks
from transforms.model import Trade
from transforms.orders.gates import Evidence, Line, Refusal, cash, refusals, turnover
from transforms.orders.identity import client_order_id
from warehouse.db import Warehouse


def execute(warehouse: Warehouse, day: Day) -> None:
    """Execute the decision for the session after `day.as_of`, and book what was filled in it.

    A line that was refused or sent before is left as it is. In dry run the gates are asked and nothing is sent.
    """
    session_on = next_session(day.as_of)
    lines = lines_of(warehouse, session_on)
    fresh = _untouched(warehouse, lines)
    if fresh:
        refused = held_back_by_gates(warehouse, day, fresh, session_on)
        held_back = {(row.batch_id, row.line) for row in refused}
        sent = [line for line in fresh if line.key not in held_back and _is_auto(day, line)]
        with warehouse.transaction():
            warehouse.add("ledger.refusals", *((*row, _now()) for row in refused))
            warehouse.add("ledger.intents", *((client_order_id(*x.key), *x.key, 1, _now()) for x in sent))
    _send(warehouse, day, lines)
    filled = _book_fills(warehouse, day, session_on)
    if filled & {client_order_id(*line.key) for line in lines}:
        with warehouse.transaction():
            book(warehouse, day, session_on)


def held_back_by_gates(warehouse: Warehouse, day: Day, lines: list[Line], session_on: date) -> list[Refusal]:
    """Every refusal. Turnover and cash are counted over the lines that the other gates let pass, and over no others."""
    first = refusals(lines, gather(warehouse, day, lines, session_on))
    of_the_batch = {turnover.__name__, cash.__name__}
    stopped = {(row.batch_id, row.line) for row in first if row.gate not in {*of_the_batch, "pair"}}
    pairs = {(line.batch_id, line.pair) for line in lines if line.key in stopped}
    passing = [line for line in lines if (line.batch_id, line.pair) not in pairs]
    if len(passing) == len(lines):
        return first
    keys = {line.key for line in passing}
    kept = [row for row in first if (row.batch_id, row.line) not in keys and row.gate not in {*of_the_batch, "pair"}]
    partners = [line for line in lines if line.key not in keys and line.key not in stopped]
    kept += [Refusal(*line.key, "pair", "its pair is held back") for line in partners]
    return kept + (refusals(passing, gather(warehouse, day, passing, session_on)) if passing else [])


def gather(warehouse: Warehouse, day: Day, lines: list[Line], session_on: date) -> Evidence:
    """What the gates look at, read from the warehouse and the policy."""
    gates = day.settings.portfolio.gates
    unsound = warehouse.rows(
        "SELECT source, kind, reason FROM core.source_status WHERE NOT is_sound AND kind IN ('activities', 'positions', 'prices')"
    ).rows()
    all_prices = "; ".join(reason for _, kind, reason in unsound if kind == "prices")
    by_account = {source: reason for source, kind, reason in unsound if kind != "prices"}
    accounts = day.settings.portfolio.accounts
    broken = warehouse.rows(
        "SELECT account_id, string_agg(security_id || ': broker ' || broker_quantity || ', ledger ' || ledger_quantity, '; ' "
        "ORDER BY security_id) FROM core.breaks GROUP BY ALL"
    )
    moves = warehouse.rows(
        "SELECT security_id, sessions_old, (price_usd / previous_usd - 1)::DOUBLE FROM core.latest_prices"
    ).rows()
    values = warehouse.rows(
        "SELECT account_id, sum(usd)::DECIMAL(28, 6) FROM (SELECT account_id, value_usd AS usd FROM mart.positions "
        "UNION ALL SELECT account_id, cash_usd FROM mart.cash) GROUP BY ALL"
    )
    account_value = dict(values.iter_rows())
    cash = defaultdict(Decimal, warehouse.rows("SELECT account_id, cash_usd FROM mart.cash").iter_rows())
    traded: dict[tuple[str, int], Decimal] = {}
    so_far = Decimal(0)
    for line in lines:
        cash[line.account_id] += line.value_usd if line.side == "sell" else -line.value_usd
        traded[line.key] = so_far
        so_far += line.value_usd
    return Evidence(
        session_on=session_on,
        is_stopped=(day.settings.home / "STOP").exists(),
        do_not_trade=frozenset(gates.do_not_trade),
        unsound={a.id: all_prices or by_account[a.id] for a in accounts if all_prices or a.id in by_account},
        broken={account: f"unexplained difference: {what}" for account, what in broken.iter_rows()},
        price_age={security: age for security, age, _ in moves},
        price_move={security: move for security, _, move in moves},
        max_price_age=gates.max_price_age_sessions,
        max_price_move=gates.max_price_move,
        account_value=account_value,
        household_value=sum(account_value.values(), Decimal(0)),
        max_order_weight=gates.max_order_weight,
        max_daily_turnover=gates.max_daily_turnover,
        cash_after=cash,
        washed=_washed(warehouse, day, lines, session_on),
        wash_limits=day.settings.portfolio.wash_limits,
        turnover_before=traded,
    )


def _washed(warehouse: Warehouse, day: Day, lines: list[Line], session_on: date) -> dict[tuple[str, int], Effect]:
    """The pre-trade check over the whole batch, every account together."""
    is_deferred = {account.id: account.is_deferred for account in day.settings.portfolio.accounts}
    proposed = [
        Trade(
            client_order_id(*line.key), line.account_id, line.security_id, line.side == "buy", nano_shares(line.quantity),
            trade_cents(line.quantity, line.price_usd, Decimal(0)), line.session_on, None,
            is_deferred[line.account_id], read_picks(line.lots),
        )
        for line in lines
    ]  # fmt: skip
    told = known(warehouse, day, session_on).effects(proposed)
    return {line.key: told[client_order_id(*line.key)] for line in lines}


def _untouched(warehouse: Warehouse, lines: list[Line]) -> list[Line]:
    """Lines that no gate has refused and no intent was stored for."""
    touched = set(
        warehouse.rows(
            "SELECT batch_id, line FROM ledger.refusals UNION SELECT batch_id, line FROM ledger.intents"
        ).iter_rows()
    )
    return [line for line in lines if line.key not in touched]


def _is_auto(day: Day, line: Line) -> bool:
    """What was decided as a dry run stays one, and an account that is set to dry run sends nothing any more."""
    account = next(account for account in day.settings.portfolio.accounts if account.id == line.account_id)
    return line.mode == account.orders == "auto"


def _send(warehouse: Warehouse, day: Day, lines: list[Line]) -> None:
    """Send every intent that the broker has not answered yet, sells first; no replacement for what could not be sold."""
    answered = set(warehouse.rows("SELECT DISTINCT client_order_id FROM ledger.order_events")["client_order_id"])
    meant = set(warehouse.rows("SELECT client_order_id FROM ledger.intents")["client_order_id"])
    unsold = set(
        warehouse.rows(
            "SELECT i.batch_id, l.pair FROM ledger.intents AS i JOIN ledger.batch_lines AS l USING (batch_id, line) "
            "JOIN ledger.order_events AS e USING (client_order_id) WHERE e.event = 'rejected' AND l.side = 'sell'"
        ).iter_rows()
    )
    brokers = {account.id: day.broker(account) for account in day.settings.portfolio.accounts}
    answers: list[tuple[Line, OrderState]] = []
    waiting: set[tuple[str, int]] = set()  # pairs of a broker that is down: they are sent by the next run
    try:
        for line in sorted(lines, key=lambda line: line.side == "buy"):
            name = client_order_id(*line.key)
            if name not in meant or name in answered or (line.batch_id, line.pair) in waiting:
                continue
            try:
                answers.append((line, _placed(brokers[line.account_id], day, line, name, unsold)))
            except Unavailable:
                waiting.add((line.batch_id, line.pair))
    finally:  # what was sent is noted, whatever stopped the rest
        identified = [line for line, state in answers if _goes_along(day, line) and state.event == "accepted"]
        with warehouse.transaction():
            warehouse.add("ledger.order_events", *((*state, _now()) for _, state in answers))
            warehouse.add(
                "ledger.lot_identifications",
                *(
                    (
                        client_order_id(*line.key),
                        line.lots,
                        _now(),
                        "the order itself, which names the lots",
                        "order",
                        None,
                    )
                    for line in identified
                ),
            )


def _placed(broker: Broker, day: Day, line: Line, name: str, unsold: set[tuple[str, int]]) -> OrderState:
    """Place a line's order; `unsold` are the pairs whose sale was rejected, and learns of one more."""
    quantity = Decimal(f"{line.quantity.normalize():f}")
    pair = line.batch_id, line.pair
    try:
        if line.side == "buy" and pair in unsold:
            raise OrderRejected("not sent: the sale that it replaces was rejected")
        lots = line.lots if _goes_along(day, line) else ""
        return broker.place_order(Order(name, line.side, line.security_id, quantity, lots, day.as_of))
    except OrderRejected as words:
        if line.side == "sell":
            unsold.add(pair)
        return OrderState(name, "rejected", "", str(words))


def _book_fills(warehouse: Warehouse, day: Day, session_on: date) -> set[str]:
    """Bring fills into raw and the ledger's events, each once however often it arrives; every order that was filled."""
    known = set(warehouse.rows("SELECT client_order_id, event, transaction_id FROM ledger.order_events").iter_rows())
    meant = set(warehouse.rows("SELECT client_order_id FROM ledger.intents")["client_order_id"])
    done: set[str] = set()
    for account in day.settings.portfolio.accounts:
        broker = day.broker(account)
        try:
            states = broker.order_states(session_on)
            filled = [s for s in states if s.event == "filled" and s.client_order_id in meant]
            new = [state for state in filled if state[:3] not in known]
            _tell_lots(warehouse, day, account, broker, filled)
            delivered = [broker.activities(session_on), broker.positions(session_on)] if new else []
        except Unavailable:  # its fills are booked by the run that finds it there again
            continue
        for delivery in delivered:
            store(warehouse, day, delivery)
        warehouse.add("ledger.order_events", *((*state, _now()) for state in new))
        done |= {state.client_order_id for state in filled}
    return done


def _goes_along(day: Day, line: Line) -> bool:
    """Do the line's lots go with its order? Else the broker takes them after the fill, or not at all."""
    account = next(account for account in day.settings.portfolio.accounts if account.id == line.account_id)
    return bool(line.lots) and account.relief == "on_order"


def _tell_lots(warehouse: Warehouse, day: Day, account: Account, broker: Broker, filled: list[OrderState]) -> None:
    """Tell a broker that takes lots after the trade those of its fills; what it does not take any more stays untold."""
    if account.relief != "after_trade":
        return
    waiting = dict(
        warehouse.rows(
            "SELECT i.client_order_id, l.lots FROM ledger.intents AS i JOIN ledger.batch_lines AS l USING (batch_id, line) "
            "ANTI JOIN ledger.lot_identifications AS t ON t.client_order_id = i.client_order_id "
            "WHERE l.side = 'sell' AND l.lots <> ''"
        ).iter_rows()
    )
    for state in filled:
        if not (lots := waiting.get(state.client_order_id)):
            continue
        try:
            at, until = broker.tell_lots(state.client_order_id, lots, day.as_of)
        except OrderRejected:
            continue
        warehouse.add(
            "ledger.lot_identifications",
            (state.client_order_id, lots, _utc(at), "the broker took them", "after trade", _utc(until)),
        )


def _utc(new_york: datetime) -> datetime:
    return new_york.replace(tzinfo=NEW_YORK).astimezone(UTC).replace(tzinfo=None)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
