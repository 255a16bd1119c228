"""The elements of a Flex statement, as they stand, each with its line.

XML that declares a document type is refused before an entity can be expanded, and so is a file above MOST_BYTES: a
Flex statement has neither.
"""

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from flows.connectors import Unavailable

MOST_BYTES = 200_000_000
NOTHING = ("", "-", "--", "N/A")
EXECUTION = re.compile(r"(.+)\.\d\d")
DAY = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:[;, ]+(\d{2}):?(\d{2}):?(\d{2}))?")
IDENTITY = (
    "dateTime", "tradeDate", "date", "reportDate", "assetCategory", "currency", "symbol", "description", "type",
    "transactionType", "buySell", "quantity", "tradePrice", "amount", "netCash", "cost", "ibCommission",
)  # fmt: skip


class Element(NamedTuple):
    """What an element says, without what says nothing.

    `account` is the statement's: a row of a summary says only "-". `number_in_file` counts: a line may hold several.
    """

    number_in_file: int
    line: int
    tag: str
    statement: int
    account: str
    said: dict[str, str]

    def get(self, name: str) -> str:
        return self.said.get(name, "")

    @property
    def level(self) -> str:
        return self.get("levelOfDetail")

    @property
    def codes(self) -> list[str]:
        return [code.strip() for code in self.get("notes").split(";") if code.strip()]

    def number(self, name: str) -> Decimal:
        """Zero where it says nothing.

        Errors   ValueError.
        """
        text = self.get(name).replace(",", "")
        try:
            number = Decimal(text or 0)
        except InvalidOperation:
            raise ValueError(f"{name} {text!r} is not a number") from None
        if not number.is_finite() or abs(number) >= 10**15:  # no account moves so much; more cannot be rounded exactly
            raise ValueError(f"{name} {text[:40]!r} is not a number")
        return number

    def day(self, *names: str) -> str:
        """The first of these that says a day, as ISO; as it stands where its format is not one of those of docs/ibkr.md."""
        text = next((text for name in names if (text := self.get(name))), "")
        return moment(text)[:10] if DAY.fullmatch(text) else text

    @property
    def at(self) -> str:
        """When it was traded, New York: with the time of day where that is said of the same day."""
        day = self.day("tradeDate", "dateTime", "date", "reportDate")
        timed = self.get("dateTime") or f"{self.get('tradeDate')};{self.get('tradeTime')}"
        return said if (said := moment(timed)).startswith(f"{day}T") else day

    @property
    def id(self) -> str:
        """Of a trade that of its execution; else IBKR's number; else, where the query leaves all out, a digest."""
        if self.tag != "CashTransaction":
            if self.get("ibExecID"):
                return execution_id(self.get("ibExecID"))
            if self.get("tradeID").isdigit():
                return f"trade-{self.get('tradeID')}"
        if self.get("transactionID").isdigit():
            return f"{'action' if self.tag == 'CorporateAction' else 'transaction'}-{self.get('transactionID')}"
        whole = [self.tag, self.account, *(self.get(name) for name in IDENTITY)]
        return "flex-" + sha256("\0".join(whole).encode()).hexdigest()[:16]


def execution_id(text: str) -> str:
    """IBKR's execution id without its revision, which a correction raises.

    >>> execution_id("0000d514.5159662d.01.02")
    '0000d514.5159662d.01'
    """
    found = EXECUTION.fullmatch(text)
    return found[1] if found else text


def moment(text: str) -> str:
    """
    >>> moment("20221221;180504"), moment("2013-03-05, 19:45:00"), moment("20130401"), moment("04/01/2013")
    ('2022-12-21T18:05:04', '2013-03-05T19:45:00', '2013-04-01', '04/01/2013')
    """
    found = DAY.fullmatch(text.strip().rstrip(";"))
    if not found:
        return text
    year, month, day, *time = found.groups()
    return f"{year}-{month}-{day}" + (f"T{':'.join(time)}" if time[0] else "")


def elements(file: Path) -> Iterator[Element]:
    """Every element below a FlexStatement that says something, and the FlexStatements themselves.

    Errors   Unavailable where it is no XML, declares entities, is too large, or is an answer that reports an error.
    """
    if (size := file.stat().st_size) > MOST_BYTES:
        raise Unavailable(f"{file} has {size:,} bytes, more than {MOST_BYTES:,}: ask for a shorter period")
    found: list[Element] = []
    answer: dict[str, str] = {}
    statement, account, open_tag = 0, "", ""

    def refuse(*_: object) -> None:
        raise Unavailable(f"{file} declares a document type, which no Flex statement does: download it again")

    def start(tag: str, said: dict[str, str]) -> None:
        nonlocal statement, account, open_tag
        open_tag = tag
        if tag == "FlexStatement":
            statement, account = statement + 1, said.get("accountId", "").strip()
        if statement and said:
            clean = {name: text for name, value in said.items() if (text := value.strip()) not in NOTHING}
            found.append(Element(len(found), parser.CurrentLineNumber, tag, statement, account, clean))

    def text(said: str) -> None:
        if open_tag in ("Status", "ErrorCode", "ErrorMessage"):
            answer[open_tag] = answer.get(open_tag, "") + said.strip()

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler, parser.StartElementHandler, parser.CharacterDataHandler = refuse, start, text
    try:
        with file.open("rb") as opened:
            parser.ParseFile(opened)
    except expat.ExpatError as wrong:
        raise Unavailable(
            f"{file}, line {wrong.lineno}: not XML ({expat.ErrorString(wrong.code)}); save it again"
        ) from None
    if "ErrorCode" in answer:
        raise Unavailable(
            f"{file} is no statement but an error of the Flex service: {answer['ErrorCode']} {answer.get('ErrorMessage', '')}"
        )
    yield from found
