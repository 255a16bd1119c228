"""An index as it was: members of the day, those that went too, weighed by capitalisation; from the folder of real prices.

What is wrong in the data and what is done about it, narrowly and counted (`Panel.notes`):

* A company under two tickers (FB and META) is one: its returns agree in nine sessions of ten. The later ticker's prices go on.
* Tickers of former members that carry another company's prices are left out (WRONG).
* A session without volume, and the one after it, has no return; the shares of a spin-off booked as a split need
  nothing here, because returns come from adjusted closes and shares x close is scaled the same way on both sides.
* A price that ends is held to the end of the month, in the index as in an account.
* Shares outstanding are those of October 2025. Who has none gets the capitalisation that names with his dollar volume have (log on log,
  that month, once), and moves with his price from then on.
* Who has no sector gets the one whose mean return his own is most correlated with.
"""

from bisect import bisect_right
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

WRONG = ("CAR", "COL", "HAR", "HOT", "KMG", "S", "WOR")
FORMER = "*"  # behind the ticker of a former member: some are today the tickers of others
AGREE, AGREEING, COMMON = 5e-4, 0.9, 60
VOLUME_SESSIONS = 63


class Panel(NamedTuple):
    """Prices by session and name.

    Shape    arrays (sessions, names); `prices` adjusted and held when they end, `returns` NaN where there was no trading.
    """

    days: list[date]
    names: list[str]
    prices: np.ndarray
    closes: np.ndarray
    returns: np.ndarray
    dollar_volume: np.ndarray
    last: np.ndarray  # of a name: the last session that has a price
    sectors: list[str]
    shares: np.ndarray
    members: list[tuple[int, date, date | None]]  # name, from, until before
    notes: dict[str, int]


class Month(NamedTuple):
    """The index as it is decided at the close of a month's last session, and how long it holds."""

    at: int
    until: int
    names: np.ndarray
    weights: np.ndarray


def panel(folder: Path, first: date, last_day: date = date.max) -> Panel:
    columns = ["ticker", "date", "close", "adj_close", "volume"]
    today = pl.scan_parquet(folder / "us_stocks_daily_2000_2025.parquet").select(columns)
    former = pl.scan_parquet(folder / "sp500_former_members_daily.parquet").select(columns)
    former = former.filter(~pl.col("ticker").is_in(WRONG)).with_columns(pl.col("ticker") + FORMER)
    rows = pl.concat([today, former]).filter(pl.col("date").is_between(first, last_day)).collect()
    names = rows["ticker"].unique().sort().to_list()
    days = rows.filter(~pl.col("ticker").str.ends_with(FORMER))["date"].unique().sort().to_list()
    column = {name: at for at, name in enumerate(names)}
    place = rows.select(
        day=pl.col("date").replace_strict(days, range(len(days)), default=None, return_dtype=pl.Int32),
        name=pl.col("ticker").replace_strict(names, range(len(names)), return_dtype=pl.Int32),
    )
    known = place["day"].is_not_null()
    at = place.filter(known).to_numpy()

    def wide(source: str) -> np.ndarray:
        made = np.full((len(days), len(names)), np.nan)
        made[at[:, 0], at[:, 1]] = rows[source].filter(known).to_numpy()
        return made

    closes, adjusted, volume = wide("close"), wide("adj_close"), wide("volume")
    last = len(days) - 1 - np.argmax(~np.isnan(adjusted[::-1]), axis=0)
    returns = np.full_like(adjusted, np.nan)
    with np.errstate(invalid="ignore"):
        returns[1:] = adjusted[1:] / adjusted[:-1] - 1
        idle = (volume[1:] == 0) | (volume[:-1] == 0)
    returns[1:][idle] = np.nan
    for row in range(1, len(days)):
        ended = np.isnan(adjusted[row])
        adjusted[row, ended] = adjusted[row - 1, ended]
        closes[row, ended] = closes[row - 1, ended]
    renamed = _renamed(returns, names)
    facts = pl.read_parquet(folder / "us_universe.parquet")
    shares = np.full(len(names), np.nan)
    sectors = [""] * len(names)
    for name, outstanding, sector in facts.select("ticker", "shares_outstanding", "gics_sector").iter_rows():
        if name in column:
            shares[column[name]] = outstanding if outstanding else np.nan
            sectors[column[name]] = sector or ""
    unlabelled = sectors.count("")
    members = []
    spells = pl.read_csv(folder / "sp500_ticker_start_end.csv", try_parse_dates=True)
    for ticker, start, end in spells.iter_rows():
        own = ticker.replace(".", "-")
        for name in (renamed.get(own + FORMER, own + FORMER), own):
            if name in column:
                members.append((column[name], start, end))
    notes = {
        "names with prices": len(names), "companies under two tickers": len(renamed), "tickers of other companies": len(WRONG),
        "returns without volume": int(idle.sum()), "names without a sector": unlabelled,
        "names without shares outstanding": int(np.isnan(shares).sum()),
    }  # fmt: skip
    return Panel(
        days, names, adjusted, closes, returns, closes * volume, last, _labelled(returns, sectors), shares, members, notes
    )  # fmt: skip


def months(panel: Panel, first: date) -> list[Month]:
    """The index from the last session before `first` on, weighed anew every month."""
    starts = [at for at in range(1, len(panel.days)) if panel.days[at].month != panel.days[at - 1].month]
    ends = [at - 1 for at in starts if panel.days[at] >= first]
    shares = panel.shares.copy()
    made = []
    for at, until in zip(ends, [*ends[1:], len(panel.days) - 1], strict=True):
        on = panel.days[at]
        window = panel.dollar_volume[max(0, at - VOLUME_SESSIONS + 1) : at + 1]
        volume = np.nan_to_num(np.nanmedian(np.where(np.isnan(window), 0.0, window), axis=0))
        inside = {
            name
            for name, start, end in panel.members
            if start <= on and (end is None or on < end) and panel.last[name] >= at
        }
        names = np.array(sorted(name for name in inside if volume[name] > 0 and panel.prices[at, name] > 0))
        capitalisation = shares[names] * panel.closes[at, names]
        known = ~np.isnan(capitalisation)
        slope, base = np.polyfit(np.log(volume[names[known]]), np.log(capitalisation[known]), 1)
        guessed = names[~known]
        shares[guessed] = np.exp(base + slope * np.log(volume[guessed])) / panel.closes[at, guessed]
        capitalisation = shares[names] * panel.closes[at, names]
        made.append(Month(at, until, names, capitalisation / capitalisation.sum()))
    return made


def held(panel: Panel, month: Month, names: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Daily returns of weights that are bought at the month's beginning and left alone."""
    path = panel.prices[month.at : month.until + 1, names] / panel.prices[month.at, names] @ weights
    return path[1:] / path[:-1] - 1


def spy(folder: Path, days: list[date]) -> np.ndarray:
    """Daily total returns of SPY on these days but the first."""
    rows = pl.read_parquet(folder / "us_etfs_daily_2000_2025.parquet").filter(pl.col("ticker") == "SPY").sort("date")
    dates, prices = rows["date"].to_list(), rows["adj_close"].to_numpy().astype(float)
    levels = np.array([prices[bisect_right(dates, day) - 1] for day in days])
    return levels[1:] / levels[:-1] - 1


def _renamed(returns: np.ndarray, names: list[str]) -> dict[str, str]:
    """Former tickers of companies that have another one today."""
    today = [at for at, name in enumerate(names) if not name.endswith(FORMER)]
    found = {}
    for at, name in enumerate(names):
        rows = ~np.isnan(returns[:, at])
        if not name.endswith(FORMER) or rows.sum() < COMMON:
            continue
        gaps = np.abs(returns[rows][:, today] - returns[rows, at][:, None])
        common = np.sum(~np.isnan(gaps), axis=0)
        agreeing = np.where(common >= COMMON, np.sum(gaps < AGREE, axis=0) / np.maximum(common, 1), 0)
        if agreeing.max() > AGREEING:
            found[name] = names[today[int(agreeing.argmax())]]
    return found


def _labelled(returns: np.ndarray, sectors: list[str]) -> list[str]:
    labels = np.array(sectors)
    known = sorted(set(sectors) - {""})
    with np.errstate(invalid="ignore"):
        of_sector = np.column_stack([np.nanmean(returns[1:, labels == sector], axis=1) for sector in known])
    made = list(sectors)
    for at in np.flatnonzero(labels == ""):
        rows = ~np.isnan(returns[1:, at])
        if rows.sum() >= COMMON:
            near = np.corrcoef(returns[1:, at][rows], of_sector[rows], rowvar=False)[0, 1:]
            made[at] = known[int(np.argmax(near))]
    return made
