"""A local Alpaca as a process of its own, for tests: started, asked, killed, started again on its journal."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[2]


class Running:
    """Where it listens, and the keys of its accounts."""

    def __init__(self, process: subprocess.Popen[str], port: int, address: str, keys: dict[str, tuple[str, str]]):
        self.process, self.port, self.address, self.keys = process, port, address, keys

    def admin(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """Ask the person at the controls: GET without a body, else POST."""
        sent = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.address}/_admin{path}", sent, method=method or ("GET" if body is None else "POST"))
        with urlopen(request, timeout=60) as answer:
            read = answer.read()
        return json.loads(read) if read else None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def start(journal: Path, *options: str, port: int = 0) -> Running:
    command = [sys.executable, "-m", "tests.fake_alpaca", "--journal", str(journal), "--port", str(port), *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    first = process.stdout.readline().split()
    if first[:2] != ["listening", "on"]:
        raise RuntimeError(f"the local Alpaca did not start: {first}")
    keys = {}
    while (line := process.stdout.readline().split())[0] == "account":
        keys[line[1].rstrip(":")] = (line[3], line[5])
    return Running(process, int(first[2].rpartition(":")[2]), first[2], keys)


@contextmanager
def running(journal: Path, *options: str, port: int = 0) -> Iterator[Running]:
    """The server while the block runs."""
    server = start(journal, *options, port=port)
    try:
        yield server
    finally:
        server.kill()
        assert server.process.stdout
        server.process.stdout.close()
