"""Names that make an order impossible to place twice."""

from collections.abc import Iterable
from datetime import date
from hashlib import sha256


def batch_id(session_on: date, account_id: str, kind: str = "daily", sequence: int = 1) -> str:
    """
    >>> batch_id(date(2022, 10, 17), "ira")
    '2022-10-17.ira.daily.1'
    """
    return f"{session_on}.{account_id}.{kind}.{sequence}"


def client_order_id(batch: str, line: int, attempt: int = 1) -> str:
    """
    >>> client_order_id("2022-10-17.ira.daily.1", 3)
    '2022-10-17.ira.daily.1.3.1'
    """
    return f"{batch}.{line}.{attempt}"


def batch_hash(lines: Iterable[tuple]) -> str:
    """A digest of the lines: what an approval binds to. Equal lines, equal digest; one share more, another."""
    return sha256("\n".join("|".join(map(str, line)) for line in lines).encode()).hexdigest()[:16]
