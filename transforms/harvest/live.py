"""Which live prices are believed, and which harvests are new today.

The problem. A scan every few minutes sees a price that is hours old, or wrong by a digit, sooner or later; and a loss that
lies at a threshold passes it ten times a day.

The choice. A price that is not believed is no price: its security is neither sold nor bought, and nothing is put in its
place. A security that was decided on today (done, refused or still asked about) is proposed again only when its loss has
grown by a part of what it was then; one that was bought today, never.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from transforms.harvest.scan import Proposal

AHEAD = timedelta(minutes=1)  # that a source's clock may be before ours


class Close(NamedTuple):
    """The last close of a security. Units: USD a share."""

    price_usd: Decimal
    sessions_old: int


class Belief(NamedTuple):
    """How old a live price may be, how far it may be from the last close, and how old that may be."""

    since: datetime  # the session's opening, UTC
    now: datetime
    max_age: timedelta
    max_move: float
    max_close_age: int


def doubt(price_usd: Decimal, at: datetime, close: Close | None, belief: Belief) -> str:
    """Why a live price is not believed; empty when it is.

    >>> noon = datetime(2025, 10, 1, 16)
    >>> belief = Belief(noon - timedelta(hours=3), noon, timedelta(minutes=20), 0.35, 1)
    >>> close = Close(Decimal(100), 0)
    >>> doubt(Decimal(96), noon, close, belief), doubt(Decimal(96), noon - timedelta(minutes=21), close, belief)
    ('', '21 minutes old, the limit is 20')
    >>> doubt(Decimal("9.6"), noon, close, belief)
    '-90% from the last close of $100, more than 35% is not believed'
    """
    if not price_usd.is_finite() or price_usd <= 0:
        return f"{price_usd} is no price"
    if at > belief.now + AHEAD:
        return f"said to be of {at:%H:%M} UTC, which is still to come"
    if at < belief.since:
        return "of before the opening"
    if (age := belief.now - at) > belief.max_age:
        return f"{_minutes(age)} minutes old, the limit is {_minutes(belief.max_age)}"
    if close is None or close.sessions_old > belief.max_close_age:
        return "it has no recent close to be compared with"
    if abs(move := price_usd / close.price_usd - 1) > Decimal(str(belief.max_move)):
        return f"{move:+.0%} from the last close of ${close.price_usd.normalize():f}, more than {belief.max_move:.0%} is not believed"
    return ""


class Today(NamedTuple):
    """What was decided on and traded today, by group of identical securities.

    Units    `sold` by account and group: the loss in USD that was decided on, none of a sale that nobody decided here.
    """

    sold: Mapping[tuple[str, str], Decimal | None]
    bought: frozenset[str]


def anew(found: Iterable[Proposal], today: Today, identical: Mapping[str, str], growth: Decimal) -> list[Proposal]:
    """The harvests among them that are new today."""
    return [one for one in found if not one.candidate.refusal and _is_new(one, today, identical, growth)]


def _is_new(one: Proposal, today: Today, identical: Mapping[str, str], growth: Decimal) -> bool:
    group = identical.get(one.candidate.security_id, one.candidate.security_id)
    if group in today.bought:
        return False
    key = one.candidate.account_id, group
    if key not in today.sold:
        return True
    before = today.sold[key]
    return before is not None and one.candidate.loss_usd >= before * (1 + growth)


def _minutes(span: timedelta) -> int:
    return int(span.total_seconds() // 60)
