"""When the exchange trades. Everything that asks for a day asks here.

`as_of` is the last completed session. On a replay (prices that end in the past) the clock is moved: the first
run works on `replay_from`, and with every real session that goes by since, the replay moves on by one.
"""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
SETTLES_AFTER = timedelta(minutes=30)  # after the close, until prices and activities are there


class CalendarEnded(Exception):
    """The exchange calendar does not know the day: update exchange-calendars."""


@cache
def _exchange() -> Any:
    import exchange_calendars

    return exchange_calendars.get_calendar("XNYS", start="1990-01-01")


def is_session(day: date) -> bool:
    _known(day)
    return bool(_exchange().is_session(day.isoformat()))


def next_session(day: date) -> date:
    """The first session after a day."""
    _known(day + timedelta(days=10))
    return _exchange().date_to_session((day + timedelta(days=1)).isoformat(), direction="next").date()


def session_on_or_before(day: date) -> date:
    _known(day)
    return _exchange().date_to_session(day.isoformat(), direction="previous").date()


def sessions(first: date, last: date) -> list[date]:
    """Every session from `first` to `last`, both included."""
    if first > last:
        return []
    _known(first)
    _known(last)
    return [stamp.date() for stamp in _exchange().sessions_in_range(first.isoformat(), last.isoformat())]


def opens(session: date) -> datetime:
    """When a session opens, UTC, without a time zone."""
    _known(session)
    return _exchange().session_open(session.isoformat()).to_pydatetime().replace(tzinfo=None)


def closes(session: date) -> datetime:
    """When a session closes, UTC, without a time zone; half days close early."""
    _known(session)
    return _exchange().session_close(session.isoformat()).to_pydatetime().replace(tzinfo=None)


def session_at(now: datetime) -> date:
    """The session in which an order sent now (UTC, without a time zone) would be executed: the one that is open, or the next."""
    day = now.replace(tzinfo=UTC).astimezone(NEW_YORK).date()
    return day if is_session(day) and now < closes(day) else next_session(day)


def is_open(now: datetime) -> bool:
    """Does the exchange trade now (UTC, without a time zone)?"""
    session = session_at(now)
    return opens(session) <= now < closes(session)


def last_completed(now: datetime) -> date:
    """The last session whose close lies `SETTLES_AFTER` before `now`, which carries its time zone."""
    day = now.astimezone(NEW_YORK).date()
    session = session_on_or_before(day)
    if session == day and now < _exchange().session_close(day.isoformat()).to_pydatetime() + SETTLES_AFTER:
        session = session_on_or_before(day - timedelta(days=1))
    return session


def replayed(first_as_of: date, first_at: datetime, now: datetime) -> date:
    """The replay's last completed session: as many sessions after the first as really went by since."""
    went_by = len(sessions(last_completed(first_at), last_completed(now))) - 1
    session = first_as_of
    for _ in range(went_by):
        session = next_session(session)
    return session


def _known(day: date) -> None:
    exchange = _exchange()
    if not exchange.first_session.date() <= day <= exchange.last_session.date():
        raise CalendarEnded(
            f"the exchange calendar knows {exchange.first_session.date()} to {exchange.last_session.date()}, "
            f"not {day}: update exchange-calendars (make upgrade), or work on an earlier day"
        )
