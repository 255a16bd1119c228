"""Which lots a sale is identified with, and whether that was in time.

The problem. We intend lots; the broker relieves lots; the law counts only lots that were identified in time. A broker
that takes no lots relieves first in, first out whatever we intend, and one that takes them after the trade does so
until its own cut-off on the trade day.

The choice. The books follow what was identified in time, and else what the broker does by itself: a standing order,
or first in, first out. What came too late is not followed, and is shown. One exception is the law's: a digital asset
that a broker holds may, while a dated row of sql/law says so, be identified in the household's own books, whatever the
broker relieves.
"""

from collections.abc import Callable
from datetime import date, datetime, time
from typing import NamedTuple

END_OF_DAY = time(23, 59, 59)


class Identified(NamedTuple):
    """Lots that a sale is said to take. Times are New York's.

    `how` is order (they went with it, or the broker's own row names them), after trade, standing or own books.
    """

    lots: str
    how: str
    identified_at: datetime | None  # None: not known, or not done yet


class Sale(NamedTuple):
    """What the deadline depends on. `identify_by` is the broker's own cut-off on the trade day, None without one."""

    is_digital: bool
    traded_on: date
    traded_at: time | None
    identify_by: time | None = None


def settles_on(traded_on: date, days: int, next_session: Callable[[date], date]) -> date:
    """The settlement date: so many sessions after the trade.

    Law      17 CFR 240.15c6-1(a); sql/law/settlement_days.csv.
    Omits    holidays of banks on which the exchange trades; options and funds, which settle on days of their own.
    """
    on = traded_on
    for _ in range(days):
        on = next_session(on)
    return on


def deadline(sale: Sale, settlement_on: date) -> datetime:
    """Until when lots can be identified: the earlier of the law's time and the broker's.

    Law      Treas. Reg. 1.1012-1(c)(8): for securities the settlement date, at the latest. 1.1012-1(j)(3): for a digital
             asset the date and time of the sale; where only the day is known, the beginning of that day.
    Omits    settlement agreed otherwise than the rule says.

    >>> friday = date(2026, 11, 20)
    >>> deadline(Sale(False, friday, None), date(2026, 11, 23))
    datetime.datetime(2026, 11, 23, 23, 59, 59)
    >>> deadline(Sale(False, friday, None, time(20, 30)), date(2026, 11, 23))
    datetime.datetime(2026, 11, 20, 20, 30)
    >>> deadline(Sale(True, friday, time(9, 15)), date(2026, 11, 23))
    datetime.datetime(2026, 11, 20, 9, 15)
    """
    if sale.is_digital:
        return datetime.combine(sale.traded_on, sale.traded_at or time.min)
    by_law = datetime.combine(settlement_on, END_OF_DAY)
    return min(by_law, datetime.combine(sale.traded_on, sale.identify_by)) if sale.identify_by else by_law


def is_in_time(said: Identified, until: datetime) -> bool:
    """Lots that went with the order, and those of a standing one, were there before the sale; else the clock decides.

    >>> until = datetime(2026, 11, 20, 20, 30)
    >>> is_in_time(Identified("A:1", "after trade", datetime(2026, 11, 20, 20, 31)), until)
    False
    >>> is_in_time(Identified("A:1", "order", None), until), is_in_time(Identified("A:1", "after trade", None), until)
    (True, False)
    """
    if said.identified_at is None:
        return said.how in ("order", "standing")
    return said.how == "standing" or said.identified_at <= until
