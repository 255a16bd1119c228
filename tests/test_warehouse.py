"""The warehouse: sql/ is what DuckDB holds, one process writes, everybody else reads a whole copy."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from transforms.tables import CORE, BrokenContract, checked, core
from warehouse.build import KEPT, Malformed, build, definitions, sql_folder
from warehouse.checks import failures
from warehouse.db import BACKUPS, Locked, QueryError, Warehouse, reader, writer

ROOT = Path(__file__).parents[1]
DUCKDB = Path(sys.executable).with_name("duckdb")
NOW = datetime(2026, 3, 6, 23)
FILL = date(2022, 10, 17)  # the session that the finished day's fills are booked to


@pytest.fixture(scope="module")
def built() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty warehouse, made from sql/."""
    with duckdb.connect(":memory:") as connection:
        build(connection)
        yield connection


# sql/ is the warehouse --------------------------------------------------------------------------------


def test_every_file_is_the_table_of_its_name_and_there_is_no_other(built):
    files = {(table.schema, table.name, table.kind) for table in definitions()}
    tables = built.sql(
        "SELECT schema_name, table_name, 'TABLE' FROM duckdb_tables() WHERE schema_name <> 'law'"
    ).fetchall()
    views = built.sql("SELECT schema_name, view_name, 'VIEW' FROM duckdb_views() WHERE NOT internal").fetchall()
    assert {*tables, *views} == files
    law = built.sql("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'law'").fetchall()
    assert {name for (name,) in law} == {file.stem for file in (sql_folder() / "law").glob("*.csv")}


@pytest.mark.parametrize("table", definitions(), ids=lambda table: f"{table.schema}.{table.name}")
def test_a_table_explains_itself_and_its_columns_as_its_file_does(built, table):
    where = {"schema": table.schema, "name": table.name}
    kind = table.kind.lower()
    [(said,)] = built.execute(
        f"SELECT comment FROM duckdb_{kind}s() WHERE schema_name = $schema AND {kind}_name = $name", where
    ).fetchall()
    assert said == f"{table.text} Grain: {table.grain}." and len(table.text) > 15
    columns = built.execute(
        "SELECT column_name, comment FROM duckdb_columns() WHERE schema_name = $schema AND table_name = $name "
        "ORDER BY column_index",
        where,
    ).fetchall()
    assert columns == list(table.columns.items())
    grain = table.grain.split(", ")
    assert table.grain == "one row" or set(grain) <= set(table.columns)


def test_everything_in_the_published_copy_carries_a_comment(finished):
    silent = finished.ask(
        "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE comment IS NULL UNION ALL "
        "SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE NOT internal AND comment IS NULL UNION ALL "
        "SELECT schema_name || '.' || table_name || '.' || column_name FROM duckdb_columns() "
        "WHERE NOT internal AND comment IS NULL"
    )
    assert silent == []


NAMES = {
    pl.String: "VARCHAR", pl.Date: "DATE", pl.Boolean: "BOOLEAN", pl.Int64: "BIGINT", pl.Float64: "DOUBLE",
    pl.Decimal(28, 9): "DECIMAL(28,9)", pl.Decimal(28, 6): "DECIMAL(28,6)", pl.Datetime("us"): "TIMESTAMP",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CORE))
def test_a_contract_and_its_table_are_the_same(built, name):
    columns = built.execute(
        "SELECT column_name, data_type, is_nullable FROM duckdb_columns() "
        "WHERE schema_name = 'core' AND table_name = $name ORDER BY column_index",
        {"name": name},
    ).fetchall()
    contract = [(column, NAMES[made.dtype.type], made.nullable) for column, made in CORE[name].columns.items()]
    assert columns == contract


def test_every_table_of_core_has_a_contract():
    assert {table.name for table in definitions(schemas=("core",))} == set(CORE)


def test_what_a_transform_makes_is_checked_whole():
    fine = core("waiting", [("b", 1, "cash", "none")])
    assert checked(fine, CORE["waiting"]).equals(fine) and core("waiting", []).is_empty()
    with pytest.raises(BrokenContract, match=r"waiting: \[\('line', 'greater_than\(0\)'"):
        core("waiting", [("b", 0, "cash", "none")])
    for rows in (fine, fine.clear()):
        with pytest.raises(BrokenContract, match=r"waiting.*line"):
            checked(rows.cast({"line": pl.String}), CORE["waiting"])


def test_a_file_without_its_head_is_refused_by_name(tmp_path):
    folder = copy_of_sql(tmp_path)
    file = folder / "core" / "lots.sql"
    file.write_text(file.read_text().replace("-- Grain: account_id, security_id, lot_id, slice\n", ""))
    with duckdb.connect(":memory:") as connection, pytest.raises(Malformed, match=r"core/lots.sql: expected to open"):
        build(connection, folder)


# Building again, and moving on ------------------------------------------------------------------------


def copy_of_sql(tmp_path: Path, name: str = "sql") -> Path:
    shutil.copytree(sql_folder(), tmp_path / name)
    return tmp_path / name


DELIVERY = f"INSERT INTO raw.deliveries VALUES ('d', 'ira', 'activities', NULL, 1, NULL, 'id', 'h', '{NOW}')"
UNBOOKED = "INSERT INTO core.unbooked VALUES ('t', 'a reason')"


def test_building_twice_does_nothing(tmp_path):
    folder = copy_of_sql(tmp_path)
    with duckdb.connect(":memory:") as connection:
        build(connection, folder)
        connection.execute(UNBOOKED)
        before = connection.sql("SELECT * FROM ledger.builds").fetchall()
        build(connection, folder)
        assert connection.sql("SELECT * FROM ledger.builds").fetchall() == before and len(before) == 1
        assert connection.sql("SELECT * FROM core.unbooked").fetchall() == [("t", "a reason")]


def test_a_changed_definition_remakes_core_and_views_and_keeps_what_is_kept(tmp_path):
    folder = copy_of_sql(tmp_path)
    with duckdb.connect(":memory:") as connection:
        build(connection, folder)
        connection.execute(UNBOOKED)
        connection.execute(DELIVERY)
        view = folder / "mart" / "today.sql"
        view.write_text(view.read_text().replace("-- run_id  the run", "-- run_id  the newest run"))
        build(connection, folder)
        assert connection.sql("SELECT * FROM core.unbooked").fetchall() == []
        assert connection.sql("SELECT delivery_id FROM raw.deliveries").fetchall() == [("d",)]
        said = "SELECT comment FROM duckdb_columns() WHERE table_name = 'today' AND column_name = 'run_id'"
        assert connection.sql(said).fetchall() == [("the newest run",)]
        assert connection.sql("SELECT count(*) FROM ledger.builds").fetchall() == [(2,)]


def with_a_note(folder: Path) -> Path:
    """The same definitions one migration later: deliveries carry a note."""
    file = folder / "raw" / "deliveries.sql"
    text = file.read_text().replace(
        "-- received_at   UTC\n", "-- received_at   UTC\n-- note          what a person says of it\n"
    )
    file.write_text(
        text.replace("received_at TIMESTAMP NOT NULL\n", "received_at TIMESTAMP NOT NULL,\n    note VARCHAR\n")
    )
    (folder / "migrations").mkdir(exist_ok=True)
    (folder / "migrations" / "0999_deliveries_carry_a_note.sql").write_text(
        "ALTER TABLE raw.deliveries ADD COLUMN note VARCHAR;\nUPDATE raw.deliveries SET note = 'before notes';"
    )
    return folder


def test_a_migration_brings_an_older_warehouse_forward_and_keeps_its_rows(tmp_path):
    older, newer = copy_of_sql(tmp_path, "older"), with_a_note(copy_of_sql(tmp_path, "newer"))
    with duckdb.connect(":memory:") as connection:
        build(connection, older)
        connection.execute(DELIVERY)
        build(connection, newer)
        assert connection.sql("SELECT delivery_id, note FROM raw.deliveries").fetchall() == [("d", "before notes")]
        (newer / "ask" / "one_more.sql").write_text("-- One more question?\nSELECT 1;")
        build(connection, newer)  # the definitions changed again: the migration is not applied a second time
        migrations = connection.sql("SELECT migration FROM ledger.builds ORDER BY built_at").fetchall()
        assert len(migrations) == 3 and migrations[-2:] == [(999,), (999,)]
        forward = shape(connection)
    with duckdb.connect(":memory:") as connection:
        build(connection, newer)
        assert shape(connection) == forward, "a new warehouse is made as the migrated one became"
        assert connection.sql("SELECT migration FROM ledger.builds").fetchall() == [(999,)]


BEFORE = """
CREATE SCHEMA ledger;
CREATE TABLE ledger.builds (built_at TIMESTAMP, sql_hash VARCHAR, migration INTEGER);
INSERT INTO ledger.builds VALUES (now()::TIMESTAMP - INTERVAL 1 DAY, 'before', 0);
CREATE TABLE ledger.transactions (
    transaction_id VARCHAR NOT NULL, version INTEGER NOT NULL, account_id VARCHAR NOT NULL, kind VARCHAR NOT NULL,
    side VARCHAR NOT NULL, security_id VARCHAR NOT NULL, quantity DECIMAL(28, 9) NOT NULL, price_usd DECIMAL(28, 9) NOT NULL,
    fee_usd DECIMAL(28, 6) NOT NULL, amount_usd DECIMAL(28, 6) NOT NULL, traded_on DATE NOT NULL, traded_at TIME,
    lots VARCHAR NOT NULL, delivery_id VARCHAR NOT NULL, known_at TIMESTAMP NOT NULL, payload_hash VARCHAR NOT NULL,
    PRIMARY KEY (transaction_id, version)
);
INSERT INTO ledger.transactions VALUES
    ('B-1', 1, 'joint', 'trade', 'buy', 'HD', 10, 280, 0, -2800, '2022-01-04', NULL, '', 'd', now()::TIMESTAMP, 'h');
CREATE TABLE ledger.batch_lines (
    batch_id VARCHAR NOT NULL, line INTEGER NOT NULL, pair INTEGER NOT NULL, side VARCHAR NOT NULL, security_id VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL, price_usd DECIMAL(28, 9) NOT NULL, lots VARCHAR NOT NULL, loss_usd DECIMAL(28, 6) NOT NULL,
    tax_saved_usd DECIMAL(28, 6) NOT NULL, reason VARCHAR NOT NULL, PRIMARY KEY (batch_id, line)
);
INSERT INTO ledger.batch_lines VALUES ('b', 1, 1, 'sell', 'HD', 10, 270, 'B-1:10', 100, 29, 'why');
CREATE TABLE ledger.lot_identifications (
    client_order_id VARCHAR PRIMARY KEY, lots VARCHAR NOT NULL, identified_at TIMESTAMP NOT NULL, confirmed_by VARCHAR NOT NULL
);
INSERT INTO ledger.lot_identifications VALUES ('b.1.1', 'B-1:10', now()::TIMESTAMP, 'the order itself');
CREATE TABLE ledger.batches (
    batch_id VARCHAR PRIMARY KEY, account_id VARCHAR NOT NULL, session_on DATE NOT NULL, as_of DATE NOT NULL, kind VARCHAR NOT NULL,
    sequence INTEGER NOT NULL, batch_hash VARCHAR NOT NULL, mode VARCHAR NOT NULL, run_id VARCHAR NOT NULL,
    decided_at TIMESTAMP NOT NULL, UNIQUE (account_id, session_on, kind, sequence)
);
INSERT INTO ledger.batches VALUES ('b', 'joint', '2022-02-02', '2022-02-01', 'daily', 1, 'h', 'auto', 'r', now()::TIMESTAMP);
CREATE TABLE ledger.intents (
    client_order_id VARCHAR PRIMARY KEY, batch_id VARCHAR NOT NULL, line INTEGER NOT NULL, attempt INTEGER NOT NULL,
    stored_at TIMESTAMP NOT NULL
);
INSERT INTO ledger.intents VALUES ('b.1.1', 'b', 1, 1, now()::TIMESTAMP);
CREATE TABLE ledger.order_events (
    client_order_id VARCHAR NOT NULL, event VARCHAR NOT NULL, transaction_id VARCHAR NOT NULL, note VARCHAR NOT NULL,
    known_at TIMESTAMP NOT NULL, PRIMARY KEY (client_order_id, event, transaction_id)
);
INSERT INTO ledger.order_events VALUES
    ('b.1.1', 'accepted', '', '', now()::TIMESTAMP), ('b.1.1', 'filled', 'S-1', '10 at 270', now()::TIMESTAMP);
"""


def test_a_ledger_of_the_first_version_is_brought_forward_with_its_rows_and_becomes_what_a_new_one_is():
    with duckdb.connect(":memory:") as connection:
        connection.execute(BEFORE)
        build(connection)
        assert connection.sql("SELECT transaction_id, quantity, details FROM ledger.transactions").fetchall() == [
            ("B-1", 10, "{}")
        ]
        lines = connection.sql("SELECT lots, intended_lots, relieved_lots FROM ledger.batch_lines").fetchall()
        assert lines == [("B-1:10", "B-1:10", "B-1:10")]
        told = connection.sql("SELECT lots, how, deadline_at FROM ledger.lot_identifications").fetchall()
        assert told == [("B-1:10", "order", None)]
        events = connection.sql(
            "SELECT event, transaction_id, quantity FROM ledger.order_events ORDER BY event"
        ).fetchall()
        assert events == [("accepted", "", 0), ("fill", "S-1", 10), ("filled", "", 10)]
        assert connection.sql("SELECT quantity, limit_usd, lots FROM ledger.intents").fetchall() == [(10, None, "")]
        assert connection.sql("SELECT expires_at::VARCHAR, replaces FROM ledger.batches").fetchall() == [
            ("2022-02-02 21:00:00", "")
        ]
        assert connection.sql("SELECT method, status, filled FROM mart.orders").fetchall() == [
            ("harvest", "filled", 10)
        ]
        forward = kept_columns(connection)
    with duckdb.connect(":memory:") as connection:
        build(connection)
        assert kept_columns(connection) == forward


def kept_columns(connection: duckdb.DuckDBPyConnection) -> list[tuple]:
    """Columns in their order, and the keys, of what is kept for ever; of this ledger's builds nothing is asked."""
    return connection.sql(
        "SELECT table_name, column_index, column_name, data_type, is_nullable, comment FROM duckdb_columns() "
        "WHERE schema_name IN ('raw', 'ledger') AND table_name <> 'builds' UNION ALL "
        "SELECT table_name, 0, constraint_type, constraint_text, NULL, NULL FROM duckdb_constraints() "
        "WHERE schema_name IN ('raw', 'ledger') AND table_name <> 'builds' ORDER BY ALL"
    ).fetchall()


def shape(connection: duckdb.DuckDBPyConnection) -> list[tuple]:
    return connection.sql(
        "SELECT schema_name, table_name, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"
    ).fetchall()


def test_a_warehouse_that_is_newer_than_the_program_is_refused_and_left_alone(tmp_path):
    older, newer = copy_of_sql(tmp_path, "older"), with_a_note(copy_of_sql(tmp_path, "newer"))
    file = str(tmp_path / "warehouse.duckdb")
    with duckdb.connect(file) as connection:
        build(connection, newer)
        connection.execute(UNBOOKED)
        before = shape(connection)
    with duckdb.connect(file) as connection, pytest.raises(Malformed, match=r"is at migration 999, .* use a newer one"):
        build(connection, older)
    with duckdb.connect(file) as connection:
        assert shape(connection) == before
        assert connection.sql("SELECT count(*) FROM core.unbooked").fetchall() == [(1,)]


def test_a_migration_that_fails_leaves_the_older_warehouse_as_it_was(tmp_path):
    older, newer = copy_of_sql(tmp_path, "older"), with_a_note(copy_of_sql(tmp_path, "newer"))
    with (newer / "migrations" / "0999_deliveries_carry_a_note.sql").open("a") as migration:
        migration.write("\nSELECT * FROM raw.no_such_table;")
    file = str(tmp_path / "warehouse.duckdb")
    with duckdb.connect(file) as connection:
        build(connection, older)
        before = shape(connection)
    with duckdb.connect(file) as connection, pytest.raises(QueryError):
        build(connection, newer)
    with duckdb.connect(file) as connection:
        assert shape(connection) == before
        build(connection, older)


def test_only_raw_and_ledger_are_kept():
    assert KEPT == ("raw", "ledger")
    kept = [table for table in definitions() if table.schema in KEPT]
    assert all("CREATE TABLE" in table.statement for table in kept), "never CREATE OR REPLACE"


# One writer, many readers -----------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from warehouse.db import writer
with writer(Path(sys.argv[1])) as warehouse:
    with warehouse.transaction():
        warehouse.run("INSERT INTO core.unbooked VALUES ('held', 'not committed yet')")
        print("writing", flush=True)
        sys.stdin.read()
"""


@contextmanager
def another_process_writes(warehouse: Path) -> Iterator[subprocess.Popen]:
    """A process that holds an open write transaction until its input is closed."""
    command = [sys.executable, "-c", HOLD, str(warehouse)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait(20)


def command_line(database: Path, query: str) -> subprocess.CompletedProcess:
    """Ask DuckDB's own command-line client of today."""
    command = [DUCKDB, "-readonly", "-csv", "-noheader", database, query]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_while_a_run_writes_the_snapshot_is_read_and_no_second_run_writes(day_after):
    warehouse, snapshot = day_after.folder / "warehouse.duckdb", day_after.folder / "snapshot.duckdb"
    with another_process_writes(warehouse) as process:
        read = command_line(snapshot, "SELECT count(*), max(as_of) FROM core.lots, mart.published")
        assert read.returncode == 0, read.stderr
        lots, as_of = read.stdout.strip().split(",")
        assert int(lots) > 100 and as_of == "2022-10-14"
        assert command_line(warehouse, "SELECT 1").returncode != 0, "the warehouse itself lets nobody in"
        with pytest.raises(Locked, match="another run is writing"), writer(warehouse):
            pass
        with pytest.raises(Locked), writer(warehouse, wait=0.5):
            pass
        process.kill()
    with writer(warehouse, wait=20) as open_again:
        assert open_again.value("SELECT count(*) FROM core.unbooked") == 0, "what was not committed is gone"


def test_a_run_waits_for_the_one_before_it(tmp_path):
    with another_process_writes(tmp_path / "warehouse.duckdb") as process:
        process.stdin.close()
        with writer(tmp_path / "warehouse.duckdb", wait=30) as warehouse:
            assert warehouse.value("SELECT count(*) FROM ledger.builds") == 1


@pytest.mark.parametrize("schema", ["stg", "mart"])
def test_the_command_line_client_reads_every_view_of_the_snapshot(finished, schema):
    views = [f"{table.schema}.{table.name}" for table in definitions(schemas=(schema,))]
    read = command_line(
        finished.folder / "snapshot.duckdb", "; ".join(f"SELECT count(*) FROM {view}" for view in views)
    )
    assert (read.stderr, len(read.stdout.split())) == ("", len(views))


def test_what_a_run_left_that_ended_while_it_made_the_warehouse_is_no_warehouse_and_stops_nobody(tmp_path):
    (tmp_path / "making").mkdir()
    (tmp_path / "making" / "warehouse.duckdb").write_bytes(b"half of")
    (tmp_path / "warehouse.duckdb").touch()
    with writer(tmp_path / "warehouse.duckdb") as warehouse:
        assert warehouse.value("SELECT count(*) FROM ledger.batches") == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["warehouse.duckdb", "warehouse.lock"]


def test_an_open_reader_keeps_its_copy_while_a_new_one_is_published(tmp_path):
    snapshot, count = tmp_path / "snapshot.duckdb", "SELECT count(*) FROM core.unbooked"
    with writer(tmp_path / "warehouse.duckdb") as warehouse:
        warehouse.publish(snapshot, date(2022, 10, 13), "one", NOW)
        with reader(snapshot) as before:
            assert before.value(count) == 0
            warehouse.run(UNBOOKED)
            warehouse.publish(snapshot, date(2022, 10, 14), "two", NOW)
            assert before.value(count) == 0
            assert before.value("SELECT run_id FROM mart.published") == "one"
            assert command_line(snapshot, count).stdout == "1\n"
    with reader(snapshot) as after:
        assert after.rows("SELECT run_id, as_of, published_at FROM mart.published").rows() == [
            ("two", date(2022, 10, 14), NOW)
        ]


def test_a_reader_changes_nothing(finished):
    with reader(finished.folder / "snapshot.duckdb") as warehouse, pytest.raises(QueryError, match="read-only"):
        warehouse.run("DELETE FROM core.lots")


def test_the_newest_five_dated_copies_stay(tmp_path):
    days = [date(2022, 10, day) for day in (3, 4, 5, 6, 7, 10, 11)]
    with writer(tmp_path / "warehouse.duckdb") as warehouse:
        for day in days:
            warehouse.publish(tmp_path / "snapshot.duckdb", day, str(day), NOW)
    kept = sorted((tmp_path / "backups").iterdir())
    assert [file.name for file in kept] == [f"{day}.duckdb" for day in days[-5:]] and BACKUPS == 5
    with reader(kept[0]) as oldest:
        assert oldest.value("SELECT as_of FROM mart.published") == days[-5]


def test_a_folder_with_a_quote_in_its_name_is_no_trouble(tmp_path):
    home = tmp_path / "it's here"
    with writer(home / "warehouse.duckdb") as warehouse:
        warehouse.publish(home / "snapshot.duckdb", date(2022, 10, 14), "one", NOW)
    with reader(home / "snapshot.duckdb") as snapshot:
        assert snapshot.value("SELECT run_id FROM mart.published") == "one"


# All or nothing ---------------------------------------------------------------------------------------


class Undone(Exception):
    """Takes back what was done in a transaction."""


def left(warehouse: Warehouse) -> list[str]:
    return warehouse.rows("SELECT transaction_id FROM core.unbooked ORDER BY 1")["transaction_id"].to_list()


def add_and_undo(warehouse: Warehouse, *names: str, nested: bool = False) -> None:
    with warehouse.transaction():
        for name in names:
            if nested:
                with warehouse.transaction():
                    warehouse.add("core.unbooked", (name, ""))
            else:
                warehouse.add("core.unbooked", (name, ""))
        raise Undone


def test_a_transaction_is_all_or_nothing_also_inside_another(tmp_path):
    with writer(tmp_path / "warehouse.duckdb") as warehouse:
        with pytest.raises(Undone):
            add_and_undo(warehouse, "a", "b")
        assert left(warehouse) == []
        with warehouse.transaction():
            warehouse.add("core.unbooked", ("c", ""))
            with warehouse.transaction():
                warehouse.add("core.unbooked", ("d", ""))
        assert left(warehouse) == ["c", "d"]
        with pytest.raises(Undone):
            add_and_undo(warehouse, "e", "f", nested=True)
        assert left(warehouse) == ["c", "d"], "the inner one is a part of the outer one"
        with warehouse.transaction():
            warehouse.add("core.unbooked", ("g", ""))
        assert left(warehouse) == ["c", "d", "g"]


def test_replacing_a_table_with_rows_that_it_cannot_hold_leaves_the_old_ones(tmp_path):
    rows = pl.DataFrame({"transaction_id": ["a", None], "reason": ["", ""]})
    with writer(tmp_path / "warehouse.duckdb") as warehouse:
        warehouse.add("core.unbooked", ("old", ""))
        with pytest.raises(QueryError):
            warehouse.replace("core.unbooked", rows)
        assert left(warehouse) == ["old"]
        warehouse.replace("core.unbooked", rows.head(1))
        assert left(warehouse) == ["a"]


# Checks and questions ---------------------------------------------------------------------------------

A_LOT = "SELECT min(lot_id) FROM core.lots WHERE NOT is_deferred"
FAULTS = {
    "a_share_replaces_once": "UPDATE core.wash_sales SET replacement_quantity = replacement_quantity + 1000",
    "basis_is_conserved": f"UPDATE core.lots SET basis_usd = basis_usd + 0.01 WHERE lot_id = ({A_LOT})",
    "broker_view_foots": "UPDATE core.reported_sales SET adjustment_usd = adjustment_usd + 0.01, gain_usd = gain_usd + 0.01",
    "disallowed_never_above_loss": "UPDATE core.disposals SET adjustment_usd = 0.01, gain_usd = gain_usd + 0.01 WHERE gain_usd > 0",
    "gains_are_their_arithmetic": "UPDATE core.disposals SET gain_usd = gain_usd + 0.01 WHERE term = 'long'",
    "no_order_without_intent": "DELETE FROM ledger.intents WHERE line = 1",
    "one_order_a_line": "INSERT INTO ledger.order_events SELECT client_order_id, event, 'again', quantity, note, known_at "
    "FROM ledger.order_events WHERE event = 'fill' LIMIT 1",
    "sales_foot": "UPDATE core.disposals SET proceeds_usd = proceeds_usd + 0.01, gain_usd = gain_usd + 0.01",
    "shares_are_conserved": f"DELETE FROM core.lots WHERE lot_id = ({A_LOT})",
}


@pytest.fixture(scope="module")
def books(finished, tmp_path_factory) -> Iterator[Warehouse]:
    """A copy of the finished day, open for writing."""
    copy = finished.copy(tmp_path_factory.mktemp("checked") / "home")
    with writer(copy.folder / "warehouse.duckdb") as warehouse:
        yield warehouse


def test_the_books_of_the_finished_day_balance(books):
    assert failures(books, FILL) == {}


def test_every_check_has_a_fault_to_find():
    assert set(FAULTS) == {file.stem for file in (sql_folder() / "check").glob("*.sql")}


def found_with(books: Warehouse, fault: str) -> dict[str, list[tuple]]:
    """What the checks find when a fault is planted; it is taken back again."""
    found: dict[str, list[tuple]] = {}
    with suppress(Undone), books.transaction():
        books.run(fault)
        found = failures(books, FILL)
        raise Undone
    return found


@pytest.mark.parametrize("check", sorted(FAULTS))
def test_a_check_finds_the_fault_that_it_is_for(books, check):
    assert check in found_with(books, FAULTS[check])
    assert failures(books, FILL) == {}


@pytest.mark.parametrize("file", sorted((sql_folder() / "ask").glob("*.sql")), ids=lambda file: file.stem)
def test_a_ready_question_has_a_line_of_prose_and_an_answer(finished, file):
    text = file.read_text()
    assert text.startswith("-- ") and text.splitlines()[0].endswith("?")
    rows = finished.ask(text)
    nothing_to_say = {
        "what_was_refused",  # no gate held anything back on the default day
        "what_must_the_broker_be_told_tonight",  # its brokers know their lots by the order
        "where_did_the_broker_sell_other_lots",
        "what_looks_wrong",  # on the default day nothing does
        "where_does_a_broker_differ",
        "why_was_it_not_rebalanced",  # no sleeve of the demo asks for it
        "what_should_stand_in_another_account",  # nor has it a table [location]
        "what_does_each_class_cost_where",
    }
    assert bool(rows) == (file.stem not in nothing_to_say)
