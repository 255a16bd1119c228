"""Trades for the lots engine: `python -m bench.trades COUNT FOLDER` writes them for `thresher lots` and for the peer.

One taxable account, 50 securities, 20 years, three buys for every two sales, first in first out, whole shares, at
prices that wander; seeded by the count.
"""

import csv
import random
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

SECURITIES = 50
FIRST, DAYS = date(2005, 1, 3), 20 * 365
OURS, PEERS = "trades.csv", "peer.csv"
OUR_HEADER = "trade_id,account_id,account_type,owner,security_id,side,quantity,price_usd,fee_usd,traded_at,lots"
PEER_HEADER = "date,symbol,name,shares,price,fee"

Trade = tuple[str, date, str, bool, int, float]  # trade_id, day, security_id, is it a buy, shares, price in USD


def trades(count: int) -> Iterator[Trade]:
    """`count` trades, the oldest first; no sale is of more than is held.

    >>> made = list(trades(1000))
    >>> len(made), made == list(trades(1000))
    (1000, True)
    >>> sum(shares if is_buy else -shares for *_, is_buy, shares, _ in made) > 0
    True
    """
    draw = random.Random(count)
    held, prices = [0] * SECURITIES, [100.0] * SECURITIES
    for number, day in enumerate(sorted(draw.randrange(DAYS) for _ in range(count)), 1):
        which = draw.randrange(SECURITIES)
        prices[which] = max(5.0, prices[which] * draw.uniform(0.95, 1.052))
        is_buy = held[which] < 10 or draw.random() < 0.6
        shares = draw.randrange(10, 100) if is_buy else draw.randrange(1, min(100, held[which]) + 1)
        held[which] += shares if is_buy else -shares
        yield f"T{number:06}", FIRST + timedelta(days=day), f"S{which:02}", is_buy, shares, round(prices[which], 2)


def write(count: int, folder: Path) -> None:
    """The same trades as `thresher lots` reads them, and as capital-gains does."""
    with (folder / OURS).open("w", newline="") as ours, (folder / PEERS).open("w", newline="") as peers:
        our, peer = csv.writer(ours, lineterminator="\n"), csv.writer(peers, lineterminator="\n")
        our.writerow(OUR_HEADER.split(","))
        peer.writerow(PEER_HEADER.split(","))
        for name, on, security, is_buy, shares, price in trades(count):
            side = "buy" if is_buy else "sell"
            our.writerow((name, "broker", "taxable", "self", security, side, shares, price, 0, on, ""))
            peer.writerow((on, security, name if is_buy else "", shares if is_buy else -shares, price, 0))


if __name__ == "__main__":
    write(int(sys.argv[1]), Path(sys.argv[2]))
