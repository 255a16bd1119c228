"""The lots engine alone, timed in a process of its own: `python -m bench.book [engine|sort|compile] COUNT SECURITIES`.

A line of JSON: frame in, frames out, the quickest of three rounds after the compiled functions are loaded. `sort` is
DuckDB merely putting the same trades into order, in one thread: the floor. `compile` is the first call ever.
"""

import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable

ROUNDS = 3


def quickest(work: Callable[[], object], rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of the clock, of its own instructions, of the system's."""
    from bench.figures import own_use

    took = []
    for _ in range(rounds):
        before = own_use()
        work()
        took.append([after - earlier for after, earlier in zip(own_use(), before, strict=True)])
    return dict(zip(("seconds", "user", "system"), min(took), strict=True))


def main(what: str, count: int, securities: int) -> None:
    os.environ["POLARS_MAX_THREADS"] = "1"
    if what == "compile":
        os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp()
    import duckdb

    from bench.figures import RSS_UNIT
    from bench.trades import trades
    from transforms.lots.columns import book_columns
    from transforms.lots.rules import Rules

    made = trades(count, securities)
    if what == "sort":
        database = duckdb.connect(config={"threads": 1})
        database.execute("CREATE TABLE trades AS SELECT * FROM made")
        by = "security_id, traded_on, NOT is_buy, trade_id"
        took = quickest(lambda: database.execute(f"CREATE OR REPLACE TABLE t AS FROM trades ORDER BY {by}"))
    elif what == "compile":
        took = quickest(lambda: book_columns(made, Rules()), 1)
    else:
        book_columns(trades(1000, securities), Rules())

        def work() -> None:
            books = book_columns(made, Rules())
            if len(books.refused) or not len(books.wash_sales):
                raise SystemExit(f"{len(books.refused)} trades refused, {len(books.wash_sales)} wash sales")

        took = quickest(work)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
    print(json.dumps({**took, "memory": memory}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
