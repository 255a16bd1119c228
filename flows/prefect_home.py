"""Prefect in THRESHER_HOME: quiet, on loopback, and the same runs for the command line and the server.

To be called before prefect is imported. What the environment says already is left alone.
"""

import os
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

SERVER = "http://127.0.0.1:4200/api"


def configure(home: Path, *, only_console_warnings: bool = True) -> None:
    """Point Prefect at this home, and at the server of `make serve` when one is running."""
    folder = home / "prefect"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = {
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",  # it calls an analytics host whatever it is told
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # a fresh home takes up to 40 s
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    }
    if only_console_warnings:
        settings["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "WARNING"
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    if "PREFECT_API_URL" not in os.environ and is_up(SERVER):
        os.environ["PREFECT_API_URL"] = SERVER


def is_up(server: str) -> bool:
    try:
        with urlopen(f"{server}/health", timeout=2) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False
