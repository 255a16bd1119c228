"""A real Prefect server on loopback: deployments, schedules, a whole day, and what a person finds in the UI."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml

PROJECT = Path(__file__).parent.parent
STATIONS = ["ingest", "book", "measure", "propose", "decide", "execute", "taxes", "report"]


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
        for schedule in one["schedules"]:
            assert schedule["cron"].endswith("* * 1-5")
            assert schedule["timezone"] == "America/New_York"


def test_the_scheduler_creates_a_run_for_every_deployment(environment: dict[str, str]) -> None:
    prefect(environment, "work-pool", "create", "local", "--type", "process")
    prefect(environment, "--no-prompt", "deploy", "--all")
    deployments = {one["id"]: one["name"] for one in ask(environment, "deployments/filter", {})}
    assert sorted(deployments.values()) == ["daily", "demo", "execute"]

    def scheduled() -> set[str]:
        runs = ask(environment, "flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
        return {deployments[run["deployment_id"]] for run in runs}

    wait_for(lambda: scheduled() == {"daily", "demo", "execute"}, 90)


def test_the_command_runs_the_day_under_the_server_and_leaves_its_artifacts(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "flows.cli", "demo", "--as-of", "2022-10-14"]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "filled: sell 70 HD in taxable-picked, 70 at 275.58 on 2022-10-17" in done.stdout
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
