"""Form 8949: every sale of a year, in the form's own words and columns."""

from datetime import date

import polars as pl

CENTS = pl.Decimal(28, 2)
AMOUNTS = ("proceeds", "cost", "adjustment", "gain")  # columns (d), (e), (g), (h)


def form_8949(disposals: pl.DataFrame, year: int, covered_since: date) -> pl.DataFrame:
    """One row for every slice of a lot sold in the year, as Form 8949 wants it.

    Law      Instructions for Form 8949 (2025): Part I is short-term, Part II long-term; boxes A and D hold
             sales whose basis the broker reports to the IRS, B and E the others. A broker reports the basis
             of stock acquired since `covered_since` (26 CFR 1.6045-1(a)(15)(i)(A)).
    Order    part, box, date sold, trade, lot, slice.
    Units    USD to the cent; adjustment is positive: gain = proceeds - cost + adjustment.
    Rows     of core.disposals; part, box, description, date_acquired, date_sold, proceeds, cost, code,
             adjustment, gain.
    Omits    noncovered lots that the date alone does not tell (shares of funds and DRIPs acquired in 2011,
             options, debt, lots moved in without their basis); sales without a 1099-B (boxes C, F) and on a
             1099-DA (G to L); every code but W; Exceptions 1 and 2: all sales are listed.

    >>> from decimal import Decimal
    >>> from transforms.tables import core
    >>> bought, sold, usd = date(2022, 1, 10), date(2022, 6, 1), Decimal
    >>> sales = core("disposals", [("S", "L", 1, "joint", "HD", usd(40), bought, bought, sold, usd(10000),
    ...     usd(12000), "W", usd(500), usd(0), usd(-1500), "short", False)])
    >>> row, = form_8949(sales, 2022, date(2011, 1, 1)).rows(named=True)
    >>> row["part"], row["box"], row["description"], row["code"], str(row["adjustment"]), str(row["gain"])
    ('I', 'A', '40 sh. HD', 'W', '500.00', '-1500.00')
    """
    is_short, is_covered = pl.col("term") == "short", pl.col("acquired_on") >= covered_since
    box = (
        pl.when(is_short & is_covered).then(pl.lit("A"))
        .when(is_short).then(pl.lit("B"))
        .when(is_covered).then(pl.lit("D"))
        .otherwise(pl.lit("E"))
    )  # fmt: skip
    return (
        disposals.filter(pl.col("sold_on").dt.year() == year)
        .with_columns(part=pl.when(is_short).then(pl.lit("I")).otherwise(pl.lit("II")), box=box)
        .sort("part", "box", "sold_on", "trade_id", "lot_id", "slice")
        .select(
            "part",
            "box",
            description=pl.format("{} sh. {}", _shares(pl.col("quantity")), pl.col("security_id")),
            date_acquired="acquired_on",
            date_sold="sold_on",
            proceeds=pl.col("proceeds_usd").cast(CENTS),
            cost=pl.col("basis_usd").cast(CENTS),
            code="adjustment_code",
            adjustment=pl.col("adjustment_usd").cast(CENTS),
            gain=pl.col("gain_usd").cast(CENTS),
        )
    )


def totals(rows: pl.DataFrame) -> pl.DataFrame:
    """Line 2 of each part and box of `form_8949`: what goes to Schedule D.

    Units    as its rows; `sales` counts them.
    """
    sums = [pl.col(name).sum().cast(CENTS) for name in AMOUNTS]
    return rows.group_by("part", "box").agg(pl.len().cast(pl.Int64).alias("sales"), *sums).sort("part", "box")


def _shares(quantity: pl.Expr) -> pl.Expr:
    """Shares as a person writes them, without zeros at the end."""
    return quantity.cast(pl.Decimal(28, 9)).cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
