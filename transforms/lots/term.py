"""Holding period: when a gain or loss is long-term."""

from datetime import date, timedelta


def long_term_from(holding_since: date) -> date:
    """The first day on which a sale is long-term.

    Law      26 USC 1222; Rev. Rul. 66-7: the day of acquisition is not counted, the day of sale is, and a year
             runs from the first counted day to the same day of the next year (29 February: to 1 March).
    Omits    straddles and short sales against the box.

    >>> long_term_from(date(2024, 1, 31))
    datetime.date(2025, 2, 1)
    >>> long_term_from(date(2023, 2, 28)), long_term_from(date(2024, 2, 28))
    (datetime.date(2024, 3, 1), datetime.date(2025, 3, 1))
    """
    start = holding_since + timedelta(days=1)
    if (start.month, start.day) == (2, 29):
        return date(start.year + 1, 3, 1)
    return start.replace(year=start.year + 1)


def long_since(acquired_on: date) -> date:
    """The holding_since of property that is long-term from its first day.

    Law      26 USC 1223(9): inherited property counts as held for more than a year.
    Omits    property that came from a decedent who died in 2010 (carryover basis by election).

    >>> long_since(date(2025, 3, 10)), term(long_since(date(2025, 3, 10)), date(2025, 3, 10))
    (datetime.date(2024, 3, 9), 'long')
    """
    since = acquired_on - timedelta(days=366)
    while long_term_from(since + timedelta(days=1)) <= acquired_on:
        since += timedelta(days=1)
    return since


def tacked(acquired_on: date, held: timedelta) -> date:
    """The holding_since of shares that carry another holding period on; never before the calendar begins.

    Law      26 USC 1223(3): "there shall be included the period"; counted in days.
    Omits    months and years of unequal length: the regulation names no other way to count.

    >>> tacked(date(2025, 3, 25), date(2025, 3, 10) - date(2025, 1, 6)), tacked(date(2024, 2, 25), timedelta(800_000))
    (datetime.date(2025, 1, 21), datetime.date(1, 1, 1))
    """
    return date.fromordinal(max(1, acquired_on.toordinal() - held.days))


def term(holding_since: date, sold_on: date) -> str:
    """
    >>> term(date(2023, 6, 15), date(2024, 6, 15)), term(date(2023, 6, 15), date(2024, 6, 16))
    ('short', 'long')
    """
    if (sold_on - holding_since).days <= 365:  # no year is shorter, and the calendar may end before it has passed
        return "short"
    return "long" if sold_on >= long_term_from(holding_since) else "short"


def is_provisional(is_loss: bool, sold_on: date, window_days: int, as_of: date) -> bool:
    """A loss stays provisional until its last day on which a purchase could wash it has passed.

    >>> sold = date(2025, 3, 1)
    >>> is_provisional(True, sold, 30, date(2025, 3, 31)), is_provisional(True, sold, 30, date(2025, 4, 1))
    (True, False)
    """
    return is_loss and (as_of - sold_on).days <= window_days
