"""Charts as SVG that stands inside the page: no script, no request, the same bytes every time.

Altair and vl-convert are imported where a chart is drawn; whoever draws none does not wait for them.
"""

import re
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import altair as alt

INK, MUTED, HAIRLINE, BAND = "#1b2733", "#5d6b7a", "#d9e0e7", "#e6ecf2"
NAVY, BLUE, RUST, SAND = "#1f4e79", "#7fa8cf", "#b4532a", "#d8b58a"
_FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
_WIDTH = 880
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_USD = "replace(format(datum.value, '$,.0f'), '-', '\u2212')"
_POINTS = "datum.value ? replace(format(datum.value * 100, '+.0f'), '-', '\u2212') : '0'"


LADDER_ROWS = 40  # more cannot be read, and take a second to draw


def drift_chart(drift: pl.DataFrame) -> str:
    """Each asset class's distance from its target, over the band that it may move in (core.drift)."""
    import altair as alt

    rows = drift.select(
        "asset_class", "drift", "band", low=-pl.col("band"),
        state=pl.when("is_outside").then(pl.lit("outside its band")).otherwise(pl.lit("inside its band")),
        said=pl.col("drift").map_elements(lambda x: f"{x * 100:+.1f}".replace("-", "\u2212"), pl.String),
    )  # fmt: skip
    widest = 1.25 * max(0.01, *rows["band"].to_list(), *map(abs, rows["drift"].to_list()))
    y = alt.Y("asset_class:N", sort=rows["asset_class"].to_list(), title=None)
    x = alt.Scale(domain=[-widest, widest])
    chart = _chart(26)
    bands = chart.mark_bar(height=20, color=BAND).encode(
        y=y,
        x=alt.X("low:Q", scale=x, title=None,
                axis=alt.Axis(labelExpr=_POINTS)),
        x2="band:Q",
    )  # fmt: skip
    bars = chart.mark_bar(height=9).encode(
        y=y,
        x=alt.X("drift:Q", scale=x),
        color=_colors("state", {"inside its band": NAVY, "outside its band": RUST}),
    )
    right = chart.transform_filter("datum.drift >= 0").mark_text(align="left", dx=5, fontSize=11, color=INK)
    left = chart.transform_filter("datum.drift < 0").mark_text(align="right", dx=-5, fontSize=11, color=INK)
    labels = [side.encode(y=y, x=alt.X("drift:Q", scale=x), text="said:N") for side in (right, left)]
    return _svg(bands + bars + labels[0] + labels[1] + _zero(), rows, "drift")


def gains_chart(months: pl.DataFrame) -> str:
    """Realised gains by month: columns month (1 to 12), series, amount_usd."""
    import altair as alt

    series = {"Short-term": BLUE, "Long-term": NAVY, "Disallowed loss": SAND}
    rows = _floats(months).with_columns(name=pl.col("month").map_elements(lambda m: _MONTHS[m - 1], pl.String))
    bars = _chart(height=210).mark_bar().encode(
        x=alt.X("name:N", scale=alt.Scale(domain=_MONTHS), title=None, axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("series:N", sort=list(series)),
        y=alt.Y("amount_usd:Q", title=None, axis=alt.Axis(labelExpr=_USD, tickCount=6, grid=True)),
        color=_colors("series", series),
    )  # fmt: skip
    return _svg(bars + _zero("y"), rows, "gains")


def ladder_chart(gains: pl.DataFrame) -> str:
    """Unrealised gain by security, the largest either way: columns security_id, series, amount_usd."""
    import altair as alt

    largest = gains.group_by("security_id").agg(pl.col("amount_usd").sum().abs()).top_k(LADDER_ROWS, by="amount_usd")
    gains = gains.filter(pl.col("security_id").is_in(largest["security_id"].to_list()))

    series = {"Short-term": BLUE, "Long-term": NAVY, "In a retirement account": HAIRLINE}
    order = gains.group_by("security_id").agg(pl.col("amount_usd").sum()).sort("amount_usd", "security_id")
    bars = _chart(20).mark_bar(height=12).encode(
        y=alt.Y("security_id:N", sort=order["security_id"].to_list(), title=None),
        x=alt.X("amount_usd:Q", title=None, axis=alt.Axis(labelExpr=_USD, grid=True, tickCount=8)),
        color=_colors("series", series),
        order=alt.Order("rank:Q"),
    ).transform_calculate(rank=f"indexof({list(series)}, datum.series)")  # fmt: skip
    return _svg(bars + _zero(), _floats(gains), "ladder")


def _chart(step: int = 0, height: int = 0) -> "alt.Chart":
    """A chart of the rows that `_svg` is given: Altair would check each of them against its schema, several times."""
    import altair as alt

    return alt.Chart(alt.NamedData("rows")).properties(width=_WIDTH, height=height or {"step": step})


def _floats(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col("amount_usd").cast(pl.Float64))


def _colors(column: str, of: dict[str, str]) -> "alt.Color":
    import altair as alt

    scale = alt.Scale(domain=list(of), range=list(of.values()))
    return alt.Color(f"{column}:N", scale=scale, legend=alt.Legend(title=None, orient="top"))


def _zero(channel: str = "x") -> "alt.Chart":
    import altair as alt

    return alt.Chart(alt.Data(values=[{}])).mark_rule(color=INK, strokeWidth=1).encode(**{channel: alt.datum(0)})


def _svg(chart: Any, rows: pl.DataFrame, name: str) -> str:
    """The chart's SVG without what a page has no use for: namespaces, a size, ids that other charts use."""
    import vl_convert

    look: dict[str, Any] = {
        "font": _FONT,
        "background": None,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": 2,
        "view": {"stroke": None},
        "axis": {
            "grid": False, "gridColor": HAIRLINE, "domain": False, "ticks": False, "labelColor": MUTED,
            "labelFontSize": 12, "labelPadding": 8, "titleColor": MUTED, "titleFontWeight": "normal",
            "titleFontSize": 11, "titlePadding": 10, "labelLimit": 240,
        },
        "axisY": {"labelColor": INK},
        "legend": {"labelColor": INK, "labelFontSize": 12, "symbolType": "square", "symbolSize": 90},
    }  # fmt: skip
    svg = vl_convert.vegalite_to_svg({**chart.to_dict(), "datasets": {"rows": rows.to_dicts()}, "config": look})
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'^<svg ([^>]*?)\bwidth="[^"]*" height="[^"]*"', r"<svg \1", svg)
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)


def has_amounts(rows: pl.DataFrame) -> bool:
    """Is there anything to draw?"""
    return any(rows["amount_usd"])
