"""`python -m bench.tax_alpha HARVESTS`: how long the tax-alpha ledger takes over seven years of harvests on daily prices.

Every harvest sells four lots of one of 500 securities for another; a third of the replacements were sold since, a third of these
at a loss by a harvest of its own, a third to go back. Losses are carried over from the first year on.
"""

import json
import random
import sys
from datetime import date, timedelta
from decimal import Decimal

from bench.figures import own_use
from transforms.harvest.alpha import tax_alpha
from transforms.harvest.benefit import Rates
from transforms.harvest.carried import used_later
from transforms.harvest.followed import Bought, End, Ended, Harvest, Sold
from transforms.harvest.twin import Closes
from transforms.law import tax_year
from transforms.tax.schedule_d import carried_into
from warehouse.law import law_rows

FIRST, YEARS, NAMES = date(2019, 1, 2), 7, 500
RATES = Rates(Decimal("0.29"), Decimal("0.20"), Decimal("0.29"), Decimal(3000))
ENDS: tuple[End, ...] = ("sold", "switched", "harvested")


def closes(rng: random.Random) -> dict[str, Closes]:
    days = [day for n in range(365 * YEARS) if (day := FIRST + timedelta(days=n)).weekday() < 5]
    found = {}
    for number in range(NAMES):
        price, prices = 100.0, []
        for _ in days:
            price *= 1 + rng.gauss(0.0003, 0.02)
            prices.append(Decimal(f"{price:.6f}"))
        found[f"S{number:03d}"] = Closes(days, prices, prices)
    return found


def harvests(count: int, prices: dict[str, Closes], rng: random.Random) -> list[Harvest]:
    days = prices["S000"].sessions
    made = []
    for number in range(count):
        at = rng.randrange(len(days) - 300)
        on, (name, other) = days[at], rng.sample(sorted(prices), 2)
        price, their = prices[name].price_usd[at], prices[other].price_usd[at]
        lots = [
            Sold(
                on,
                term,
                Decimal(10),
                10 * price,
                12 * price,
                Decimal(0),
                Decimal(0),
                -2 * price,
                on - timedelta(days=200),
            )
            for term in ("short", "short", "long", "long")
        ]
        cost = (40 * price).quantize(Decimal("0.01"))
        ended: tuple[Ended, ...] = ()
        if not number % 3:
            ended = (Ended(days[at + rng.randrange(30, 290)], "short", cost, Decimal(100), ENDS[number // 3 % 3]),)
        rest = Decimal(0) if ended else cost
        bought = Bought(other, on, cost / their, cost, Decimal(1), ended, rest, Decimal(0), Decimal(0))
        made.append(
            Harvest(str(number), "joint", name, tuple(lots), Decimal(1), (bought,), Decimal(50), Decimal(0), price)
        )
    return sorted(made, key=lambda one: one.sold[0].sold_on)


def main() -> None:
    rng = random.Random(7)
    prices = closes(rng)
    made = harvests(int(sys.argv[1]), prices, rng)
    results = {year: (Decimal(-20_000), Decimal(9_000)) for year in range(FIRST.year, FIRST.year + YEARS)}
    law = {year: tax_year(law_rows(), year, "mfj") for year in results}
    as_of = prices["S000"].sessions[-1]
    before = own_use()
    found = used_later(
        made, results, lambda year, of: carried_into(year, of, law.__getitem__, Decimal(210_000)), lambda year: RATES
    )
    made = [one._replace(used_usd=used, left_usd=left) for one, (used, left) in zip(made, found, strict=True)]
    rows = tax_alpha(made, prices.__getitem__, lambda year: RATES, as_of)
    seconds, user, system = (after - start for start, after in zip(before, own_use(), strict=True))
    assert all(row[-2] is not None for row in rows)
    print(json.dumps({"seconds": seconds, "user": user, "system": system}))


if __name__ == "__main__":
    main()
