"""A file and the name of its format -> its Statement; and, where they do not go together, what the file looks like."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from flows.connectors import Unavailable, text_rows
from flows.connectors.formats import ACTIVITY_COLUMNS, BANK_COLUMNS, Statement, statement, table
from flows.connectors.formats.column_map import MARKUP, OWN, ColumnMap, shipped
from flows.connectors.formats.text import text_of

ALIKE = {  # exports that people mistake for a statement, by what stands in them
    r"closed date.{0,40}opened date": "a report of realized gains: export the history of transactions instead",
    r"order id.{0,200}asin": "a list of orders, which the card or account that paid them lists too: export that one",
}
MARKS = {"ofx": r"<OFX>|OFXHEADER", "flex": r"<FlexQueryResponse|<FlexStatement"}


def read(file: Path, name: str, own: Mapping[str, ColumnMap], kind: str = "activities") -> Statement:
    """The statement in a file. `own` are the household's formats; `kind` is what the format thresher holds.

    Errors   Unavailable names the file, what is wrong and what to do; of another format, which one it looks like.
    """
    try:
        return _reader(name, own, kind)(file)
    except Unavailable as wrong:
        looks = "" if name == OWN and wrong.may_pass else _looks_like(file, name, own)
        raise Unavailable(f"{wrong}{looks}") from wrong


def formats(own: Iterable[str]) -> list[str]:
    """Every name that a format can have."""
    return sorted({OWN, *MARKUP, *shipped(), *own})


def _reader(name: str, own: Mapping[str, ColumnMap], kind: str) -> Callable[[Path], Statement]:
    if name == OWN:
        return lambda file: _own(file, kind)
    if name == "ofx":
        from flows.connectors.formats import ofx

        return ofx.read
    if name == "flex":
        from flows.connectors.formats import flex

        return flex.read
    form = own.get(name) or shipped().get(name)
    if form is None:
        raise Unavailable(f"there is no format {name!r}: one of {', '.join(formats(own))}")
    return lambda file: table.read(file, form)


def _own(file: Path, kind: str) -> Statement:
    """Our own columns, and whatever stands beside them."""
    columns = ACTIVITY_COLUMNS if kind == "activities" else BANK_COLUMNS
    return statement(None)._replace(**{kind: text_rows(file, columns)})  # type: ignore[arg-type]


def _looks_like(file: Path, name: str, own: Mapping[str, ColumnMap]) -> str:
    """What a file that was refused looks like, if it is known."""
    try:
        text = text_of(file)[:200_000]
    except Unavailable:
        return ""
    found = [kind for kind, mark in MARKS.items() if re.search(mark, text[:5000], re.IGNORECASE)]
    if not found:
        if said := next(
            (said for mark, said in ALIKE.items() if re.search(mark, text[:5000].replace('"', ""), re.IGNORECASE)), ""
        ):
            return f"; it looks like {said}"
        alike = {one: table.likeness(text, form) for one, form in {**shipped(), **own}.items()}
        found = [one for one, many in alike.items() if many and many == max(alike.values())]
    return f'; it looks like format = "{found[0]}"' if found and name not in found else ""
