"""The risk model and a direct index on real prices: `python -m bench.direct_index FOLDER`.

First the forecasts: portfolios that are near the index in five ways, bought each quarter and left alone, the tracking error that the
model of the day said and the one that came. Fewer names are chosen by `sampled` and by `stratified`, on the same days.
Then an account that follows the index and harvests, with a cap on tracking error, since two different years.
"""

import resource
import sys
from datetime import date
from pathlib import Path

import numpy as np

from bench.figures import RSS_UNIT, Row, figures, own_use, table
from bench.indexed_account import CAP, VALUE_USD, Account, followed
from bench.point_in_time import Month, Panel, held, months, panel, spy
from transforms.index.risk_model import SESSIONS_A_YEAR, Estimate, fundamental, statistical
from transforms.index.sampling import sampled, stratified
from transforms.index.tilts import low_volatility, momentum, scores, size, tilted
from transforms.lots.book import book
from transforms.lots.rules import Rules

FIRST, DATA_FROM = date(2015, 1, 1), date(2012, 12, 1)
WINDOW = 504
QUARTER = 3
SEED = 7
SINCE = (2015, 2020)


def estimate(prices: Panel, at: int, names: np.ndarray) -> Estimate:
    """The statistical model as it was known at a session's close."""
    return statistical(
        prices.returns[at - WINDOW + 1 : at + 1, names],
        [prices.names[name] for name in names],
        [prices.sectors[name] for name in names],
    )


def by_sectors_and_styles(prices: Panel, month: Month) -> Estimate:
    at, names = month.at, month.names
    history, sectors = prices.prices[: at + 1, names], [prices.sectors[name] for name in names]
    measures = (momentum(history), low_volatility(history), size(month.weights))
    styles = np.column_stack([scores(measure, sectors, "style", sector_neutral=False) for measure in measures])
    returns = prices.returns[at - WINDOW + 1 : at + 1, names]
    return fundamental(returns, [prices.names[name] for name in names], sectors, styles, month.weights)


def near_the_index(prices: Panel, month: Month, model: Estimate, draw: np.random.Generator) -> dict[str, np.ndarray]:
    """Weights that a household might hold instead of the index."""
    weights, count = month.weights, len(month.weights)
    sectors = [prices.sectors[name] for name in month.names]
    drawn = np.zeros(count)
    chosen = draw.choice(count, 100, replace=False, p=weights)
    drawn[chosen] = weights[chosen]
    history = prices.prices[: month.at + 1, month.names]
    rising = scores(momentum(history), sectors, "momentum")
    without = np.where(np.array(sectors) == "Energy", 0.0, weights)
    fallen = np.where(rising < np.quantile(rising, 0.15), 0.0, weights)
    return {
        "100 names drawn by weight": drawn / drawn.sum(),
        "without energy": without / without.sum(),
        "without the losers, a seventh": fallen / fallen.sum(),
        "momentum tilt 0.5": tilted(weights, {"momentum": rising}, {"momentum": 0.5}, sectors),
        **{f"{most} names, sampled": sampled(weights, model.model, most) for most in (200, 100, 50)},
        **{f"{most} names, stratified": stratified(weights, sectors, most) for most in (200, 100, 50)},
    }


def forecasts(prices: Panel, index: list[Month]) -> str:
    """Predicted and realised tracking error; the quarter's ratio that is exceeded in one of ten."""
    draw = np.random.default_rng(SEED)
    said: dict[str, list[tuple[float, float, np.ndarray]]] = {}
    factors, borrowed = [], 0
    for first in range(0, len(index), QUARTER):
        month = index[first]._replace(until=index[min(first + QUARTER, len(index)) - 1].until)
        model, other = estimate(prices, month.at, month.names), by_sectors_and_styles(prices, month)
        factors.append(model.factors)
        borrowed += len(model.borrowed)
        benchmark = held(prices, month, month.names, month.weights)
        for name, weights in near_the_index(prices, month, model, draw).items():
            active = weights - month.weights
            came = held(prices, month, month.names, weights) - benchmark
            said.setdefault(name, []).append(
                (model.model.tracking_error(active), other.model.tracking_error(active), came)
            )
    cells = []
    for name, quarters in said.items():
        one, two = (float(np.sqrt(np.mean([q[which] ** 2 for q in quarters]))) for which in (0, 1))
        real = _annual(np.concatenate([came for *_, came in quarters]))
        ratios = np.array([_annual(came) / predicted for predicted, _, came in quarters])
        tail = f"{np.quantile(ratios, 0.1):.2f} to {np.quantile(ratios, 0.9):.2f}"
        cells.append([name, f"{one:.2%}", f"{two:.2%}", f"{real:.2%}", f"{real / one:.2f}", f"{real / two:.2f}", tail])
    heads = [
        "tracking error, quarter by quarter",
        "statistical",
        "sectors",
        "realised",
        "ratio",
        "of sectors",
        "8 of 10 quarters",
    ]
    return table(heads, cells) + (
        f"{len(index) // QUARTER} quarters; {np.mean(factors):.0f} factors in the mean; "
        f"{borrowed / len(factors):.1f} names a quarter have a part of the history\n"
    )


def followed_since(prices: Panel, index: list[Month], first: int) -> str:
    """An account that follows the index from a year on, year by year; the books are the lots engine's."""
    account = Account()
    months_of = [
        month for month in index if month.at + 1 < len(prices.days) and prices.days[month.at + 1].year >= first
    ]
    decided, active, days, means = [], [], [], []
    for one, returns in followed(prices, months_of, lambda *known: estimate(*known).model, account):
        month = months_of[len(decided)]
        gap = returns - held(prices, month, month.names, month.weights)
        skipped = 1 if not decided else 0  # on the first session there was cash only
        decided.append(one)
        active.append(gap[skipped:])
        means.append(np.full(len(gap) - skipped, one.predicted**2))
        days.append(np.array([day.year for day in prices.days[month.at + 1 + skipped : month.until + 1]]))
    gaps, predicted, years = (np.concatenate(each) for each in (active, means, days))
    books = book(account.trades, Rules())
    cells = []
    for label, inside, sold in [
        *(
            (str(year), years == year, [d for d in books.disposals if d.sold_on.year == year])
            for year in sorted(set(years.tolist()))
        ),
        ("all", years > 0, books.disposals),
    ]:
        own = [one for one in decided if label in ("all", str(one.on.year))]
        said, came = float(np.sqrt(predicted[inside].mean())), _annual(gaps[inside])
        losses = {term: -sum(d.gain for d in sold if d.gain < 0 and d.term == term) / 100 for term in ("short", "long")}
        gains = sum(d.gain for d in sold if d.gain > 0) / 100
        cells.append(
            [label, f"{said:.2%}", f"{came:.2%}", f"{came / said:.2f}", f"{gaps[inside].mean() * SESSIONS_A_YEAR:+.2%}",
             f"{sum(one.turnover for one in own):.0%}", f"{losses['short']:,.0f}", f"{losses['long']:,.0f}", f"{gains:,.0f}",
             str(sum(not one.choice for one in own)), str(sum(one.choice == "do nothing" for one in own)),
             f"{sum(one.barred_buys for one in own):,}", f"{sum(one.barred_sales for one in own):,}"]
        )  # fmt: skip
    heads = [
        f"since {first}, cap {CAP:.0%}, ${VALUE_USD:,}", "predicted", "realised", "ratio", "active", "turnover", "short losses $",
        "long losses $", "gains $", "infeasible", "no trade", "buys barred", "loss sales barred",
    ]  # fmt: skip
    seconds, gap_bps = sorted(one.seconds for one in decided), [one.gap_bps for one in decided if one.choice == "full"]
    reasons = "".join(f"{one.on}: {one.reason}\n" for one in decided if not one.choice)
    value = account.value(prices.prices[-1])
    return (
        table(heads, cells)
        + reasons
        + (
            f"{len(account.trades):,} trades booked: {len(books.wash_sales)} wash sales, "
            f"${sum(one.disallowed for one in books.wash_sales) / 100:,.2f} disallowed; {account.forced} lots paid out when prices ended; "
            f"the account is worth ${value:,.0f}\n"
            f"a decision takes {np.median(seconds):.2f} s in the median, {seconds[-1]:.2f} s at most; full plans "
            f"are from the bound {np.median(gap_bps):.2f} bps in the median, {max(gap_bps):.2f} at most\n"
        )
    )


def timed() -> str:
    """How long a model takes to be estimated, on returns drawn by a seed; the best of three."""
    draw, rows = np.random.default_rng(SEED), []
    for count in (500, 1_000, 3_000):
        common, names = draw.normal(size=(WINDOW, 12)), [f"S{at:04}" for at in range(count)]
        returns = 0.01 * (common @ draw.normal(size=(12, count)) + draw.normal(size=(WINDOW, count)))
        returns[: WINDOW // 2, ::50] = np.nan
        sectors = [f"sector {at % 11}" for at in range(count)]
        best = None
        for _ in range(3):
            before = own_use()
            statistical(returns, names, sectors)
            used = [after - earlier for after, earlier in zip(own_use(), before, strict=True)]
            best = min(best or used, used)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
        rows.append(Row(f"{count:,} names, {WINDOW} sessions", *best, memory, count))
    return figures("a risk model, one in fifty with half a history", rows)


def _annual(returns: np.ndarray) -> float:
    return float(np.std(returns) * np.sqrt(SESSIONS_A_YEAR))


def main(folder: Path) -> None:
    print(timed(), flush=True)
    prices = panel(folder, DATA_FROM)
    index = months(prices, FIRST)
    daily = np.concatenate([held(prices, month, month.names, month.weights) for month in index])
    market = spy(folder, prices.days[index[0].at :])
    print(table(["the data", ""], [[what, f"{count:,}"] for what, count in prices.notes.items()]))
    sizes = [len(month.names) for month in index]
    print(
        f"the index: {len(index)} months, {min(sizes)} to {max(sizes)} members; to SPY tracking error {_annual(daily - market):.2%}, "
        f"correlation {np.corrcoef(daily, market)[0, 1]:.4f}, {np.mean(daily - market) * SESSIONS_A_YEAR:+.2%} a year\n"
    )
    print(forecasts(prices, index))
    for since in SINCE:
        print(followed_since(prices, index, since), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
