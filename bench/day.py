"""One day's own work, timed in a process of its own: `python -m bench.day AS_OF [PRICES]`; a line of JSON.

Every library is loaded and used once before the clock starts: what a process pays once, and shares with no day, is
no part of the day's work. The household is that of THRESHER_HOME; without PRICES it is the demo household.
"""

import json
import resource
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.figures import RSS_UNIT, own_use


def load_libraries() -> None:
    """Import what the day imports on its way, start the charts' JavaScript engine, compute the exchange calendar."""
    import altair as alt
    import great_expectations
    import vl_convert

    from flows.calendar import is_session
    from transforms import tables

    great_expectations.get_context(mode="ephemeral")
    vl_convert.vegalite_to_svg(alt.Chart(alt.Data(values=[{}])).mark_point().to_dict())
    is_session(date(2022, 10, 14))
    tables.core("unbooked", [])


def main(as_of: date, prices: Path | None) -> None:
    load_libraries()
    from flows.daily import daily
    from flows.settings import load

    settings = load(prices, demo=prices is None)
    took: dict[str, float] = {}

    def timed(station: Callable[..., Any], *given: Any) -> Any:
        began = perf_counter()
        try:
            return station(*given)
        finally:
            took[station.__name__] = took.get(station.__name__, 0) + perf_counter() - began

    before = own_use()
    daily(settings, as_of, step=timed)
    seconds, user, system = (after - earlier for after, earlier in zip(own_use(), before, strict=True))
    took["the rest"] = seconds - sum(took.values())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
    print(json.dumps({"seconds": seconds, "user": user, "system": system, "memory": memory, "parts": took}))


if __name__ == "__main__":
    main(date.fromisoformat(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
