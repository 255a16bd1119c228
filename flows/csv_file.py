"""CSV files that people bring: every row with the line that it starts on. The standard library only."""

import csv
from collections.abc import Iterator
from pathlib import Path

SURPLUS = "(surplus)"  # the name under which a row keeps what it has beyond the header


class Unreadable(Exception):
    """The file as a whole cannot be used: what was expected and what to do."""


def csv_rows(path: Path, expected: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row with the line that it starts on; the header is line 1."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if repeated := {name for name in header if header.count(name) > 1}:
                raise Unreadable(f"{path}:1: a column is named twice: {', '.join(sorted(repeated))}")
            missing = [name for name in expected if name not in header]
            if missing:
                raise Unreadable(f"{path}:1: expected the columns {', '.join(expected)}; missing: {', '.join(missing)}")
            start = reader.line_num + 1
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    row = dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=False))
                    if len(cells) > len(header):
                        row[SURPLUS] = ",".join(cells[len(header) :])
                    yield start, row
                start = reader.line_num + 1
    except (OSError, UnicodeDecodeError, csv.Error) as wrong:
        raise Unreadable(f"{path} cannot be read: {wrong}; expected a CSV file in UTF-8 with a header line") from wrong
