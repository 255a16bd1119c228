"""sql/check: do the books balance? Each file is a query for rows that are wrong; none is right."""

from datetime import date

from warehouse.build import sql_folder
from warehouse.db import Warehouse


class UnbalancedBooks(Exception):
    """An invariant of the books does not hold: the run stops; the snapshot of the last good stage stays."""


def failures(warehouse: Warehouse, as_of: date) -> dict[str, list[tuple]]:
    """The wrong rows of every check that has some, the first five of each."""
    found = {}
    for file in sorted((sql_folder() / "check").glob("*.sql")):
        query = file.read_text(encoding="utf-8")
        rows = warehouse.rows(query, **({"as_of": as_of} if "$as_of" in query else {}))
        if rows.height:
            found[file.stem] = rows.head(5).rows()
    return found


def balance(warehouse: Warehouse, as_of: date) -> None:
    """
    Errors   UnbalancedBooks names every check that failed and its first rows.
    """
    if found := failures(warehouse, as_of):
        said = "\n".join(f"  sql/check/{name}.sql: {rows}" for name, rows in found.items())
        raise UnbalancedBooks(f"the books of {as_of} do not balance:\n{said}")
