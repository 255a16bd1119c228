"""A file that a person exported -> its text, and its lines as cells.

The problem: such files come in any encoding, with disclaimers and damaged quotes, and somebody will name a PDF. The
choice: a line is the unit. A quote that is never closed spoils its own line and not the rest of the file; a line that
cannot be read as cells is still handed on, with its fault, so that nothing is lost. Size and time are limited, and
nothing here looks at a character more than a fixed number of times.
"""

import csv
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from flows.connectors import Unavailable

MOST_BYTES = 25 * 2**20  # an account's export is a few megabytes at most
MOST_SECONDS = 300
LONGEST = 100_000  # characters of a row
LOOKED_AT = 500  # characters of a line that patterns are tried on
MOST_LINES = 60  # of a row: a disclaimer in quotes may run over many
MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
NO_TEXT = (
    (b"%PDF", "a PDF"), (b"PK\x03\x04", "an Excel workbook or a ZIP archive"), (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"\x1f\x8b", "a gzip archive"),
)  # fmt: skip
_LINE_END = re.compile(r"\r\n|\r|\n")


class Record(NamedTuple):
    line: int
    cells: list[str]
    fault: str


def text_of(file: Path, encoding: str | None = None) -> str:
    """The text of a file. `encoding` is used where no byte order mark says otherwise; without it, it is found out.

    Errors   Unavailable says why the file cannot be a statement.
    """
    try:
        if not file.is_file():
            raise Unavailable(f"{file} does not exist, or is no file: export the statement to it")
        if (size := file.stat().st_size) > MOST_BYTES:
            raise Unavailable(f"{file} has {size:,} bytes; at most {MOST_BYTES:,} are read: export a shorter period")
        raw = file.read_bytes()
    except (OSError, ValueError) as wrong:
        raise Unavailable(f"{file} cannot be read: {wrong}") from wrong
    if what := next((what for mark, what in NO_TEXT if raw.startswith(mark)), None):
        raise Unavailable(f"{file} is {what}: export the statement as CSV, OFX or QFX")
    text = decoded(raw, encoding)
    if not text.strip():
        raise Unavailable(f"{file} is empty: export the statement again")
    return text


def decoded(raw: bytes, encoding: str | None = None) -> str:
    """Bytes as text; what is no UTF-8 is taken for Windows-1252, as brokers' exports are.

    >>> decoded(b"\\xef\\xbb\\xbfFee"), decoded("Fee".encode("utf-16-le")), decoded(b"Caf\\xe9")
    ('Fee', 'Fee', 'Café')
    """
    for mark, name in MARKS:
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace")
    if encoding:
        return raw.decode(encoding, "replace")
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if raw[first:400:2].count(0) * 3 > len(raw[:400]):
            return raw.decode(name, "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def records(text: str, delimiter: str = ",") -> Iterator[Record]:
    """The rows of a CSV text with the line that each starts on; a row whose quotes close later runs over lines.

    Errors   Unavailable when reading takes longer than MOST_SECONDS.

    >>> [record.cells for record in records('a,"b, c"\\nd,"e\\nf"\\ng,"h')]
    [['a', 'b, c'], ['d', 'e\\nf'], ['g', 'h']]
    """
    lines, at, until = _LINE_END.split(text), 0, time.monotonic() + MOST_SECONDS
    while at < len(lines):
        if not at % 4096 and time.monotonic() > until:
            raise Unavailable(f"reading takes longer than {MOST_SECONDS} seconds: export a shorter period")
        end = _end(lines, at)
        whole = "\n".join(lines[at : end or at + 1])
        cells, fault = _cells(whole, delimiter)
        yield Record(at + 1, cells, fault or ("" if end else "a quote is never closed"))
        at = end or at + 1


def _end(lines: list[str], at: int) -> int | None:
    """The line after a row; none where a quote that it opens is not closed soon."""
    quotes = length = 0
    for end in range(at, min(at + MOST_LINES, len(lines))):
        quotes += lines[end].count('"')
        length += len(lines[end])
        if not quotes % 2:
            return end + 1
        if length > LONGEST:
            break
    return None


def _cells(row: str, delimiter: str) -> tuple[list[str], str]:
    if len(row) > LONGEST:
        return [cell[:200] for cell in row[:2000].split(delimiter)], f"a row of {len(row):,} characters"
    if '"' not in row:
        return row.split(delimiter), ""
    try:
        return next(csv.reader([row], delimiter=delimiter), []), ""
    except csv.Error as wrong:
        return row.split(delimiter), str(wrong)
