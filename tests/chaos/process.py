"""Work in a process that may die: forked, so that nothing is imported twice, and told about through a pipe.

The parent has imported everything and used nothing of it: neither DuckDB nor Polars has started threads that a fork would
lose.
"""

import ctypes
import json
import os
import select
import signal
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

PATIENCE = 600.0  # seconds; a step that takes longer hangs
PARENT_DIES = 1  # prctl PR_SET_PDEATHSIG


class Ended(NamedTuple):
    """How a process ended: `was_killed` by SIGKILL, or with what it told."""

    was_killed: bool
    told: Any


def begun(work: Callable[[int], None]) -> tuple[int, int]:
    """A process at work, and where it tells; `work` is given the other end."""
    told, telling = os.pipe()
    parent = os.getpid()
    if (pid := os.fork()) == 0:
        code = 1
        try:
            ctypes.CDLL(None).prctl(PARENT_DIES, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            os.close(told)
            work(telling)
            code = 0
        except BaseException:  # the child ends here, whatever it was
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(telling)
    return pid, told


def done(work: Callable[[], Any]) -> Ended:
    """What a process told when it ended.

    Errors   TimeoutError when it hangs.
    """
    return heard(*begun(lambda telling: tell(telling, work())))


def tell(telling: int, what: Any) -> None:
    with os.fdopen(telling, "w") as file:
        json.dump(what, file)


def heard(pid: int, told: int, patience: float = PATIENCE) -> Ended:
    parts = []
    with os.fdopen(told, "rb") as file:
        while True:
            if not select.select([file], [], [], patience)[0]:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise TimeoutError(f"process {pid} told nothing for {patience:.0f} seconds")
            part = os.read(file.fileno(), 1 << 20)
            if not part:
                break
            parts.append(part)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return Ended(os.WTERMSIG(status) == signal.SIGKILL, None)
    return Ended(False, json.loads(b"".join(parts)) if parts else None)
