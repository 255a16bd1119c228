"""How a gateway of Interactive Brokers is asked: connect, ask, disconnect, and never wait for ever.

The problem: ib_async is asynchronous and holds a connection; a connector is asked once in a while, in a thread that
may or may not have an event loop, and a gateway may be away, restart (it does every night), or accept and stay silent.
The choice: every question is a connection of its own, on a loop and a thread of its own, under one deadline. A
connection that drops takes one question with it and nothing else, so a question is simply asked again with growing waits:
except an order, which is never sent again here. It costs a handshake a question; a day asks some dozen.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ib_async import IB, Contract, StartupFetchNONE, Stock

from flows.accounts import Ibkr
from flows.connectors import Unavailable

WAITS = (0.1, 0.25, 0.5)  # before a question is asked again, in patience_seconds
ANSWER = 3.0  # how long an answer may take, in the same

T = TypeVar("T")
Question = Callable[[IB], Awaitable[T]]


class _NotConnected(ConnectionError):
    """No connection came about, so nothing was asked."""


def ask(ibkr: Ibkr, question: Question[T], *, again: bool = True, patience: float = ANSWER) -> T:
    """What the gateway answers. `again`: a dropped connection is no reason to give up, because asking changes nothing.

    Errors   Unavailable(may_pass=True) where it does not answer; whatever the question raises.
    """
    for wait in (*WAITS, None):
        try:
            with ThreadPoolExecutor(1) as thread:  # a loop of its own: the caller's thread may be running one
                return thread.submit(asyncio.run, _asked(ibkr, question, patience)).result()
        except (OSError, TimeoutError) as lost:
            if wait is None or not (again or isinstance(lost, _NotConnected)):
                where = f"the gateway at {ibkr.host}:{ibkr.port} (client {ibkr.client_id})"
                raise Unavailable(f"{where} {_words(lost)}", may_pass=True) from None
            time.sleep(wait * ibkr.patience_seconds)
    raise AssertionError("unreachable: the last wait is none")


async def _asked(ibkr: Ibkr, question: Question[T], patience: float) -> T:
    ib, loop = IB(), asyncio.get_running_loop()
    dropped = loop.create_future()

    def drop() -> None:
        if not dropped.done():
            dropped.set_result(None)

    ib.disconnectedEvent += drop
    try:
        await _connected(ib, ibkr)
        answer = asyncio.ensure_future(question(ib))
        seconds = patience * ibkr.patience_seconds
        done, _ = await asyncio.wait({answer, dropped}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if answer in done:
            return answer.result()
        answer.cancel()
        raise ConnectionError if dropped in done else TimeoutError
    finally:
        ib.disconnect()


async def _connected(ib: IB, ibkr: Ibkr) -> None:
    """readonly, and nothing fetched but positions: what a question needs it asks for itself."""
    connecting = ib.connectAsync(
        ibkr.host, ibkr.port, clientId=ibkr.client_id, timeout=ibkr.patience_seconds, readonly=True,
        fetchFields=StartupFetchNONE, raiseSyncErrors=True,
    )  # fmt: skip
    try:
        await asyncio.wait_for(connecting, 2 * ibkr.patience_seconds)
    except (OSError, TimeoutError) as lost:
        raise _NotConnected(_words(lost)) from None


def _words(lost: BaseException) -> str:
    if isinstance(lost, _NotConnected):
        return str(lost)
    if isinstance(lost, ConnectionRefusedError):
        return "is not there: start IB Gateway or TWS, and allow the API on this port"
    if isinstance(lost, TimeoutError) or "timed out" in str(lost):
        return "stays silent: it may be restarting, or waiting for a login"
    return "drops the connection: it may be restarting, or a client with the same number is connected"


async def account_of(ib: IB, ibkr: Ibkr) -> str:
    """The account that is meant.

    Errors   Unavailable where the login does not have it, or has several and none is named.
    """
    known = ib.managedAccounts()
    if ibkr.account and ibkr.account not in known:
        raise Unavailable(f"the gateway's login has no account {ibkr.account}; it has {', '.join(known)}")
    if not ibkr.account and len(known) != 1:
        raise Unavailable(
            f"the gateway's login has {len(known)} accounts: name one in ibkr.account ({', '.join(known)})"
        )
    return ibkr.account or known[0]


def contract(security_id: str) -> Contract:
    """A security as IBKR names it: BRK.B is BRK B there, and options are written in columns.

    >>> contract("BRK.B").symbol, contract("ORCL171117C00050000").localSymbol
    ('BRK B', 'ORCL  171117C00050000')
    """
    root, tail = security_id[:-15], security_id[-15:]
    if root and tail[:6].isdigit() and tail[6] in "CP" and tail[7:].isdigit():
        return Contract(secType="OPT", localSymbol=f"{root:<6}{tail}", exchange="SMART", currency="USD")
    return Stock(security_id.replace(".", " "), "SMART", "USD")
