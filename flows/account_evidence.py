"""What the gates look at in each account: what it has, what it may do, what its broker says, and what is under way.

An order that is under way counts as filled, at the price that it was decided on: a batch was judged as a whole, and what of
it goes out later (a purchase waits for the sale that pays for it) is to be judged the same. What was filled and is not
booked yet counts so too, and nothing counts twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from flows.calendar import is_open, next_session, session_at, sessions
from flows.day import Day
from transforms.exact import decimal
from transforms.law import Tables, value_on
from transforms.lots.identify import settles_on
from transforms.lots.picks import rest_of_picks
from transforms.orders.day_trades import Execution, Rule, rule_on
from transforms.orders.evidence import ZERO, Account, Line
from transforms.orders.settled import Flow, Unpaid, unpaid
from warehouse.db import Warehouse
from warehouse.law import law_rows

TELL_THE_TIME = ("alpaca", "ibkr")  # brokers at a real exchange; the others trade in the session that the day says
UNSETTLED = timedelta(days=14)  # after so long every trade has settled


class Sent(NamedTuple):
    """An order that went out: as a line with the shares that it stands for, and with those that are not booked yet.

    Units    shares: of an order that has ended those that were filled, else all of it.
    """

    line: Line
    left: Line


class Balances(NamedTuple):
    """What a broker says of an account; None where it says nothing."""

    buying_power_usd: Decimal | None
    options_level: int | None
    day_trades: int
    blocked: str


# Orders that were sent --------------------------------------------------------------------------------


def sent(warehouse: Warehouse, session_on: date) -> list[Sent]:
    """The orders for a session and later ones; one that ended without a fill is none."""
    rows = warehouse.rows(
        "WITH said AS (SELECT client_order_id, bool_or(event IN ('filled', 'canceled', 'expired', 'rejected')) AS is_done, "
        "    coalesce(sum(e.quantity) FILTER (event = 'fill'), 0) AS filled, "
        "    coalesce(sum(e.quantity) FILTER (event = 'fill' AND t.transaction_id IS NOT NULL), 0) AS booked "
        "  FROM ledger.order_events AS e LEFT JOIN stg.transactions AS t USING (transaction_id) GROUP BY client_order_id) "
        "SELECT i.batch_id, i.line, l.pair, b.account_id, b.session_on, l.side, l.security_id, "
        "  (CASE WHEN s.is_done THEN s.filled ELSE i.quantity END)::DECIMAL(28, 9), l.price_usd, i.lots, b.mode, "
        "  l.method, b.expires_at, b.kind, coalesce(s.booked, 0)::DECIMAL(28, 9) "
        "FROM ledger.intents AS i JOIN ledger.batches AS b USING (batch_id) JOIN ledger.batch_lines AS l USING (batch_id, line) "
        "LEFT JOIN said AS s USING (client_order_id) WHERE b.session_on >= $on ORDER BY i.client_order_id",
        on=session_on,
    ).rows()
    orders = [(Line(*row[:-1]), row[-1]) for row in rows]
    return [
        Sent(line, line._replace(quantity=line.quantity - booked, lots=rest_of_picks(line.lots, booked)))
        for line, booked in orders
        if line.quantity > 0
    ]


# Accounts ---------------------------------------------------------------------------------------------


def accounts(warehouse: Warehouse, day: Day, session_on: date, orders: Sequence[Sent]) -> dict[str, Account]:
    cash = defaultdict(Decimal, warehouse.rows("SELECT account_id, cash_usd FROM mart.cash").iter_rows())
    held: dict[str, dict[str, Decimal]] = defaultdict(dict)
    worth: dict[str, dict[str, Decimal]] = defaultdict(dict)
    for name, security_id, quantity, value in warehouse.rows(
        "SELECT account_id, security_id, quantity, value_usd FROM mart.positions"
    ).iter_rows():
        held[name][security_id] = quantity
        worth[name][security_id] = value or ZERO
    coming: dict[str, Decimal] = defaultdict(Decimal)
    for _, line in orders:
        name, security_id = line.account_id, line.security_id
        if line.side == "sell":  # what is bought may be sold when it is there, and not before
            held[name][security_id] = held[name].get(security_id, ZERO) - line.quantity
        worth[name][security_id] = worth[name].get(security_id, ZERO) - line.cash_usd
        coming[name] += line.cash_usd
    unsound, broken, told = _unsound(warehouse, day), _broken(warehouse), _balances(warehouse)
    found = {}
    for one in day.settings.portfolio.accounts:
        gates, balances = day.settings.portfolio.gates.of(one.id), told.get(one.id, Balances(None, None, 0, ""))
        keeps_time = one.broker in TELL_THE_TIME
        now = day.now_at(one)
        session = session_at(now) if keeps_time else session_on
        rule = rule_on(_law(), session, gates.intraday_margin_from) if gates.is_margin else None
        power = balances.buying_power_usd
        found[one.id] = Account(
            now=now, session_on=session, is_open=is_open(now) if keeps_time else True,
            cash_usd=cash[one.id] + coming[one.id], held=held[one.id], worth_usd=worth[one.id],
            unsound=unsound.get(one.id, ""), broken=broken.get(one.id, ""), blocked=balances.blocked,
            buying_power_usd=None if power is None else power + coming[one.id],
            options_level=balances.options_level, is_margin=gates.is_margin, may_short=gates.may_short,
            max_leverage=gates.max_leverage,
            unpaid={} if gates.is_margin else _unpaid(warehouse, one.id, cash[one.id], session),
            day_trade_rule=rule,
            executions=_executions(warehouse, one.id, session, rule, orders) if rule else (),
            day_trades_told=balances.day_trades,
        )  # fmt: skip
    return found


def _unsound(warehouse: Warehouse, day: Day) -> dict[str, str]:
    rows = warehouse.rows(
        "SELECT source, kind, reason FROM core.source_status "
        "WHERE NOT is_sound AND kind IN ('activities', 'positions', 'balances', 'prices') ORDER BY kind"
    ).rows()
    of_prices = [reason for _, kind, reason in rows if kind == "prices"]
    return {
        account.id: "; ".join(
            of_prices + [why for source, kind, why in rows if source == account.id and kind != "prices"]
        )
        for account in day.settings.portfolio.accounts
    }


def _broken(warehouse: Warehouse) -> dict[str, str]:
    rows = warehouse.rows(
        "SELECT account_id, 'unexplained difference: ' || string_agg(security_id || ': broker ' || broker_quantity || "
        "', ledger ' || ledger_quantity, '; ' ORDER BY security_id) FROM core.breaks WHERE blocks GROUP BY account_id"
    )
    return dict(rows.iter_rows())


def _balances(warehouse: Warehouse) -> dict[str, Balances]:
    """What the brokers say; a figure that cannot be read holds the account back and says so."""
    said: dict[str, dict[str, str]] = defaultdict(dict)
    for name, what, value in warehouse.rows("SELECT account_id, name, value FROM stg.balances").iter_rows():
        said[name][what] = value
    return {name: _read_balances(values) for name, values in said.items()}


def _read_balances(said: Mapping[str, str]) -> Balances:
    """
    >>> _read_balances({"buying_power_usd": "1250.50", "options_level": "2", "is_blocked": "false"})
    Balances(buying_power_usd=Decimal('1250.50'), options_level=2, day_trades=0, blocked='')
    >>> _read_balances({"buying_power_usd": "plenty"}).blocked
    "the broker's buying_power_usd 'plenty' is not a number like 12.34: the account takes no orders until it is"
    """
    number: dict[str, Decimal] = {}
    wrong = []
    for name in ("buying_power_usd", "options_level", "day_trades"):
        try:
            if said.get(name):
                number[name] = decimal(said[name])
        except ValueError as why:
            wrong.append(f"the broker's {name} {why}: the account takes no orders until it is")
    if said.get("is_blocked", "false").strip().lower() != "false":
        wrong.append(f"its broker says of the account is_blocked = {said['is_blocked']}: ask the broker why")
    level = number.get("options_level")
    return Balances(
        number.get("buying_power_usd"), None if level is None else int(level), int(number.get("day_trades", 0)),
        "; ".join(wrong),
    )  # fmt: skip


def _unpaid(warehouse: Warehouse, account_id: str, cash_usd: Decimal, on: date) -> Unpaid:
    """Purchases of a cash account that are not paid for; the rows are those that `mart.cash` adds up."""
    rows = warehouse.rows(
        "SELECT t.transaction_id, t.security_id, t.side, t.quantity, t.amount_usd, t.traded_on FROM stg.transactions AS t "
        "JOIN core.accounts AS a USING (account_id) WHERE account_id = $account AND t.traded_on <= a.booked_to "
        "AND t.traded_on > $after AND t.transaction_id NOT IN (SELECT transaction_id FROM core.unbooked) "
        "AND NOT (t.kind IN ('dividend', 'dividend_reinvested') AND "
        "coalesce((SELECT bool_or(is_adjusted) FROM core.latest_prices), false))",
        account=account_id,
        after=on - UNSETTLED,
    )
    return unpaid(map(Flow._make, rows.iter_rows()), cash_usd, on, _settles)


@cache
def _settles(traded_on: date) -> date:
    return settles_on(traded_on, int(value_on(_law(), "settlement_days", traded_on)), next_session)


@cache
def _law() -> Tables:
    return law_rows()


def _executions(
    warehouse: Warehouse, account_id: str, session_on: date, rule: Rule, orders: Iterable[Sent]
) -> tuple[Execution, ...]:
    """What a margin account did in the sessions that day trades are counted in, and what it is about to do."""
    first = sessions(session_on - timedelta(days=3 * rule.sessions), session_on)[-rule.sessions]
    rows = warehouse.rows(
        "SELECT traded_on, traded_at, security_id, "
        "  CASE WHEN kind = 'trade' THEN side = 'buy' ELSE kind IN ('option_open', 'short_open') END FROM stg.transactions "
        "WHERE account_id = $account AND traded_on BETWEEN $first AND $last "
        "AND kind IN ('trade', 'option_open', 'option_close', 'short_open', 'short_close') ORDER BY transaction_id",
        account=account_id,
        first=first,
        last=session_on,
    )
    left = (order.left for order in orders if order.left.account_id == account_id and order.left.quantity > 0)
    return (
        *map(Execution._make, rows.iter_rows()),
        *(Execution(session_on, None, line.security_id, line.side == "buy") for line in left),
    )
