"""The lots engine alone, timed in a process of its own: `python -m bench.book TRADES.csv`; a line of JSON."""

import json
import resource
import sys
from pathlib import Path
from time import perf_counter, process_time

from bench.figures import RSS_UNIT
from flows.lots_door import read_trades
from transforms.lots.book import book
from transforms.lots.rules import Rules


def main(file: Path) -> None:
    trades = read_trades(file).trades
    began, used = perf_counter(), process_time()
    books = book(trades, Rules())
    seconds, processor = perf_counter() - began, process_time() - used
    if books.refused or not books.wash_sales:
        raise SystemExit(f"{file}: {len(books.refused)} trades refused, {len(books.wash_sales)} wash sales")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
    print(json.dumps({"seconds": seconds, "processor": processor, "memory": memory}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
