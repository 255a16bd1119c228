"""The warehouse: the one place that knows DuckDB.

One process writes at a time, under a lock of the operating system; everybody else reads the published snapshot,
which is a whole and consistent copy. DuckDB itself would let no second process in while a flow writes.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any

import duckdb
import polars as pl

from warehouse.build import build

READABLE_BY = "v1.5.0"  # the file format that today's command-line client reads too
CONFIG: dict[str, str | bool | int | float | list[str]] = {"storage_compatibility_version": READABLE_BY}
BACKUPS = 5
PUBLISHED = {"published_at": "when it was made, UTC", "as_of": "the day it is of", "run_id": "the run that made it"}
QueryError = duckdb.Error


class Locked(Exception):
    """Another run is writing."""


class Warehouse:
    """An open warehouse. Frames go in and out; no DuckDB object leaves."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path):
        self._connection, self._path = connection, path
        self._is_in_transaction = False

    def rows(self, query: str, **values: Any) -> pl.DataFrame:
        """The rows of a query; `$name` in it stands for a keyword."""
        return self._connection.sql(query, params=values or None).pl()

    def value(self, query: str, **values: Any) -> Any:
        """The first value of the first row, None without one."""
        found = self._connection.sql(query, params=values or None).fetchall()
        return found[0][0] if found else None

    def run(self, statement: str, **values: Any) -> None:
        self._connection.execute(statement, values or None)

    def add(self, table: str, *rows: tuple) -> None:
        """Add rows given in the order of the table's columns."""
        for row in rows:
            self._connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def append(self, table: str, frame: pl.DataFrame) -> None:
        """Add rows to a table, by column name."""
        if frame.height:
            self._connection.register("_frame", frame)
            self._connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM _frame")
            self._connection.unregister("_frame")

    def append_new(self, table: str, frame: pl.DataFrame, key: tuple[str, ...], where: str = "true") -> int:
        """Add the rows whose key the table (those of its rows that match `where`) does not have; how many."""
        self._connection.register("_frame", frame)
        same = " AND ".join(f"t.{name} IS NOT DISTINCT FROM f.{name}" for name in key)
        query = f"SELECT f.* FROM _frame AS f WHERE NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {where} AND {same})"
        before = self.value(f"SELECT count(*) FROM {table}")
        self._connection.execute(f"INSERT INTO {table} BY NAME {query}")
        self._connection.unregister("_frame")
        return self.value(f"SELECT count(*) FROM {table}") - before

    def replace(self, table: str, frame: pl.DataFrame) -> None:
        """Let a table of core hold these rows and no others."""
        with self.transaction():
            self._connection.execute(f"DELETE FROM {table}")
            self.append(table, frame)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; inside another one it is a part of that."""
        if self._is_in_transaction:
            yield
            return
        self._connection.execute("BEGIN TRANSACTION")
        self._is_in_transaction = True
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        else:
            self._connection.execute("COMMIT")
        finally:
            self._is_in_transaction = False

    def publish(self, snapshot: Path, as_of: date, run_id: str, published_at: datetime) -> None:
        """Publish a consistent copy: readers of the old file keep it, new readers get this one.

        After a checkpoint the file is whole, and nobody but this process can write to it: copying it is much faster
        than copying every table. Not inside a transaction.
        """
        snapshot.parent.mkdir(parents=True, exist_ok=True)
        fresh = snapshot.with_name(snapshot.name + ".new")
        for left in (fresh, fresh.with_name(fresh.name + ".wal")):  # by a run that was killed here
            left.unlink(missing_ok=True)
        self._connection.execute("CHECKPOINT")
        shutil.copyfile(self._path, fresh)
        self._connection.execute(f"ATTACH '{_quoted(fresh)}' AS fresh")
        self._connection.execute(
            "CREATE TABLE fresh.mart.published AS SELECT $at::TIMESTAMP AS published_at, $as_of::DATE AS as_of, "
            "$run::VARCHAR AS run_id",
            {"at": published_at, "as_of": as_of, "run": run_id},
        )
        self._connection.execute("COMMENT ON TABLE fresh.mart.published IS 'When and of which day this copy was made.'")
        for column, meaning in PUBLISHED.items():
            self._connection.execute(f"COMMENT ON COLUMN fresh.mart.published.{column} IS '{meaning}'")
        self._connection.execute("DETACH fresh")
        os.replace(fresh, snapshot)
        _keep_dated(snapshot, as_of)


@contextmanager
def writer(path: Path, wait: float = 0) -> Iterator[Warehouse]:
    """Open the warehouse for writing, made or brought up to date first.

    Errors   Locked when another process is still writing after `wait` seconds.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        _lock(lock, path, wait)
        _make(path)
        with duckdb.connect(str(path), config=CONFIG) as connection:
            if connection.sql("SELECT current_database()").fetchall() != [("warehouse",)]:
                raise ValueError(f"a warehouse's file is called warehouse.duckdb, not {path.name}")
            connection.execute("SET TimeZone = 'America/New_York'")
            build(connection)
            yield Warehouse(connection, path)


def _make(path: Path) -> None:
    """Make an empty warehouse where there is none, elsewhere and moved to its place whole.

    A disk that is full, or a process that is killed, would else leave a file that no later run can open.
    """
    if path.exists() and path.stat().st_size:
        return
    folder = path.parent / "making"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    with duckdb.connect(str(folder / path.name), config=CONFIG):
        pass
    os.replace(folder / path.name, path)
    folder.rmdir()


def _lock(lock: IO[str], path: Path, wait: float) -> None:
    """Take the operating system's lock; it goes with the process, however that ends."""
    until = monotonic() + wait
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= until:
                raise Locked(f"another run is writing {path}; wait until it ends, then try again") from None
            sleep(0.2)


@contextmanager
def reader(snapshot: Path) -> Iterator[Warehouse]:
    """Open the published snapshot, read-only."""
    with duckdb.connect(str(snapshot), read_only=True) as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        yield Warehouse(connection, snapshot)


def _keep_dated(snapshot: Path, as_of: date) -> None:
    """Keep the day's copy as a first backup; of older ones the newest few."""
    folder = snapshot.parent / "backups"
    folder.mkdir(mode=0o700, exist_ok=True)
    dated = folder / f"{as_of}.duckdb"
    dated.unlink(missing_ok=True)
    os.link(snapshot, dated)
    for old in sorted(folder.glob("*.duckdb"))[:-BACKUPS]:
        old.unlink()


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
