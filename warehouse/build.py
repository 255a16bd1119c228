"""sql/ becomes the warehouse: the file sql/<schema>/<table>.sql is the table <schema>.<table>.

raw and ledger are kept for ever and are changed by the numbered files of sql/migrations only; core is dropped
when its definition changes (transforms fill it again); views are made anew. The comment block that opens each
file is written into DuckDB, so that ad-hoc SQL explains itself. Nothing is done while sql/ is unchanged.
"""

import re
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import duckdb

from warehouse.law import law_folder

SCHEMAS = ("law", "raw", "stg", "ledger", "core", "mart")
KEPT = ("raw", "ledger")
LAW_COLUMNS = {
    "effective_from": "the day from which the row is in force",
    "filing_status": "single, mfj, mfs, hoh or qss; empty: all",
    "over_usd": "the bracket starts above this taxable income, USD",
    "category": "category of an expense",
    "value": "the value, in the unit named beside it",
    "unit": "usd, rate (a fraction), days, line, bool, date or ratio",
    "citation": "where it stands",
    "flag": "an open question of law, as [law_policy] of portfolio.toml names it",
    "favours": "whom the default favours: taxpayer or IRS",
    "question": "what the default says",
}
_COLUMN = re.compile(r"-- (\w+)  +(\S.*)")


class Definition(NamedTuple):
    """One SQL file: what the table is, its grain, its columns, and the statement that makes it."""

    schema: str
    name: str
    text: str
    grain: str
    columns: dict[str, str]
    statement: str

    @property
    def kind(self) -> str:
        return "VIEW" if "CREATE OR REPLACE VIEW" in self.statement else "TABLE"


class Malformed(Exception):
    """A file of sql/ does not open as it must."""


def sql_folder() -> Path:
    return law_folder().parent


def definitions(folder: Path | None = None, schemas: tuple[str, ...] = SCHEMAS[1:]) -> list[Definition]:
    """Every table and view that sql/ defines."""
    folder = folder or sql_folder()
    return [definition(file) for schema in schemas for file in sorted((folder / schema).glob("*.sql"))]


def definition(file: Path) -> Definition:
    """Read one file.

    Errors   Malformed names the file and what its opening comment lacks.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    head = list(takewhile(lambda line: line.startswith("--"), lines))
    said = [i for i, line in enumerate(head) if line.startswith("-- Grain: ")]
    if not said or said[0] == 0:
        raise Malformed(f"{file}: expected to open with '-- what it is', '-- Grain: columns', '-- column  meaning'")
    columns = {}
    for line in head[said[0] + 1 :]:
        if not (found := _COLUMN.fullmatch(line)):
            raise Malformed(f"{file}: {line!r} is not '-- column  meaning, unit'")
        columns[found[1]] = found[2]
    text = " ".join(line[3:] for line in head[: said[0]])
    return Definition(
        file.parent.name, file.stem, text, head[said[0]][10:], columns, "\n".join(lines[len(head) :]).strip()
    )


def build(connection: duckdb.DuckDBPyConnection, folder: Path | None = None) -> None:
    """Make the warehouse what sql/ says, or leave it alone if it is that already."""
    folder = folder or sql_folder()
    digest = _digest(folder)
    is_new = not connection.sql("SELECT 1 FROM duckdb_tables() WHERE schema_name = 'ledger'").fetchall()
    if not is_new:
        seen = connection.sql("SELECT arg_max(sql_hash, built_at) FROM ledger.builds").fetchall()
        if seen == [(digest,)]:
            return
    connection.execute("BEGIN TRANSACTION")
    for schema in SCHEMAS:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    known = definitions(folder)
    newest = _migrate(connection, folder, is_new)
    for schema in ("mart", "stg"):
        for (name,) in connection.sql(
            f"SELECT view_name FROM duckdb_views() WHERE schema_name = '{schema}'"
        ).fetchall():
            connection.execute(f"DROP VIEW {schema}.{name}")
    for table in known:
        if (table.schema in KEPT and not _exists(connection, table)) or table.schema == "core":
            connection.execute(table.statement)
    for file in sorted((folder / "law").glob("*.csv")):
        _build_law(connection, file)
    for view in _in_order([table for table in known if table.kind == "VIEW"]):
        connection.execute(view.statement)
    for table in known:
        _comment(connection, table)
    connection.execute("INSERT INTO ledger.builds VALUES (now()::TIMESTAMP, ?, ?)", [digest, newest])
    connection.execute("COMMIT")


def _build_law(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    table = f"law.{file.stem}"
    connection.execute(f"CREATE OR REPLACE TABLE {table} AS FROM read_csv({_text(str(file))}, header = true)")
    connection.execute(f"COMMENT ON TABLE {table} IS 'The law: sql/law/{file.name}, a citation in every row.'")
    columns = connection.sql(
        f"SELECT column_name FROM duckdb_columns() WHERE schema_name = 'law' AND table_name = '{file.stem}'"
    ).fetchall()
    for (column,) in columns:
        connection.execute(f"COMMENT ON COLUMN {table}.{column} IS {_text(LAW_COLUMNS[column])}")


def _migrate(connection: duckdb.DuckDBPyConnection, folder: Path, is_new: bool) -> int:
    """Bring raw and ledger of an older warehouse forward; a new one starts as the files say."""
    files = sorted((folder / "migrations").glob("[0-9][0-9][0-9][0-9]_*.sql"))
    newest = int(files[-1].name[:4]) if files else 0
    if is_new:
        return newest
    done = connection.sql("SELECT max(migration) FROM ledger.builds").fetchall()[0][0]
    if done > newest:
        raise Malformed(
            f"the warehouse is at migration {done}, this version of Thresher knows {newest}: use a newer one"
        )
    for file in files:
        if int(file.name[:4]) > done:
            connection.execute(file.read_text(encoding="utf-8"))
    return newest


def _in_order(views: list[Definition]) -> list[Definition]:
    """Views that read other views come after them."""
    waiting, ordered = {f"{view.schema}.{view.name}": view for view in views}, []
    while waiting:
        ready = [
            n for n, v in waiting.items() if not any(re.search(rf"\b{o}\b", v.statement) for o in waiting if o != n)
        ]
        if not ready:
            raise Malformed(f"these views read each other in a circle: {', '.join(waiting)}")
        ordered += [waiting.pop(name) for name in ready]
    return ordered


def _comment(connection: duckdb.DuckDBPyConnection, table: Definition) -> None:
    name = f"{table.schema}.{table.name}"
    text = f"{table.text} Grain: {table.grain}."
    connection.execute(f"COMMENT ON {table.kind} {name} IS {_text(text)}")
    for column, meaning in table.columns.items():
        connection.execute(f"COMMENT ON COLUMN {name}.{column} IS {_text(meaning)}")


def _exists(connection: duckdb.DuckDBPyConnection, table: Definition) -> bool:
    return bool(
        connection.sql(
            "SELECT 1 FROM duckdb_tables() WHERE schema_name = $schema AND table_name = $name",
            params={"schema": table.schema, "name": table.name},
        ).fetchall()
    )


def _digest(folder: Path) -> str:
    digest = sha256()
    for file in sorted((*folder.rglob("*.sql"), *folder.rglob("*.csv"))):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
