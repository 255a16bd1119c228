"""Rows as CSV files, and values as a person reads them."""

from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import polars as pl

MINUS, NO_VALUE = "\u2212", "\u2013"
_ZEROS = r"(\.\d\d\d*?)0*$"
_FORMULA = r"^([=+\-@\t\r])"  # what a spreadsheet would run instead of showing


def trimmed(rows: pl.DataFrame) -> pl.DataFrame:
    """Amounts as text without a trailing run of zeros after the cents, the rest as it is.

    >>> trimmed(pl.DataFrame({"usd": [Decimal("1.500000"), Decimal("3.000000")]}))["usd"].to_list()
    ['1.50', '3.00']
    """
    amounts = [name for name, kind in rows.schema.items() if isinstance(kind, pl.Decimal)]
    return rows.with_columns(pl.col(name).cast(pl.String).str.replace(_ZEROS, "$1") for name in amounts)


def write_csv(rows: pl.DataFrame, file: Path) -> None:
    """Write rows with a heading.

    Text that a spreadsheet would take for a formula gets an apostrophe in front: some of it comes from a bank.
    """
    texts = [name for name, kind in rows.schema.items() if kind == pl.String]
    rows = rows.with_columns(pl.col(name).replace("", None).str.replace(_FORMULA, "'$1") for name in texts)
    file.write_bytes(trimmed(rows).write_csv(line_terminator="\n").encode())


def usd(amount: Decimal | float | None, places: int = 2) -> str:
    """Dollars as a statement prints them.

    >>> usd(Decimal("-1234.5")).replace(MINUS, "-"), usd(Decimal("0.005")), usd(None) == NO_VALUE
    ('-$1,234.50', '$0.01', True)
    """
    if amount is None:
        return NO_VALUE
    exact = Decimal(str(amount)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return f"{MINUS if exact < 0 else ''}${abs(exact):,}"


def shares(quantity: Decimal | None) -> str:
    """
    >>> shares(Decimal("1234.500000000"))
    '1,234.5'
    """
    if quantity is None:
        return NO_VALUE
    text = f"{quantity:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(fraction: float | Decimal | None, places: int = 1) -> str:
    """
    >>> percent(-0.0523).replace(MINUS, "-")
    '-5.2%'
    """
    if fraction is None:
        return NO_VALUE
    text = f"{abs(fraction):.{places}%}"
    return f"{MINUS}{text}" if fraction < 0 and any(digit in text for digit in "123456789") else text


def number(value: float | Decimal | None, places: int = 2) -> str:
    """
    >>> number(1234.567), number(3)
    ('1,234.57', '3')
    """
    if value is None:
        return NO_VALUE
    text = f"{abs(value):,}" if isinstance(value, int) else f"{abs(value):,.{places}f}"
    return f"{MINUS}{text}" if value < 0 else text


def day(on: date | None) -> str:
    """
    >>> day(date(2022, 10, 4))
    'Oct 4, 2022'
    """
    return f"{on:%b} {on.day}, {on.year}" if on else NO_VALUE
