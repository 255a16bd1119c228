"""Sales whose brokers see what the household sees."""

from datetime import date

import polars as pl

from transforms.tables import core
from transforms.tax.form_8949 import box
from warehouse.law import law_date


def agreed(disposals: pl.DataFrame, since: date | None = None) -> pl.DataFrame:
    """Rows of core.disposals as those of core.reported_sales."""
    since = since or law_date("covered_since")
    rows = [
        (
            row["trade_id"], row["slice"], row["lot_id"], row["lot_id"], row["account_id"], row["security_id"],
            row["quantity"], row["acquired_on"], row["sold_on"], row["proceeds_usd"], row["basis_usd"],
            row["adjustment_code"], row["adjustment_usd"], row["permanent_usd"], row["gain_usd"], row["term"],
            row["is_provisional"], row["acquired_on"] >= since,
            box(row["term"], "1099-B", is_reported=row["acquired_on"] >= since), row["basis_usd"], row["adjustment_usd"],
            row["basis_usd"], row["adjustment_usd"], row["term"], "",
        )
        for row in disposals.iter_rows(named=True)
    ]  # fmt: skip
    return core("reported_sales", rows)
