"""How an export is read, as a table: which column is what, how days and numbers are printed, what each action is.

The formats that ship are such tables (the *.toml beside this file), and a household writes its own under
[formats.NAME] of portfolio.toml. Both are checked when they are read.
"""

import codecs
import re
import tomllib
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Name = Literal[
    "date", "time", "action", "symbol", "description", "quantity", "price", "fee", "accrued", "amount", "withdrawal", "deposit",
    "account", "id", "currency", "cost",
]  # fmt: skip
OWN = "thresher"
MARKUP = ("ofx", "flex")  # formats that are no table: a module each
WORDS: dict[str, tuple[str, str]] = {  # what an action can be -> our kind and side; amounts: `AS` in table.py
    "buy": ("trade", "buy"),
    "sell": ("trade", "sell"),
    "trade": ("trade", ""),  # the sign of the quantity is the side
    "reinvest": ("dividend_reinvested", "buy"),
    "short": ("short_open", "sell"),
    "cover": ("short_close", "buy"),
    "buy_to_open": ("option_open", "buy"),
    "sell_to_open": ("option_open", "sell"),
    "buy_to_close": ("option_close", "buy"),
    "sell_to_close": ("option_close", "sell"),
    "expire": ("option_expire", ""),  # the sign of the quantity: contracts that leave were bought
    "dividend": ("dividend", ""),
    "interest": ("interest", ""),
    "fee": ("fee", ""),
    "cash": ("", ""),  # a deposit or a withdrawal, by the sign of the amount
    "deposit": ("deposit", ""),  # whatever its sign
    "withdrawal": ("withdrawal", ""),
    "charge": ("fee", ""),  # a fee that is printed without its sign
    "nothing": ("", ""),  # moves neither shares nor cash: not delivered
}
NEEDED = {"activities": ("date",), "bank_lines": ("date",), "positions": ("symbol", "quantity")}
HEADS: tuple[Name, ...] = (
    "date",
    "action",
    "symbol",
    "quantity",
    "amount",
    "withdrawal",
    "deposit",
)  # those mapped tell a header


class ColumnMap(BaseModel):
    """One table of a file; `tables` are the others of the same file. Patterns are regular expressions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["activities", "bank_lines", "positions"] = "activities"
    columns: dict[Name, str | tuple[str, ...]]  # several: the first that is there; fee and description: all of them
    dates: tuple[str, ...] = ("%Y-%m-%d",)  # strptime
    date_part: str = ""  # of the cell that is the day: the pattern's group
    actions: dict[str, str] = {}  # what stands there, * for anything -> a word of WORDS; the first that fits
    always: str = ""  # the word of every row, where a table has one kind only
    symbol_part: str = ""  # where the symbol stands in the description only: the pattern's group
    options: tuple[str, ...] = ()  # of a symbol: groups underlying, expiry, strike, right
    option_dates: tuple[str, ...] = ("%m/%d/%Y",)
    cash: tuple[str, ...] = ()  # the funds that the account's cash sits in: they are USD, not securities
    rows: dict[str, tuple[str, ...]] = {}  # a row is of this table where these columns say so, * for anything
    negative: dict[str, tuple[str, ...]] = {}  # the amount is printed without its sign and negative where one says so
    amount_is_reversed: bool = False  # what leaves the account is printed as positive
    fee_is_negative: bool = False  # a fee is printed as what it does to the cash
    decimal: str = "."
    thousands: str = ","
    # of the file
    about: str = ""
    encoding: str | None = None
    delimiter: str = ","
    skip_top: int = Field(default=0, ge=0)
    skip_bottom: int = Field(default=0, ge=0)
    footers: tuple[str, ...] = ()  # of a row's first cell: totals and the like, which are no rows
    stated_on: str = ""  # outside of the tables: the day that the file speaks for
    stated_dates: tuple[str, ...] = ()  # by default `dates`
    account: str = ""  # outside of the tables: the account's number
    currency: str = ""  # outside of the tables: the currency of the amounts
    tables: tuple["ColumnMap", ...] = ()

    @field_validator("date_part", "symbol_part", "stated_on", "account", "currency")
    @classmethod
    def _has_a_group(cls, pattern: str) -> str:
        if pattern and _compiled(pattern).groups != 1:
            raise ValueError(f"{pattern!r} has not one group in parentheses: what is to be taken")
        return pattern

    @field_validator("options")
    @classmethod
    def _names_an_option(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if missing := {"underlying", "expiry", "strike", "right"} - set(_compiled(pattern).groupindex):
                raise ValueError(f"{pattern!r} lacks the groups {', '.join(sorted(missing))}")
        return patterns

    @field_validator("footers")
    @classmethod
    def _are_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_compiled(pattern).pattern for pattern in patterns)

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str | None) -> str | None:
        try:
            if encoding and not codecs.lookup(encoding)._is_text_encoding:
                raise LookupError
        except LookupError:
            raise ValueError(f"{encoding!r} is no text encoding that Python knows") from None
        return encoding

    @field_validator("delimiter", "decimal")
    @classmethod
    def _is_one_character(cls, mark: str) -> str:
        if len(mark) != 1:
            raise ValueError(f"{mark!r} is not one character")
        return mark

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if missing := [name for name in NEEDED[self.kind] if name not in self.columns]:
            raise ValueError(f"columns lacks {', '.join(missing)}")
        if self.kind == "bank_lines" and not {"amount", "withdrawal", "deposit"} & set(self.columns):
            raise ValueError("columns lacks amount, or withdrawal and deposit")
        if self.kind == "activities" and not self.always and not (self.actions and "action" in self.columns):
            raise ValueError("say what the rows are: columns.action with [actions], or always")
        words = {*self.actions.values(), *([self.always] if self.always else [])}
        if unknown := sorted(words - set(WORDS)):
            raise ValueError(f"{', '.join(unknown)}: not one of {', '.join(WORDS)}")
        return self

    def headers(self, name: Name) -> tuple[str, ...]:
        """The columns that a name may stand for."""
        said = self.columns.get(name, ())
        return (said,) if isinstance(said, str) else said

    @cached_property
    def heads(self) -> tuple[frozenset[str], ...]:
        """What a header must hold, one name of each set, folded."""
        named = tuple(frozenset(map(folded, self.headers(name))) for name in HEADS if name in self.columns)
        return (*named, *(frozenset((folded(header),)) for header in self.rows))

    @cached_property
    def anchors(self) -> frozenset[str]:
        """What a header of any table of the file surely holds, to tell it from a row at a glance."""
        return frozenset().union(*(table.heads[0] for table in (self, *self.tables)))


def folded(name: str) -> str:
    """A column's name as headers are compared: without case and needless spaces."""
    return " ".join(name.split()).casefold()


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as wrong:
        raise ValueError(f"{pattern!r} is no regular expression: {wrong}") from None


@cache
def shipped() -> dict[str, ColumnMap]:
    """The formats that ship, by name."""
    files = sorted(Path(__file__).parent.glob("*.toml"))
    return {file.stem: ColumnMap.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))) for file in files}
