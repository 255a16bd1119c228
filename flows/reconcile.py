"""The brokers against the ledger, exactly; and the ledger against the market's feed and its prices.

The problem. A ledger that is wrong by one row decides wrongly, and nothing inside it can know. The broker's own
statement can: shares, cash by trade date, settled cash, cost. It speaks for a day of its own, which is not always the day
that is booked, and some of what it says is defined otherwise than ours (an average cost, a later settlement).

The choice. What a statement says is compared with the ledger as it stood on the statement's day. Shares and cash must be
equal: a difference stops the account's orders, whatever the guess (transforms/breaks.py) at its cause. Cost is compared
with the broker's view of the lots (transforms/lots/broker_view.py), because a broker knows its own account only; what
differs is explained or warned of, and stops nothing. A split that the feed has and the ledger lacks stops the accounts that
hold the shares: their lots show losses that are none. Prices and dividends that look wrong are alerts (core.alerts).
"""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache

import polars as pl

from flows.alerts import alerts
from flows.broker_cost import costs
from flows.calendar import next_session
from flows.day import Day
from transforms import tables
from transforms.breaks import Break, Row, Seen, Sent, Told, guess, ratio_text
from transforms.law import value_on
from transforms.lots.identify import settles_on
from warehouse.db import Warehouse
from warehouse.law import law_rows

RECENT = timedelta(days=60)  # what a guess looks at
SETTLING = timedelta(days=12)  # no trade takes longer
SPLIT_SEEN = timedelta(days=30)  # a broker that has not done a split after so long will not: then the feed is wrong
SPLIT_NEAR = timedelta(days=7)  # between the feed's date of a split and the ledger's
TRADED = ("trade", "short_open", "short_close", "option_open", "option_close", "option_exercise", "option_assign")

_STATED = """
SELECT * FROM mart.reconciliation
WHERE stated_on >= $since AND (broker_quantity IS DISTINCT FROM ledger_quantity OR security_id = 'USD' OR cost_usd IS NOT NULL)
"""
# The split concerns whoever held before the ex-date; the ledger has it when any account's row says so.
_SPLITS = """
SELECT l.account_id, l.security_id, sum(l.quantity)::DECIMAL(28, 9) AS ledger, a.ex_on,
    any_value(a.new_shares) AS new_shares, any_value(a.old_shares) AS old_shares
FROM mart.corporate_actions AS a
JOIN core.lots AS l USING (security_id)
JOIN stg.transactions AS t ON t.transaction_id = l.lot_id
WHERE a.kind = 'split' AND a.ex_on <= $until AND a.ex_on > $first AND t.traded_on < a.ex_on
    AND NOT EXISTS (
        SELECT 1 FROM stg.transactions AS s
        WHERE s.kind IN ('split', 'merger', 'symbol_change') AND s.security_id = a.security_id AND s.traded_on <= $until
            AND s.traded_on BETWEEN a.ex_on - $near AND a.ex_on + $near
    )
GROUP BY l.account_id, l.security_id, a.ex_on ORDER BY ALL
"""


def reconcile(warehouse: Warehouse, day: Day, until: date) -> None:
    """Fill core.breaks and core.alerts for the books of `until`.

    After fills are booked (`until` lies after the day) only the accounts whose statement is of that very day are compared
    anew; the others stay as they were.
    """
    since = date(1900, 1, 1) if until == day.as_of else until
    breaks = _breaks(warehouse, since, until)
    if until != day.as_of:
        stated = warehouse.rows(
            "SELECT DISTINCT source FROM raw.deliveries WHERE kind = 'positions' AND stated_on = $on", on=until
        )
        others = warehouse.rows("SELECT * FROM core.breaks").filter(
            ~pl.col("account_id").is_in(stated["source"].to_list())
        )
        breaks = pl.concat([others, breaks])
    warehouse.replace("core.breaks", breaks)
    warehouse.replace("core.alerts", tables.core("alerts", alerts(warehouse, day, until)))


def _breaks(warehouse: Warehouse, since: date, until: date) -> pl.DataFrame:
    stated = warehouse.rows(_STATED, since=since)
    two = ("account_id", "security_id", "broker_quantity", "ledger_quantity")
    differ = stated.filter(pl.col("broker_quantity") != pl.col("ledger_quantity"))
    found = [Break(*row) for row in differ.select(two).iter_rows()]
    rows = [
        (*one, "cash" if one.security_id == "USD" else "shares", True, False, said)
        for one, said in _guessed(warehouse, found, until)
    ]
    cash = dict(stated.filter(pl.col("security_id") == "USD").select("account_id", "ledger_quantity").iter_rows())
    settled = stated.filter(pl.col("security_id") == "USD.settled")
    for account, stated_on, broker in settled.select("account_id", "stated_on", "broker_quantity").iter_rows():
        rows += _settled(warehouse, account, stated_on, broker, cash[account])
    if warehouse.value("SELECT 1 FROM raw.corporate_actions LIMIT 1"):
        rows += _splits(warehouse, found, until)
    if stated["cost_usd"].count():
        rows += costs(warehouse, stated, until)
    columns = (*two, "kind", "blocks", "is_explained", "guess")
    schema = {name: tables.CORE["breaks"].columns[name].dtype.type for name in columns}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return tables.core("breaks", frame).sort("account_id", "security_id", "kind")


def _guessed(warehouse: Warehouse, found: list[Break], until: date) -> list[tuple[Break, str]]:
    """Every difference with its guess. What the guesses look at is read only where something differs."""
    by_account: dict[str, list[Break]] = defaultdict(list)
    for one in found:
        by_account[one.account_id].append(one)
    if not by_account:
        return []
    prices = dict(warehouse.rows("SELECT security_id, price_usd FROM core.latest_prices").iter_rows())
    told = [
        Told(kind, security, on, Fraction(new) / Fraction(old) if new and old else Fraction(1), becomes, cash)
        for kind, security, on, new, old, becomes, cash in warehouse.rows(
            "SELECT kind, security_id, ex_on, new_shares, old_shares, new_security_id, coalesce(cash_usd, 0)::DECIMAL(28, 9) "
            "FROM mart.corporate_actions WHERE ex_on BETWEEN $first AND $until ORDER BY ex_on DESC, action_id",
            first=until - RECENT,
            until=until,
        ).iter_rows()
    ]
    waiting = set(
        warehouse.rows("SELECT DISTINCT source FROM mart.set_aside WHERE kind IN ('activities', 'positions')")["source"]
    )
    guessed = []
    for account, breaks in by_account.items():
        held = warehouse.rows(
            "SELECT security_id, sum(quantity)::DECIMAL(28, 9) FROM core.lots WHERE account_id = $account GROUP BY ALL",
            account=account,
        )
        seen = Seen(
            breaks, account in waiting, _recent(warehouse, account, until), told, _sent(warehouse, account, until),
            dict(held.iter_rows()), prices,
        )  # fmt: skip
        guessed += [(one, guess(one, seen)) for one in breaks]
    return guessed


def _recent(warehouse: Warehouse, account: str, until: date) -> list[Row]:
    """The account's rows of the last weeks, newest first, and whether each has settled."""
    kinds = dict(warehouse.rows("SELECT security_id, kind FROM stg.securities").iter_rows())
    return [
        Row(
            name,
            kind,
            security,
            quantity,
            fee,
            amount,
            on,
            not _settles_after(kind, kinds.get(security, ""), on, until),
        )
        for name, kind, security, quantity, fee, amount, on in warehouse.rows(
            "SELECT transaction_id, kind, security_id, quantity, fee_usd, amount_usd, traded_on FROM stg.transactions "
            "WHERE account_id = $account AND traded_on BETWEEN $first AND $until ORDER BY traded_on DESC, transaction_id",
            account=account,
            first=until - RECENT,
            until=until,
        ).iter_rows()
    ]


def _sent(warehouse: Warehouse, account: str, until: date) -> list[Sent]:
    """Orders of the last days with shares that no row of the ledger explains."""
    rows = warehouse.rows(
        """
        SELECT i.client_order_id, l.security_id,
            (CASE l.side WHEN 'buy' THEN 1 ELSE -1 END * (any_value(i.quantity) - coalesce(sum(t.quantity), 0)))::DECIMAL(28, 9) AS still
        FROM ledger.intents AS i
        JOIN ledger.batch_lines AS l USING (batch_id, line)
        JOIN ledger.batches AS b USING (batch_id)
        LEFT JOIN ledger.order_events AS e ON e.client_order_id = i.client_order_id AND e.transaction_id <> ''
        LEFT JOIN stg.transactions AS t ON t.transaction_id = e.transaction_id
        WHERE b.account_id = $account AND b.session_on BETWEEN $first AND $until
            AND i.client_order_id NOT IN (SELECT client_order_id FROM ledger.order_events WHERE event = 'rejected')
        GROUP BY i.client_order_id, l.security_id, l.side HAVING still <> 0 ORDER BY ALL
        """,
        account=account,
        first=until - SETTLING,
        until=until,
    )
    return [Sent(*row) for row in rows.iter_rows()]


def _settled(warehouse: Warehouse, account: str, stated_on: date, broker: Decimal, cash: Decimal) -> list[tuple]:
    """Settled cash: the cash of trades counts from their settlement date, everything else from its own.

    Law      17 CFR 240.15c6-1(a); sql/law/settlement_days.csv.
    Omits    options and funds that settle on days of their own before 2024-05-28; holidays of banks on which the exchange
             trades: what settles a session or more later than the rule says is said to, and stops nothing.
    """
    recent = warehouse.rows(
        "SELECT t.traded_on, t.kind, coalesce(s.kind, '') AS security_kind, sum(t.amount_usd)::DECIMAL(28, 9) AS usd "
        "FROM stg.transactions AS t LEFT JOIN stg.securities AS s USING (security_id) "
        "WHERE t.account_id = $account AND list_contains($traded, t.kind) AND t.traded_on BETWEEN $first AND $on "
        "AND t.transaction_id NOT IN (SELECT transaction_id FROM core.unbooked) GROUP BY ALL",
        account=account,
        traded=list(TRADED),
        first=stated_on - SETTLING,
        on=stated_on,
    ).rows()
    waiting = [usd for on, kind, what, usd in recent if _settles_after(kind, what, on, stated_on)]
    ledger = cash - sum(waiting, Decimal(0))
    if broker == ledger:
        return []
    later = {
        first: cash - sum((usd for on, _, what, usd in recent if on >= first and what != "digital_asset"), Decimal(0))
        for first in {on for on, *_ in recent}
    }
    is_late = sorted(first for first, usd in later.items() if usd == broker)
    if is_late:
        said = f"at the broker the trades since {is_late[-1]} have not settled yet: later than the rule says, or a bank holiday"
    else:
        said = "the broker has settled another amount than the ledger: compare its list of unsettled trades"
    return [(account, "USD", broker, ledger, "settled cash", not is_late, bool(is_late), said)]


def _settles_after(kind: str, security_kind: str, traded_on: date, on: date) -> bool:
    """Does a row's cash still wait for settlement on a day?"""
    if kind not in TRADED or security_kind == "digital_asset" or traded_on < on - SETTLING:
        return False
    days = int(value_on(_law(), "settlement_days", traded_on))
    return settles_on(traded_on, days, next_session) > on


def _splits(warehouse: Warehouse, found: list[Break], until: date) -> list[tuple]:
    """Splits that the feed has and the ledger lacks; where the shares differ already, that difference says it."""
    differ = {(one.account_id, one.security_id) for one in found}
    rows = warehouse.rows(_SPLITS, until=until, first=until - SPLIT_SEEN, near=SPLIT_NEAR)
    made = []
    for account, security, ledger, ex_on, new, old in rows.iter_rows():
        if (account, security) not in differ:
            ratio = Fraction(new) / Fraction(old)
            shares = (ledger * ratio.numerator / ratio.denominator).quantize(Decimal("1e-9"))
            said = f"the market's feed has a split {ratio_text(ratio)} of {ex_on}, the activities have none: bring it"
            made.append((account, security, shares, ledger, "split", True, False, said))
    return made


@cache
def _law() -> dict[str, list[dict[str, str]]]:
    return law_rows()
