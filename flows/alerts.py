"""What looks wrong though no broker contradicts the ledger: prices, and dividends that did not come.

A stale or missing price is a gate and never a guess: what has none is valued at nothing that anybody could mistake for
its worth (its value stays empty), its orders are refused by the gate `price`, and the alert says so. A price that moves like a
split without one being told is held back by the same gate where the move is beyond `max_price_move`.
"""

from datetime import date, timedelta

from flows.day import Day
from transforms.breaks import plain, split_in_price
from warehouse.db import Warehouse

SPLIT_NEAR = timedelta(days=7)  # between the day of a price and that of the split that explains it
PAID_AFTER, GRACE = (
    timedelta(days=45),
    timedelta(days=5),
)  # a dividend after its ex-date, where no day is told; late after
SEEN = timedelta(days=120)  # a dividend that is missing is spoken of so long after its ex-date


def alerts(warehouse: Warehouse, day: Day, until: date) -> list[tuple]:
    """Rows of core.alerts."""
    gates = day.settings.portfolio.gates
    return _prices(warehouse, gates.max_price_age_sessions, gates.max_price_move) + _dividends(warehouse, until)


def _prices(warehouse: Warehouse, max_age: int, max_move: float) -> list[tuple]:
    """Prices of what is held that are missing, old, or moved like a split that nobody told of.

    Omits    options: no market here has prices of them.
    """
    rows = warehouse.rows(
        "SELECT DISTINCT l.account_id, security_id, p.session_on, p.price_usd, p.previous_usd, p.sessions_old "
        "FROM core.lots AS l JOIN stg.securities USING (security_id) LEFT JOIN core.latest_prices AS p USING (security_id) "
        "WHERE p.price_usd IS NULL OR p.sessions_old > $old OR abs(p.price_usd / p.previous_usd - 1) > 0.3 ORDER BY ALL",
        old=max_age,
    )
    found = []
    for account, security, on, price, before, old in rows.iter_rows():
        if price is None:
            said = "no price in the last 30 days: its value is unknown and in no sum, and its orders are refused"
        elif old > max_age:
            said = f"its last price is of {on}, {old} sessions old: it is valued at that, and its orders are refused"
        elif (split := split_in_price(price, before)) and not _is_told(warehouse, security, on):
            is_refused = abs(float(price / before) - 1) > max_move
            said = (
                f"its price went from ${plain(before)} to ${plain(price)}, like a split {split}, and neither a broker nor the "
                f"market's feed has one: {'its orders are refused' if is_refused else 'look before it is traded'}"
            )
        else:
            continue
        found.append((account, security, "price", said))
    return found


def _is_told(warehouse: Warehouse, security: str, on: date) -> bool:
    """Does a row of the ledger or of the feed say what the company did around that day?"""
    return bool(
        warehouse.value(
            "SELECT 1 FROM ("
            "SELECT security_id, kind, traded_on AS happened_on FROM stg.transactions "
            "UNION ALL SELECT security_id, kind, ex_on FROM mart.corporate_actions) "
            "WHERE security_id = $security AND kind IN ('split', 'merger', 'spin_off') AND happened_on BETWEEN $first AND $last",
            security=security,
            first=on - SPLIT_NEAR,
            last=on + SPLIT_NEAR,
        )
    )


def _dividends(warehouse: Warehouse, until: date) -> list[tuple]:
    """Dividends of the feed that a holding should have had by now, and that no row tells of.

    Omits    shares that were sold between the ex-date and the day; prices with the dividends inside, where none is cash.
    """
    if not warehouse.value("SELECT 1 FROM raw.corporate_actions LIMIT 1"):
        return []
    rows = warehouse.rows(
        """
        SELECT l.account_id, l.security_id, a.ex_on, any_value(a.cash_usd) AS cash_usd, sum(l.quantity)::DECIMAL(28, 9) AS shares
        FROM mart.corporate_actions AS a
        JOIN core.lots AS l USING (security_id)
        JOIN stg.transactions AS t ON t.transaction_id = l.lot_id
        WHERE a.kind = 'dividend' AND a.ex_on > $first AND t.traded_on < a.ex_on AND l.quantity > 0
            AND coalesce(a.payable_on, a.ex_on + $paid_after) + $grace <= $until
            AND NOT coalesce((SELECT bool_or(is_adjusted) FROM core.latest_prices), false)
            AND NOT EXISTS (
                SELECT 1 FROM stg.transactions AS d
                WHERE d.account_id = l.account_id AND d.security_id = l.security_id AND d.traded_on BETWEEN a.ex_on AND $until
                    AND d.kind IN ('dividend', 'dividend_reinvested', 'return_of_capital')
            )
        GROUP BY l.account_id, l.security_id, a.ex_on ORDER BY ALL
        """,
        first=until - SEEN,
        until=until,
        paid_after=PAID_AFTER,
        grace=GRACE,
    )
    late: dict[tuple[str, str], str] = {}
    for account, security, ex_on, cash, shares in rows.iter_rows():
        said = f"the dividend of ${plain(cash)} a share, ex {ex_on}, on {plain(shares)} shares is in the market's feed and has not come"
        late[account, security] = f"{late[account, security]}; {said}" if (account, security) in late else said
    return [(account, security, "dividend", said) for (account, security), said in late.items()]
