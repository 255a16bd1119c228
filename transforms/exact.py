"""Exact money and shares: whole numbers in, whole numbers out.

The ledger never holds a float. A quantity is a whole number of nano-shares, an amount a whole number of
cents: a trade's cost and proceeds are rounded to the cent once, by law and by every broker's statement, and
from then on an amount is only ever *divided*, never rounded again. `apportioned` is the one place that divides.
"""

import re
from decimal import Decimal

NANO = 1_000_000_000
MOST_NANO = 2**62  # of one trade: 4.6 billion shares; what is more is refused, so that nothing compiled can wrap
MOST_CENTS = 2**50  # of one trade: 11 trillion dollars
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_LONGEST = 4000  # characters: a price may be of any length that somebody could have meant


def decimal(text: str) -> Decimal:
    """Read a plain decimal number exactly.

    Errors   ValueError for anything else: NaN, infinity, thousands separators, an empty text.

    >>> decimal("33.10")
    Decimal('33.10')
    >>> decimal("NaN")
    Traceback (most recent call last):
    ValueError: 'NaN' is not a number like 12.34
    """
    text = text.strip()
    if len(text) > _LONGEST or not _PLAIN.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number like 12.34")
    return Decimal(text)


def nano_shares(quantity: Decimal) -> int:
    """Shares as whole nano-shares.

    Errors   ValueError when the quantity is finer than nine decimals.

    >>> nano_shares(Decimal("1.5"))
    1500000000
    """
    count, of = quantity.as_integer_ratio()
    nano, rest = divmod(count * NANO, of)
    if rest:
        raise ValueError(f"{quantity} has more than 9 decimals")
    return nano


def trade_cents(quantity: Decimal, price_usd: Decimal, fee_usd: Decimal) -> int:
    """quantity x price + fee in cents, rounded half-up once; give a negative fee for a sale's proceeds.

    >>> trade_cents(Decimal("3"), Decimal("33.335"), Decimal("0"))
    10001
    """
    (q, q_of), (p, p_of), (f, f_of) = (each.as_integer_ratio() for each in (quantity, price_usd, fee_usd))
    return half_up(100 * (q * p * f_of + f * q_of * p_of), q_of * p_of * f_of)


def half_up(numerator: int, denominator: int) -> int:
    """numerator / denominator to the nearest whole number; a half goes away from zero, as on every IRS form.

    >>> half_up(5, 2), half_up(-5, 2), half_up(7, 3)
    (3, -3, 2)
    """
    size, sign = abs(numerator), -1 if numerator < 0 else 1
    return sign * ((2 * size + denominator) // (2 * denominator))


def apportioned(amount: int, before: int, after: int, whole: int) -> int:
    """The part of `amount` that falls on the shares from `before` to `after` of `whole`.

    Cumulative rounding: the parts of consecutive ranges always add up to the amount.

    >>> [apportioned(100, i, i + 1, 3) for i in range(3)]
    [33, 34, 33]
    """
    return half_up(amount * after, whole) - half_up(amount * before, whole)


def shares_text(nano: int) -> str:
    """Nano-shares as a person writes them.

    >>> shares_text(1_500_000_000), shares_text(100 * NANO), shares_text(-1_500_000_000)
    ('1.5', '100', '-1.5')
    """
    whole, rest = divmod(abs(nano), NANO)
    return f"{'-' if nano < 0 else ''}{whole}" + (f".{rest:09d}".rstrip("0") if rest else "")


def usd_text(cents: int) -> str:
    """
    >>> usd_text(-12345), usd_text(7)
    ('-123.45', '0.07')
    """
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def shares(nano: int) -> Decimal:
    return Decimal(nano).scaleb(-9)


def usd(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)
