"""`python -m tests.fake_alpaca --journal FILE`: a local Alpaca until it is stopped."""

import argparse
import asyncio
import signal
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from tests.fake_alpaca.books import iso
from tests.fake_alpaca.controls import keys, open_account
from tests.fake_alpaca.journal import Journal
from tests.fake_alpaca.market import NEW_YORK, Exchange, Market, Table
from tests.fake_alpaca.server import Server, listen
from tests.fake_alpaca.trading import Broker


def arguments() -> argparse.Namespace:
    said = argparse.ArgumentParser(prog="python -m tests.fake_alpaca", description="A local Alpaca on loopback.")
    said.add_argument(
        "--journal", type=Path, required=True, help="what happens is kept here; it goes on where it ended"
    )
    said.add_argument("--prices", type=Path, nargs="*", default=[], help="daily prices, as traded: CSV or Parquet")
    said.add_argument("--host", default="127.0.0.1")
    said.add_argument("--port", type=int, default=0, help="0: any that is free")
    said.add_argument("--clock", help="stands still at this moment until it is moved; without it, the real time")
    said.add_argument("--seed", default="1", help="of keys, ids and liquidity")
    said.add_argument("--partial", type=float, default=0.3, help="so many orders of whole shares are filled in pieces")
    said.add_argument("--no-sync", action="store_true", help="do not wait for the disk; kept if the program is killed")
    said.add_argument(
        "--account", action="append", metavar="NAME:CASH[:MULTIPLIER[:short]]",
        help="an account to open; by default taxable:100000 and roth:50000",
    )  # fmt: skip
    return said.parse_args()


async def serve(said: argparse.Namespace) -> None:
    clock = datetime.fromisoformat(said.clock) if said.clock else None
    if clock and clock.tzinfo is None:
        clock = clock.replace(tzinfo=NEW_YORK)
    said.journal.parent.mkdir(parents=True, exist_ok=True)
    market = Market(Exchange(), Table(said.prices))
    broker = Broker(
        Journal(said.journal, sync=not said.no_sync), market, clock=clock, seed=said.seed, partial=said.partial
    )
    for account in said.account or ([] if broker.books.accounts else ["taxable:100000", "roth:50000"]):
        name, cash, *rest = account.split(":")
        if name not in broker.books.accounts:
            multiplier = int(rest[0]) if rest else 1
            open_account(broker, name, Decimal(cash), multiplier, shorting="short" in rest)
    broker.flush()
    server = await listen(Server(broker), said.host, said.port)
    address = "http://{}:{}".format(*server.sockets[0].getsockname()[:2])
    print(f"listening on {address}", flush=True)
    for name in broker.books.accounts:
        key, secret = keys(broker.books.seed, name)
        print(f"account {name}: key {key} secret {secret}", flush=True)
    print(f"clock {iso(broker.clock)}{' (stands still)' if clock else ''}, journal {said.journal}", flush=True)
    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    asyncio.run(serve(arguments()))
