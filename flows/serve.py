"""`make serve`: Prefect's server and one worker on loopback, every deployment of prefect.yaml in place.

Ends with Ctrl-C, and takes what it started with it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.prefect_home import SERVER, configure, is_up
from flows.settings import home

PROJECT = Path(__file__).parent.parent
POOL = "local"
STARTS_WITHIN = 180.0


def main() -> int:
    """Start, deploy, say where to look, and wait."""
    configure(home(), only_console_warnings=False)
    os.environ["PREFECT_API_URL"] = SERVER
    os.environ["THRESHER_HOME"] = str(home())
    os.environ["PROJECT_ROOT"] = str(PROJECT)  # prefect.yaml: where a worker finds the flows
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with running_server():
        deploy()
        with started("worker", "start", "--pool", POOL) as worker:
            print(f"Prefect: {SERVER.removesuffix('/api')}   (Ctrl-C ends it)", flush=True)
            if not (home() / "portfolio.toml").exists():
                print(
                    f"the deployment daily fails until {home() / 'portfolio.toml'} is there; demo needs none",
                    flush=True,
                )
            try:
                return worker.wait()
            except KeyboardInterrupt:
                return 0


@contextmanager
def running_server() -> Iterator[None]:
    """The server that is there already, or one of ours."""
    if is_up(SERVER):
        yield
        return
    print("starting Prefect's server (the first time up to 40 s) ...", flush=True)
    with started("server", "start", "--host", "127.0.0.1") as server:
        until = time.monotonic() + STARTS_WITHIN
        while not is_up(SERVER):
            if server.poll() is not None or time.monotonic() > until:
                raise SystemExit("Prefect's server did not start: is port 4200 taken?")
            time.sleep(0.5)
        yield


def deploy() -> None:
    """Put the work pool and every deployment of prefect.yaml in place; done again it changes nothing."""
    _prefect("work-pool", "create", POOL, "--type", "process", "--overwrite")
    _prefect("--no-prompt", "deploy", "--all")


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "prefect", *arguments], cwd=PROJECT, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def _prefect(*arguments: str) -> None:
    command = [sys.executable, "-m", "prefect", *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"prefect {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
