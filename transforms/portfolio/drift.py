"""How far the household is from its targets."""

from collections.abc import Mapping

import polars as pl

from transforms.tables import USD, core


def drift(positions: pl.DataFrame, targets: Mapping[str, float], band: float) -> pl.DataFrame:
    """Weight, target and signed drift of every asset class that is held or wanted, over all accounts together.

    Shape    in: asset_class, value_usd; out: core.drift, largest drift first.
    Units    weights and drift are fractions of the household's value, cash included; `band` is absolute.
    Omits    taxes owed on deferred accounts: a dollar in an IRA counts like any other.

    >>> held = pl.DataFrame({"asset_class": ["Energy", "Cash"], "value_usd": [20, 80]})
    >>> drift(held, {"Energy": 0.10, "Cash": 0.90}, 0.05).select("asset_class", "drift", "is_outside").rows()
    [('Cash', -0.1, True), ('Energy', 0.1, True)]
    """
    wanted = pl.DataFrame(
        {"asset_class": list(targets), "target_weight": list(targets.values())},
        schema={"asset_class": pl.String, "target_weight": pl.Float64},
    )
    by_class = positions.group_by("asset_class").agg(pl.col("value_usd").sum())
    total = float(positions["value_usd"].sum() or 0)
    weight = pl.col("value_usd").cast(pl.Float64) / total if total else pl.lit(0.0)
    rows = (
        by_class.join(wanted, on="asset_class", how="full", coalesce=True)
        .with_columns(pl.col("value_usd").fill_null(0).cast(USD), pl.col("target_weight").fill_null(0.0))
        .with_columns(weight=weight)
        .with_columns(drift=(pl.col("weight") - pl.col("target_weight")).round(12), band=pl.lit(band))
        .with_columns(is_outside=pl.col("drift").abs() > band)
        .sort(pl.col("drift").abs(), "asset_class", descending=[True, False])
    )
    return core("drift", rows)
