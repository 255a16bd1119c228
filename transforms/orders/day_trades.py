"""Day trades in a margin account: who still counts them, how they are counted, and when one is one too many.

The problem. Four day trades in five business days made a pattern day trader, who needs $25,000. That rule was replaced in
2026 by a margin on what is held within the day, but every broker changes over on a day of its own, until October 2027.

The choice. The numbers and the dates are law (sql/law/day_trading.csv). When an account's broker changed over is policy of
the account; where nobody said, trades are counted until the last day on which a broker may. After that only the gates of
cash, buying power and leverage hold an order back: a broker tells of its intraday margin through its buying power.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, time
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from transforms.law import LawMissing, Tables


class Rule(NamedTuple):
    """So many day trades in so many sessions, and more than this part of all trades, need this equity."""

    day_trades: int
    sessions: int
    over_rate: Decimal
    equity_usd: Decimal


class Execution(NamedTuple):
    """A purchase or a sale of one account, as far as counting asks. `at`: New York; None where nobody knows."""

    session_on: date
    at: time | None
    security_id: str
    opens: bool  # a position is opened or enlarged by it, else it is closed


def rule_on(law: Tables, on: date, adopted_on: date | None) -> Rule | None:
    """The rule for a margin account on a day; None where nobody counts day trades any more, or did not yet.

    Law      FINRA Rule 4210(f)(8)(B), until replaced by Rule 4210(d)(2); sql/law/day_trading.csv.
    Errors   LawMissing.
    Omits    the intraday margin itself: its deficit is the broker's to measure, and its buying power tells of it.

    >>> from warehouse.law import law_rows
    >>> law = law_rows()
    >>> rule_on(law, date(2026, 6, 3), None)
    Rule(day_trades=4, sessions=5, over_rate=Decimal('0.06'), equity_usd=Decimal('25000'))
    >>> rule_on(law, date(2026, 6, 4), date(2026, 6, 4)), rule_on(law, date(2027, 10, 20), None)
    (None, None)
    """
    said: dict[str, list[tuple[date, str]]] = defaultdict(list)
    for row in sorted(law.get("day_trading", ()), key=lambda row: row["effective_from"]):
        said[row["category"]].append((date.fromisoformat(row["effective_from"]), row["value"]))
    if not said:
        raise LawMissing("sql/law/day_trading.csv has no rows: add them with their citation")

    def in_force(what: str) -> str:
        return next((value for since, value in reversed(said[what]) if since <= on), "")

    if in_force("is_counted") != "true":
        return None
    may_change_from = next((since for since, value in said["may_be_replaced"] if value == "true"), date.max)
    if adopted_on is not None and max(adopted_on, may_change_from) <= on:
        return None
    return Rule(
        int(in_force("day_trades")), int(in_force("sessions")), Decimal(in_force("over_rate")),
        Decimal(in_force("equity_usd")),
    )  # fmt: skip


def day_trades(executions: Iterable[Execution]) -> int:
    """How many day trades these are: a position that is opened and closed within a session is one.

    Law      FINRA Rule 4210(f)(8)(B)(i): however many purchases were closed by however many sales; what was held
             overnight and is sold before a new purchase is none.
    Omits    where a time of day is missing: the most that it can have been is counted.

    >>> monday = date(2026, 3, 2)
    >>> def did(*sides): return [Execution(monday, time(10, n), "HD", side == "buy") for n, side in enumerate(sides)]
    >>> day_trades(did("buy", "buy", "sell")), day_trades(did("buy", "sell", "buy", "sell")), day_trades(did("sell", "buy"))
    (1, 2, 0)
    """
    groups: dict[tuple[date, str], list[Execution]] = defaultdict(list)
    for one in executions:
        groups[one.session_on, one.security_id].append(one)
    return sum(map(_of_one, groups.values()))


def _of_one(group: list[Execution]) -> int:
    if any(one.at is None for one in group):
        opened = sum(one.opens for one in group)
        return min(opened, len(group) - opened)
    sides = [one.opens for one in sorted(group, key=lambda one: (one.at or time.min, one.opens))]
    return sum(was and not now for was, now in pairwise(sides))
