"""The rules of the house: which way imports run, where the clock may be read, what a docstring must say."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORLD = {  # what reaches outside, or tells the time: nothing for a function of (rows, law, policy, as_of)
    "asyncio", "duckdb", "flows", "ftplib", "glob", "great_expectations", "http", "httpx", "io", "logging", "multiprocessing",
    "os", "pathlib", "prefect", "pyarrow", "random", "requests", "secrets", "shutil", "socket", "sqlalchemy", "sqlite3",
    "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid", "warehouse",
}  # fmt: skip
HEAVY = (
    "altair",
    "duckdb",
    "great_expectations",
    "numba",
    "numpy",
    "pandera",
    "polars",
    "prefect",
    "pydantic",
    "skfolio",
)
LABELS = ("Law", "Window", "Order", "Units", "Shape", "Rows", "Errors", "Omits")


def sources(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def imported(file: Path) -> set[str]:
    """The modules that a file imports, wherever in it, with their full names."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: imports are absolute"
            names |= {f"{node.module}.{name.name}" for name in node.names}
    return names


def packages(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(file)}


def those_that_import(package: str) -> set[str]:
    return {
        str(file.relative_to(ROOT)) for file in sources("flows", "warehouse", "transforms") if package in packages(file)
    }


# Imports ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", sources("transforms"), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_transform_imports_nothing_of_the_world(file):
    assert packages(file) & WORLD == set()


def test_the_warehouse_knows_nothing_of_the_flows():
    assert not any("flows" in packages(file) for file in sources("warehouse"))


def test_only_the_warehouse_imports_duckdb():
    found = those_that_import("duckdb")
    assert "warehouse/db.py" in found and all(name.startswith("warehouse/") for name in found)


def test_only_the_files_that_define_deployments_import_prefect():
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert those_that_import("prefect") == {one["entrypoint"].split(":")[0] for one in deployments}


def test_nothing_that_ships_imports_the_tests_or_their_tools():
    tools = {"tests", "pytest", "hypothesis", "taxcalc", "yaml", "conftest"}
    assert not any(packages(file) & tools for file in sources("flows", "warehouse", "transforms"))


# The clock and the environment ------------------------------------------------------------------------


def read_outside(file: Path) -> Iterator[str]:
    """Calls that read the clock, a file or the environment."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if re.fullmatch(
                r"(.*\.)?(today|now|utcnow|localtime|monotonic|perf_counter|getenv)|open|input|print", called
            ):
                yield f"{file.relative_to(ROOT)}:{node.lineno}: {called}()"


def test_a_transform_reads_neither_clock_nor_file():
    assert [call for file in sources("transforms") for call in read_outside(file)] == []


def test_that_rule_does_find_a_clock():
    assert any("now()" in call for call in read_outside(ROOT / "flows" / "daily.py"))


def test_a_run_of_a_day_takes_the_day_as_a_parameter():
    """A station is told the day; the day's own clock is read once, where a run begins, and where a moment is noted."""
    stations = [ROOT / "flows" / f"{name}.py" for name in ("ingest", "book", "measure", "propose", "taxes", "report")]
    assert [call for file in stations for call in read_outside(file) if "now" in call or "today" in call] == []


# What the command line loads --------------------------------------------------------------------------


def loaded_by(*arguments: str) -> set[str]:
    """Which heavy packages are loaded when the command has ended."""
    program = (
        "import sys\nfrom flows.cli import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        f"print('loaded', *(name for name in {HEAVY!r} if name in sys.modules))\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, *names = done.stdout.splitlines()[-1].split()
    assert first == "loaded"
    return set(names)


def test_help_loads_nothing_heavy():
    assert loaded_by("--help") == set()


def test_lots_loads_nothing_heavy_and_still_books(tmp_path):
    trades = tmp_path / "trades.csv"
    trades.write_text(
        "trade_id,account_id,account_type,owner,security_id,side,quantity,price_usd,fee_usd,traded_at\n"
        "B-1,joint,taxable,joint,HD,buy,10,300,0,2022-01-04\n"
        "S-1,joint,taxable,joint,HD,sell,10,280,0,2022-06-14\n"
    )
    assert loaded_by("lots", str(trades), "--out", str(tmp_path / "out")) == set()
    assert "S-1" in (tmp_path / "out" / "disposals.csv").read_text()


def test_that_rule_does_find_what_a_query_loads():
    assert "duckdb" in loaded_by("ask")


# Docstrings -------------------------------------------------------------------------------------------


def documented(*folders: str) -> list[tuple[str, str]]:
    """Public functions and classes with their docstrings."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [
        (f"{file.relative_to(ROOT)}:{node.lineno} {node.name}", ast.get_docstring(node) or "")
        for file in sources(*folders)
        for node in ast.parse(file.read_text()).body
        if isinstance(node, kinds) and not node.name.startswith("_")
    ]


def labels(docstring: str) -> list[str]:
    return re.findall(r"^([A-Z][a-z]+)  +\S", docstring, re.MULTILINE)


def test_what_follows_the_law_in_tax_and_lots_says_what_it_omits():
    lawful = [
        (name, labels(text)) for name, text in documented("transforms/tax", "transforms/lots") if "Law" in labels(text)
    ]
    assert len(lawful) >= 5
    assert [name for name, found in lawful if "Omits" not in found] == []


def test_docstrings_use_the_labels_of_the_house_and_no_others():
    strange = [
        (name, label)
        for name, text in documented("transforms", "flows", "warehouse")
        for label in labels(text)
        if label not in LABELS
    ]
    assert strange == []


def test_every_label_says_something_once():
    twice = [
        name
        for name, text in documented("transforms", "flows", "warehouse")
        if len(set(labels(text))) < len(labels(text))
    ]
    assert twice == []
