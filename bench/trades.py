"""Trades for the lots engine: `python -m bench.trades COUNT SECURITIES FOLDER` writes them for `thresher lots` and the peer.

One taxable account, 20 years, three buys for every two sales, first in first out, whole shares, at prices that wander
between 5 and 500 dollars; seeded by the count. Ten million take seconds.
"""

import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numba import njit

from transforms.exact import NANO
from transforms.lots.columns import TRADES

FIRST, DAYS = date(2005, 1, 3), 20 * 365
OURS, PEERS = "trades.csv", "peer.csv"
PEERS_UP_TO = 100_000  # trades; the peer takes minutes for more


def trades(count: int, securities: int) -> pl.DataFrame:
    """`count` trades as the engine takes them, the oldest first; no sale is of more than is held.

    >>> made = trades(1000, 50)
    >>> len(made), made.equals(trades(1000, 50)), made["amount"].min() > 0
    (1000, True, True)
    >>> made.select(pl.col("quantity") * pl.when("is_buy").then(1).otherwise(-1)).sum().item() > 0
    True
    """
    draw = np.random.default_rng(count)
    which = draw.integers(0, securities, count)
    steps = np.exp(draw.uniform(-0.05, 0.05, count))
    is_buy, shares, cents = _wander(which, steps, draw.random(count), draw.random(count), securities)
    return pl.DataFrame(
        {
            "trade_id": "T" + pl.Series(np.arange(1, count + 1)).cast(pl.String).str.zfill(8),
            "account_id": pl.repeat("broker", count, eager=True),
            "security_id": "S" + pl.Series(which).cast(pl.String).str.zfill(2),
            "is_buy": is_buy,
            "quantity": shares * NANO,
            "amount": shares * cents,
            "traded_on": pl.Series(
                np.sort(draw.integers(0, DAYS, count)).astype("timedelta64[D]") + np.datetime64(FIRST)
            ),
            "traded_at": pl.repeat(None, count, dtype=pl.Time, eager=True),
            "is_deferred": np.zeros(count, np.bool_),
        },
        TRADES,
    )


@njit(cache=True)
def _wander(which: Any, steps: Any, moods: Any, sizes: Any, securities: int) -> Any:
    held, prices = np.zeros(securities, np.int64), np.full(securities, 100.0)
    is_buy, shares = np.empty(len(which), np.bool_), np.empty(len(which), np.int64)
    cents = np.empty(len(which), np.int64)
    for row in range(len(which)):
        security = which[row]
        prices[security] = min(500.0, max(5.0, prices[security] * steps[row]))
        is_buy[row] = held[security] < 10 or moods[row] < 0.6
        most = 90 if is_buy[row] else min(100, held[security])
        shares[row] = int(sizes[row] * most) + (10 if is_buy[row] else 1)
        held[security] += shares[row] if is_buy[row] else -shares[row]
        cents[row] = round(100 * prices[security])
    return is_buy, shares, cents


def write(made: pl.DataFrame, folder: Path) -> None:
    """The same trades as `thresher lots` reads them, and as capital-gains does."""
    shares = pl.col("quantity") // NANO
    price = (pl.col("amount") // shares / 100).alias("price_usd")
    side = pl.when("is_buy").then(pl.lit("buy")).otherwise(pl.lit("sell"))
    made.select(
        "trade_id", "account_id", account_type=pl.lit("taxable"), owner=pl.lit("self"), security_id="security_id",
        side=side, quantity=shares, price_usd=price, fee_usd=pl.lit(0), traded_at="traded_on", lots=pl.lit(None, pl.String),
    ).write_csv(folder / OURS, float_precision=2)  # fmt: skip
    made.head(PEERS_UP_TO).select(
        date="traded_on", symbol="security_id", name=pl.when("is_buy").then("trade_id"),
        shares=shares * pl.when("is_buy").then(1).otherwise(-1), price=price, fee=pl.lit(0),
    ).write_csv(folder / PEERS, float_precision=2)  # fmt: skip


if __name__ == "__main__":
    write(trades(int(sys.argv[1]), int(sys.argv[2])), Path(sys.argv[3]))
