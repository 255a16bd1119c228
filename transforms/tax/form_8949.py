"""Form 8949: every sale of a year, in the form's own words and columns."""

import polars as pl

CENTS = pl.Decimal(28, 2)
AMOUNTS = ("proceeds", "cost", "adjustment", "gain")  # columns (d), (e), (g), (h)


BOXES = {  # the form that reports the sale -> short-term with a reported basis, without one; long-term, the same
    "1099-B": "ABDE",
    "1099-DA": "GHJK",
    "": "CCFF",
}


def box(term: str, form: str, *, is_reported: bool) -> str:
    """The box of a sale: its term, and what the broker reports of it to the IRS.

    Law      Form 8949 (2025) and its instructions: G to L for digital assets on a 1099-DA, C and F without any form.
    Omits    I and L: digital assets that no broker holds.

    >>> box("short", "1099-B", is_reported=True), box("long", "1099-DA", is_reported=False), box("long", "", is_reported=False)
    ('A', 'K', 'F')
    """
    return BOXES[form][2 * (term == "long") + (not is_reported)]


def form_8949(sales: pl.DataFrame, year: int) -> pl.DataFrame:
    """One row for every piece of a lot sold in the year, as Form 8949 wants it.

    Law      Instructions for Form 8949 (2025): Part I is short-term, Part II long-term; the basis in column (e) as the
             broker reports it, what is wrong with it in (f) and (g) (transforms/tax/reported.py).
    Order    part, box, date sold, trade, lot, piece.
    Units    USD to the cent; adjustment is signed: gain = proceeds - cost + adjustment.
    Rows     of core.reported_sales; part, box, description, date_acquired, date_sold, proceeds, cost, code,
             adjustment, gain.
    Omits    noncovered lots that the date alone does not tell (debt, lots moved in without their basis); every code but
             B, T and W; Exceptions 1 and 2: all sales are listed.
    """
    return (
        sales.filter(pl.col("sold_on").dt.year() == year)
        .with_columns(part=pl.when(pl.col("term") == "short").then(pl.lit("I")).otherwise(pl.lit("II")))
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
