"""A real Prefect server on loopback: deployments, schedules, a whole day, and what a person finds in the UI."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml
from alpaca_house import DAY, alpaca_house

from warehouse.db import reader

PROJECT = Path(__file__).parent.parent
STATIONS = ["ingest", "note_states", "book", "measure", "propose", "decide", "execute", "taxes", "report"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a server that is up, in a home of its own."""
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "THRESHER_HOME": str(home),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PROJECT_ROOT": str(PROJECT),
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    log = (home / "server.log").open("w")
    server = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: ask(environment, "health") is True, 120)
        yield environment
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def ask(environment: dict[str, str], path: str, body: dict[str, Any] | None = None) -> Any:
    """The server's answer, None while it is not there."""
    request = Request(
        f"{environment['PREFECT_API_URL']}/{path}", json.dumps(body).encode() if body is not None else None
    )
    request.add_header("Content-Type", "application/json")
    try:
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except OSError:
        return None


def wait_for(is_there: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not is_there():
        assert time.monotonic() < until, f"waited {seconds} s in vain"
        time.sleep(0.5)


def prefect(environment: dict[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_deployment_is_on_a_weekday_schedule_in_new_york() -> None:
    deployments = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    assert [one["name"] for one in deployments] == sorted(one["name"] for one in deployments)
    for one in deployments:
        for schedule in one.get("schedules", []):  # approve is started by the decision that it asks about
            assert schedule["cron"].endswith("* * 1-5")
            assert schedule["timezone"] == "America/New_York"


def test_the_scheduler_creates_a_run_for_every_deployment(environment: dict[str, str]) -> None:
    prefect(environment, "work-pool", "create", "local", "--type", "process")
    prefect(environment, "--no-prompt", "deploy", "--all")
    deployments = {one["id"]: one["name"] for one in ask(environment, "deployments/filter", {})}
    assert sorted(deployments.values()) == ["approve", "daily", "demo", "execute", "intraday"]

    def scheduled() -> set[str]:
        runs = ask(environment, "flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
        return {deployments[run["deployment_id"]] for run in runs}

    wait_for(lambda: scheduled() == {"daily", "demo", "execute", "intraday"}, 90)


def test_the_command_runs_the_day_under_the_server_and_leaves_its_artifacts(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "flows.cli", "demo", "--as-of", "2022-10-14"]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "filled: sell 70 HD in taxable-picked (harvest), 70 at 275.58 on 2022-10-17" in done.stdout
    assert "nanobind" not in done.stderr
    run = ask(
        environment,
        "flow_runs/filter",
        {"sort": "START_TIME_DESC", "flow_runs": {"name": {"any_": ["demo 2022-10-14"]}}},
    )[0]
    assert run["state_type"] == "COMPLETED"
    tasks = ask(
        environment, "task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"}
    )
    assert [one["name"].rsplit("-", 1)[0] for one in tasks] == STATIONS
    shown = {one["key"]: one["data"] for one in ask(environment, "artifacts/filter", {})}
    assert {"summary", "harvests", "drift", "orders", "refusals", "set-aside", "sources", "report"} <= set(shown)
    assert "JPM in taxable-fifo" in shown["summary"]
    assert json.loads(shown["harvests"])[0]["security_id"] == "HD"
    assert set(run["parameters"]) == {"as_of", "prices"}, "neither secrets nor frames are in parameters"


def test_a_holiday_ends_as_skipped(environment: dict[str, str]) -> None:
    code = (
        "import datetime, flows.deployments as d\n"
        "d._today = lambda: datetime.date(2022, 11, 24)\n"
        "state = d.demo(return_state=True)\n"
        "print(state.type.value, state.name, state.message, sep='|')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert "COMPLETED|Skipped: holiday|the exchange is closed on 2022-11-24" in done.stdout, done.stderr
    assert date(2022, 11, 24).weekday() < 5, "cron alone would have run it"


# A person's yes -----------------------------------------------------------------------------------------


@contextmanager
def working(environment: dict[str, str]) -> Iterator[None]:
    """A worker, killed in the end whatever it does then."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=PROJECT, env=environment, **quiet) as worker:
        try:
            yield
        finally:
            worker.kill()


def test_a_decision_waits_for_a_person_outlives_its_worker_and_is_carried_out_once(environment: dict[str, str]) -> None:
    """The run is suspended, the worker killed, the answer given as the page gives it; another worker does the rest."""
    home = Path(environment["THRESHER_HOME"])
    for file in (PROJECT / "flows" / "demo").glob("*.csv"):
        shutil.copy(file, home)
    policy = (PROJECT / "flows" / "demo" / "portfolio.toml").read_text()
    for account in ("taxable-fifo", "taxable-picked"):
        line = f'activities = "{account}.csv"'
        policy = policy.replace(line, f'{line}\nmode = "approve"')
    (home / "portfolio.toml").write_text(policy)
    command = [sys.executable, "-m", "flows.cli", "run", "--as-of", "2022-10-14"]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "waiting: sell 70 HD in taxable-picked (harvest), not_approved" in done.stdout
    journal = home / "simulated-orders.jsonl"
    assert not journal.exists()

    def asked(state: str) -> list[dict[str, Any]]:
        only = {"name": {"like_": "approve"}, "state": {"type": {"any_": [state]}}}
        return ask(environment, "flow_runs/filter", {"flow_runs": only}) or []

    assert sorted(run["name"] for run in asked("SCHEDULED")) == [
        "approve 2022-10-17.taxable-fifo.daily.1", "approve 2022-10-17.taxable-picked.daily.1",
    ]  # fmt: skip
    with working(environment):
        wait_for(lambda: len(asked("PAUSED")) == 2, 180)
        picked = next(one for one in asked("PAUSED") if "picked" in one["name"])
        form = f"flow_runs/{picked['id']}/input/filter", {"prefix": "suspended-", "limit": 10}
        wait_for(lambda: len(ask(environment, *form)) == 2, 30)  # the fields, and what is written above them
    assert not journal.exists() and not asked("RUNNING")
    assert "tax saved this year $1,786.85" in json.dumps(ask(environment, *form))
    answer = {"run_input": {"decision": "accept", "edit": "", "note": "go"}}
    assert ask(environment, f"flow_runs/{picked['id']}/resume", answer)["status"] == "ACCEPT"
    with working(environment):
        wait_for(lambda: picked["id"] in {one["id"] for one in asked("COMPLETED")}, 240)
    sent = [json.loads(line)["client_order_id"] for line in journal.read_text().splitlines()]
    assert len(sent) == len(set(sent)) == 8 and all(".taxable-picked." in name for name in sent)
    other = asked("PAUSED")
    assert len(other) == 1, "nobody has answered for the other account"

    stop = {"name": "thresher_stop", "value": "on holiday"}
    assert ask(environment, "variables/", stop)["name"] == "thresher_stop"
    assert ask(environment, f"flow_runs/{other[0]['id']}/resume", answer)["status"] == "ACCEPT"
    with working(environment):
        wait_for(lambda: other[0]["id"] in {one["id"] for one in asked("COMPLETED")}, 240)
    assert len(journal.read_text().splitlines()) == 8, "a yes does not outweigh the kill switch"
    with reader(home / "snapshot.duckdb") as warehouse:
        said = warehouse.rows("SELECT DISTINCT gate, reason FROM ledger.refusals WHERE gate = 'kill_switch'").rows()
    assert "thresher_stop" in said[0][1]


# Secrets ------------------------------------------------------------------------------------------------


def test_a_key_stands_in_no_log_artifact_warehouse_or_message(environment: dict[str, str], tmp_path: Path) -> None:
    """Two runs at the local Alpaca under the server: one as it should be, one with keys that it refuses."""
    with alpaca_house(tmp_path) as house:
        secrets = [text for pair in house.server.keys.values() for text in pair]
        house.at(DAY, 18, 15)
        given = environment | {name: os.environ[name] for name in os.environ if "ALPACA" in name}
        given |= {"THRESHER_HOME": str(house.home)}
        command = [sys.executable, "-m", "flows.cli", "run", "--as-of", str(DAY)]
        wrong = given | {name: f"{given[name]}-is-wrong" for name in given if name.endswith("_SECRET_KEY")}
        said = ""
        for keys in (given, wrong):
            done = subprocess.run(command, cwd=PROJECT, env=keys, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            said += done.stdout + done.stderr
        assert "sell 200 ZAA in taxable" in said
        assert "refuses the keys ALPACA_TAXABLE_API_KEY" in said
        with reader(house.home / "snapshot.duckdb") as warehouse:
            tables = warehouse.rows("SELECT table_schema || '.' || table_name AS name FROM information_schema.tables")[
                "name"
            ]
            said += "".join(str(warehouse.rows(f"FROM {table}").rows()) for table in tables)
    logged = ask(environment, "logs/filter", {"limit": 200}), ask(environment, "artifacts/filter", {"limit": 200})
    files = [
        file
        for folder in (house.home, Path(environment["PREFECT_HOME"]))
        for file in folder.rglob("*")
        if file.is_file()
    ]
    assert len(files) > 10 and all(logged)
    said += json.dumps(logged)
    for secret in secrets:
        is_told = secret in said  # not in the assertion itself: pytest would look through megabytes for what is alike
        assert not is_told
        assert not [file for file in files if secret.encode() in file.read_bytes()]
