"""How far the household is from its targets, by asset class or by the security that a target names, and what is locked."""

from collections.abc import Callable, Mapping

import polars as pl

from transforms.tables import USD, core


def class_of(security_id: str, asset_class: str | None, targets: Mapping[str, float]) -> str:
    """What of the targets a security counts to: a target of its own, else its asset class.

    >>> [class_of(name, "Stocks", {"Stocks": 0.9, "GLD": 0.1}) for name in ("VTI", "GLD")], class_of("ABC", None, {})
    (['Stocks', 'GLD'], 'Unknown')
    """
    return security_id if security_id in targets else asset_class or "Unknown"


def drift(
    positions: pl.DataFrame,
    targets: Mapping[str, float],
    band: Callable[[str, float], float],
    locked: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Weight, target and signed drift of every class that is held or wanted, over all accounts together.

    Shape    in: asset_class, value_usd, locked_usd; out: core.drift, largest drift first.
    Units    weights and drift are fractions of the household's value, cash included; `band` is told the class and its target. Of
             a household that is worth nothing, or owes, every weight is zero.
    Omits    taxes owed on deferred accounts: a dollar in an IRA counts like any other.

    >>> held = pl.DataFrame({"asset_class": ["Energy", "Cash"], "value_usd": [20, 80], "locked_usd": [5, 0]})
    >>> found = drift(held, {"Energy": 0.10, "Cash": 0.90}, lambda name, target: 0.05, {"Energy": "XOM is not traded"})
    >>> found.select("asset_class", "drift", "is_outside", "locked").rows()
    [('Cash', -0.1, True, ''), ('Energy', 0.1, True, 'XOM is not traded')]
    """
    wanted = pl.DataFrame(
        {"asset_class": list(targets), "target_weight": list(targets.values())},
        schema={"asset_class": pl.String, "target_weight": pl.Float64},
    )
    by_class = positions.group_by("asset_class").agg(pl.col("value_usd", "locked_usd").sum())
    total = float(positions["value_usd"].sum() or 0)
    weight = pl.col("value_usd").cast(pl.Float64) / total if total > 0 else pl.lit(0.0)
    rows = (
        by_class.join(wanted, on="asset_class", how="full", coalesce=True)
        .with_columns(pl.col("value_usd", "locked_usd").fill_null(0).cast(USD), pl.col("target_weight").fill_null(0.0))
        .with_columns(weight=weight)
        .with_columns(drift=(pl.col("weight") - pl.col("target_weight")).round(12))
    )
    bands = [band(name, target) for name, target in rows.select("asset_class", "target_weight").iter_rows()]
    why = [(locked or {}).get(name, "") for name in rows["asset_class"]]
    rows = (
        rows.with_columns(band=pl.Series(bands, dtype=pl.Float64).round(12), locked=pl.Series(why, dtype=pl.String))
        .with_columns(is_outside=pl.col("drift").abs() > pl.col("band"))
        .sort(pl.col("drift").abs(), "asset_class", descending=[True, False])
    )
    return core("drift", rows)
