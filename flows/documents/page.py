"""One HTML page that needs nothing but itself: no script, no request; it opens from a file and prints well.

Whatever is not `Html` is text and is escaped, wherever it comes from.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import polars as pl

from flows.documents.tables import day, number, percent, shares, usd


class Html(str):
    """Text that is markup already."""


class Column(NamedTuple):
    """A column of a table: which of the frame's, its heading, and how a value is written.

    Rows     kind is text, wide (text that may break), mark (a word in a box), day, usd, gain (usd, a loss in red),
             shares, percent, number.
    """

    name: str
    heading: str
    kind: str = "text"


def columns(**named: str) -> list[Column]:
    """Columns by their names in the frame, each with its heading and, after a colon, its kind.

    >>> columns(security_id="Sell", loss_usd="Loss: usd")[1]
    Column(name='loss_usd', heading='Loss', kind='usd')
    """
    parted = ((name, *said.partition(": ")) for name, said in named.items())
    return [Column(name, heading, kind or "text") for name, heading, _, kind in parted]


class Figure(NamedTuple):
    """A key figure with its name and what there is to say of it."""

    name: str
    value: str
    note: str = ""
    is_loss: bool = False


_WRITTEN: dict[str, Callable[[Any], str]] = {
    "day": day, "usd": usd, "gain": usd, "shares": shares, "percent": percent, "number": number,
}  # fmt: skip
_CLASS = {
    "text": "left",
    "day": "left",
    "mark": "left",
    "wide": "wide",
}  # the others are numbers, and stand right
_GOOD, _QUIET = (
    ("filled", "accepted"),
    ("inside", "sound", "dry run", "waiting"),
)  # any other mark is a warning


def html(value: object) -> Html:
    return value if isinstance(value, Html) else Html(escape(str(value)))


def element(tag: str, *inside: object, **attributes: str) -> Html:
    """An element; `class_` is its class."""
    said = "".join(f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"' for name, value in attributes.items())
    return Html(f"<{tag}{said}>{''.join(map(html, inside))}</{tag}>")


def table(
    rows: pl.DataFrame,
    columns: Sequence[Column],
    total: Mapping[str, object] | None = None,
    empty: str = "None.",
) -> Html:
    """A table, or a sentence where there are no rows; `total` is its last line."""
    if rows.is_empty():
        return element("p", empty, class_="empty")
    heads = (element("th", column.heading, class_=_class(column), scope="col") for column in columns)
    lines = [element("tr", *(_cell(column, row[column.name]) for column in columns)) for row in rows.to_dicts()]
    parts = [element("thead", element("tr", *heads)), element("tbody", *lines)]
    if total is not None:
        cells = (_cell(column, total[column.name]) if column.name in total else Html("<td></td>") for column in columns)
        parts.append(element("tfoot", element("tr", *cells)))
    return element("div", element("table", *parts), class_="scroll")


def figures(shown: Iterable[Figure]) -> Html:
    """The line of key figures."""
    return element("dl", *(
        element(
            "div",
            element("dt", figure.name),
            element("dd", figure.value, class_="loss" if figure.is_loss else "figure"),
            element("dd", figure.note, class_="note"),
        )
        for figure in shown
    ), class_="figures")  # fmt: skip


def chart(svg: str, caption: str) -> Html:
    return element("figure", Html(svg), element("figcaption", caption))


def section(name: str, heading: str, *inside: object) -> Html:
    return element("section", element("h2", heading), *inside, id=name)


def part(heading: str, *inside: object, note: str = "") -> Html:
    """A heading inside a section with what belongs to it; `note` explains it in a sentence."""
    return element(
        "div",
        element("h3", heading),
        element("p", note, class_="lead") if note else "",
        *inside,
        class_="part",
    )


def page(title: str, *inside: object) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{element('title', title)}\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{element('main', *inside)}\n</body>\n</html>\n"
    )


def _class(column: Column) -> str:
    return _CLASS.get(column.kind, "right")


def _cell(column: Column, value: Any) -> Html:
    """A value as its column writes it; a word among numbers stays as it is, a loss is marked."""
    if column.kind == "mark" and value:
        tone = "mark" if value in _GOOD else "mark quiet" if value in _QUIET else "mark bad"
        return element("td", element("span", value, class_=tone))
    if isinstance(value, str) or value is None:
        return element("td", value or "", class_=_class(column))
    is_loss = column.kind == "gain" and value < 0
    return element("td", _WRITTEN[column.kind](value), class_=_class(column) + (" loss" if is_loss else ""))


_STYLE = """
:root{--ink:#1b2733;--muted:#5d6b7a;--line:#d9e0e7;--soft:#f5f7f9;--navy:#1f4e79;--loss:#a3391b;
 --paper:#fff}
*{box-sizing:border-box}
html{background:#eef1f4;-webkit-text-size-adjust:100%}
body{margin:0;color:var(--ink);font:15px/1.5 "Helvetica Neue",Helvetica,Arial,"Liberation Sans",sans-serif}
main{max-width:1080px;margin:32px auto;padding:56px 64px 64px;background:var(--paper);
 border-top:6px solid var(--navy);
 box-shadow:0 1px 3px rgba(27,39,51,.12)}
h1,h2{font-family:"Iowan Old Style","Palatino Linotype",Palatino,Georgia,"Liberation Serif",serif;
 font-weight:600}
h1{font-size:34px;line-height:1.15;margin:0 0 6px;letter-spacing:-.01em}
h2{font-size:23px;margin:0 0 4px;padding-bottom:8px;border-bottom:2px solid var(--ink)}
h3{font-size:15px;margin:0 0 2px}
header{display:flex;justify-content:space-between;align-items:flex-end;gap:32px;margin-bottom:28px}
header p{margin:0;color:var(--muted)}
header .when{text-align:right;white-space:nowrap}
header .when strong{display:block;font-size:19px;color:var(--ink)}
nav{display:flex;flex-wrap:wrap;gap:4px 22px;margin:20px 0 0;padding:10px 0;
 border-top:1px solid var(--line);
 border-bottom:1px solid var(--line);font-size:14px}
a{color:var(--navy);text-decoration:none}
a:hover{text-decoration:underline}
section{margin-top:52px}
.part{margin-top:26px}
.lead{margin:0 0 8px;color:var(--muted);font-size:14px;max-width:96ch}
.empty{margin:6px 0 0;font-size:14px;color:var(--muted)}
.figures{display:grid;grid-template-columns:repeat(3,1fr);margin:0;border:1px solid var(--line);gap:1px;
 background:var(--line)}
.figures>div{background:var(--paper);padding:16px 20px 14px}
.figures dt{font-size:13px;color:var(--muted)}
.figures dd{margin:0}
.figures .figure,.figures .loss{font-size:25px;line-height:1.3;
 font-variant-numeric:tabular-nums lining-nums;
 letter-spacing:-.01em}
.figures .note{font-size:13px;line-height:1.4;color:var(--muted);margin-top:3px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13.5px;line-height:1.4;
 font-variant-numeric:tabular-nums lining-nums}
th,td{padding:6px 10px;vertical-align:top;text-align:left;white-space:nowrap}
th:first-child,td:first-child{padding-left:0}
th:last-child,td:last-child{padding-right:0}
th{font-weight:600;font-size:12px;color:var(--muted);vertical-align:bottom;
 border-bottom:1px solid var(--ink);white-space:normal}
td{border-bottom:1px solid var(--line)}
.right{text-align:right}
td.wide{white-space:normal;min-width:220px;overflow-wrap:anywhere}
.loss{color:var(--loss)}
tfoot td{border-top:1px solid var(--ink);border-bottom:3px double var(--ink);font-weight:600}
.mark{display:inline-block;padding:0 7px;border-radius:3px;font-size:12px;font-weight:600;
 background:#e4ecf4;color:var(--navy)}
.mark.bad{background:#f8e6df;color:var(--loss)}
.mark.quiet{background:#eceff2;color:var(--muted)}
figure{margin:10px 0 18px}
figure svg{display:block;width:100%;max-width:900px;height:auto;margin:0 auto}
figcaption{font-size:13px;color:var(--muted);text-align:center;margin-top:4px}
.notes{margin-top:56px;padding-top:14px;border-top:2px solid var(--ink);font-size:13px;color:var(--muted)}
.notes ol{margin:6px 0 0;padding-left:20px}
.notes li{margin:4px 0;max-width:118ch}
.warning{margin:18px 0 0;padding:10px 16px;border-left:4px solid var(--loss);background:#fbf3ef}
@media screen and (max-width:820px){main{margin:0;padding:28px 20px 40px}header{display:block}
 header .when{text-align:left;margin-top:12px}
 .figures{grid-template-columns:1fr 1fr}h1{font-size:27px}}
@media screen and (max-width:480px){.figures{grid-template-columns:1fr}}
@media print{@page{margin:14mm}html{background:none}body{font-size:10.5px}nav{display:none}
 main{margin:0;padding:0;border:0;box-shadow:none;max-width:none}section{margin-top:26px}.part{margin-top:16px}
 h1{font-size:25px}h2{font-size:17px;padding-bottom:4px}h3{font-size:11.5px}header{margin-bottom:16px}
 header .when strong{font-size:14px}.lead,.empty,figcaption,.notes{font-size:10px}.notes{margin-top:26px}
 .figures>div{padding:9px 12px}.figures dt,.figures .note{font-size:9.5px}
 .figures .figure,.figures .loss{font-size:17px}.warning{padding:6px 12px}
 table{font-size:9.5px}th{font-size:8.5px}th,td{padding:3px 6px}td.wide{min-width:110px}.mark{font-size:8.5px}
 .scroll{overflow:visible}thead{display:table-header-group}tr,figure,.figures>div{break-inside:avoid}
 h2,h3,.lead{break-after:avoid}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""
