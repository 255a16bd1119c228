"""Great Expectations on arrivals: does today's delivery look like the earlier ones?

The baseline is what the same source delivered before. Two batches are looked at, because the library works on
frames of pandas and is slow to start: the deliveries of the run (a column gone, half the rows, a statement that
goes back in time) and the newest session's prices (last week's prices, half the symbols). The results are kept
in raw.arrival_checks and as data docs that a person can open.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from warehouse.build import sql_folder
from warehouse.db import Warehouse

KEEPS_ROWS = 0.6  # a delivery with fewer than this part of the rows of the one before it is not believed
LARGEST_MOVE = 0.35  # of the prices of one session, 9 in 10 move less than this

_ARRIVALS = """
WITH now AS (SELECT * FROM raw.deliveries WHERE list_contains($arrived, delivery_id)),
earlier AS (
    SELECT source, kind, arg_max(row_count, delivery_id) AS row_count, max(stated_on) AS stated_on
    FROM raw.deliveries WHERE delivery_id < list_min($arrived) AND stated_on <= $as_of GROUP BY ALL
)
SELECT n.delivery_id, n.source, n.kind, n.row_count,
    CASE WHEN n.kind IN ('prices', 'corporate_actions') OR coalesce(e.row_count, 0) = 0 THEN 1.0
        ELSE n.row_count / e.row_count END AS rows_kept,
    coalesce(greatest(e.stated_on - n.stated_on, 0), 0) AS days_back
FROM now AS n LEFT JOIN earlier AS e USING (source, kind)
ORDER BY n.delivery_id
"""
_PRICES = """
WITH latest AS (
    SELECT symbol, session_on, coalesce(adjusted_close_usd, close_usd) AS close
    FROM raw.prices WHERE session_on = (SELECT max(session_on) FROM raw.prices WHERE session_on <= $as_of)
), before AS (
    SELECT symbol, arg_max(coalesce(adjusted_close_usd, close_usd), session_on) AS close
    FROM raw.prices
    WHERE session_on < (SELECT any_value(session_on) FROM latest)
        AND session_on > (SELECT any_value(session_on) FROM latest) - INTERVAL 10 DAY
    GROUP BY symbol
)
SELECT l.symbol, l.session_on::VARCHAR AS session_on, l.close, l.close / nullif(b.close, 0) - 1 AS move
FROM latest AS l LEFT JOIN before AS b USING (symbol)
ORDER BY l.symbol
"""
_USUAL_SYMBOLS = """
SELECT median(symbols) FROM (
    SELECT count(DISTINCT symbol) AS symbols FROM raw.prices
    WHERE session_on <= $as_of AND session_on > $as_of::DATE - INTERVAL 30 DAY GROUP BY session_on
)
"""


def check_arrivals(
    warehouse: Warehouse, folder: Path, as_of: date, known_at: datetime, arrived: Mapping[str, Sequence[str]]
) -> dict[tuple[str, str], str]:
    """Look at the deliveries that arrived; (source, kind) -> what was not as expected.

    `arrived` holds the columns that are gone of each. Every result goes to raw.arrival_checks; the data docs are in
    `folder`.
    """
    arrivals = warehouse.rows(_ARRIVALS, arrived=list(arrived), as_of=as_of) if arrived else pl.DataFrame()
    if arrivals.is_empty():
        return {}
    gone = [", ".join(arrived[name]) for name in arrivals["delivery_id"]]
    arrivals = arrivals.with_columns(missing_columns=pl.Series(gone, dtype=pl.String))
    prices = warehouse.rows(_PRICES, as_of=as_of)
    usual = warehouse.value(_USUAL_SYMBOLS, as_of=as_of) or 0
    names = {row["delivery_id"]: (row["source"], row["kind"]) for row in arrivals.iter_rows(named=True)}
    price_delivery = next((name for name, (_, kind) in names.items() if kind == "prices"), None)
    suites: dict[str, tuple[Any, list[tuple[str, str, dict[str, Any]]]]] = {
        "deliveries": (arrivals.to_pandas(), _delivery_expectations())
    }
    if price_delivery is not None:
        suites["prices"] = (prices.to_pandas(), _price_expectations(as_of, usual))
    found: dict[tuple[str, str], str] = {}
    for expectation, culprits, observed in _validated(folder, suites):
        concerned = culprits if culprits is not None else [price_delivery] if price_delivery else []
        for delivery_id in names if not concerned and not observed else concerned:
            is_met = not observed
            warehouse.add("raw.arrival_checks", (delivery_id, expectation, is_met, observed, known_at))
            if not is_met:
                said = f"{names[delivery_id][1]} of {names[delivery_id][0]}: expected {expectation}; found {observed}"
                found[names[delivery_id]] = (
                    f"{found[names[delivery_id]]}; {said}" if names[delivery_id] in found else said
                )
    return found


@cache
def columns_read(kind: str) -> frozenset[str]:
    """The columns of a source that sql/stg reads of a kind: one of these that is gone changes what we understand.

    >>> sorted(columns_read("balances"))
    ['name', 'value']
    """
    text = (sql_folder() / "stg" / f"{kind}.sql").read_text(encoding="utf-8")
    return frozenset(re.findall(r"payload ->> '(\w+)'", text))


def _delivery_expectations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        ("no column gone", "ExpectColumnValuesToBeInSet", {"column": "missing_columns", "value_set": [""]}),
        (
            "not far fewer rows than the delivery before",
            "ExpectColumnValuesToBeBetween",
            {"column": "rows_kept", "min_value": KEEPS_ROWS},
        ),
        (
            "a statement no older than the last one",
            "ExpectColumnValuesToBeBetween",
            {"column": "days_back", "max_value": 0},
        ),
    ]


def _price_expectations(as_of: date, usual_symbols: float) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        ("prices of the day", "ExpectColumnValuesToBeInSet", {"column": "session_on", "value_set": [str(as_of)]}),
        (
            "about as many symbols as usual",
            "ExpectTableRowCountToBeBetween",
            {"min_value": int(KEEPS_ROWS * usual_symbols)},
        ),
        ("prices above zero", "ExpectColumnValuesToBeBetween", {"column": "close", "min_value": 0, "strict_min": True, "mostly": 0.9}),
        (
            "moves of a day that can be believed",
            "ExpectColumnValuesToBeBetween",
            {"column": "move", "min_value": -LARGEST_MOVE, "max_value": LARGEST_MOVE, "mostly": 0.9},
        ),
    ]  # fmt: skip


def _validated(folder: Path, suites: dict[str, tuple[Any, list]]) -> list[tuple[str, list[str] | None, str]]:
    """Run the suites and build the data docs: (expectation, the delivery_ids that broke it, what was found)."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # nothing leaves the machine
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    # In memory: the file context writes its own configuration again for every name that it is told, a second a run.
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    site: Any = {"class_name": "SiteBuilder", "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"}}
    pages = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)}
    for name in context.get_site_names():
        context.delete_data_docs_site(name)
    site["store_backend"] = pages
    context.add_data_docs_site("arrivals", site)
    source = context.data_sources.add_pandas("arrivals")
    found: list[tuple[str, list[str] | None, str]] = []
    for name, (frame, wanted) in suites.items():
        suite = context.suites.add(gx.ExpectationSuite(name=name))
        for said, kind, arguments in wanted:
            suite.add_expectation(getattr(gx.expectations, kind)(meta={"said": said}, **arguments))
        asset = source.add_dataframe_asset(name)
        batch = asset.add_batch_definition_whole_dataframe("run")
        definition = gx.ValidationDefinition(name=name, data=batch, suite=suite)
        definition = context.validation_definitions.add(definition)
        shown: dict[str, Any] = {"result_format": "COMPLETE"}
        if "delivery_id" in frame.columns:
            shown["unexpected_index_column_names"] = ["delivery_id"]
        checkpoint = context.checkpoints.add(
            gx.Checkpoint(name=name, validation_definitions=[definition], result_format=shown)
        )
        result = checkpoint.run(batch_parameters={"dataframe": frame})
        for one in next(iter(result.run_results.values())).results:
            said = one.expectation_config.meta["said"]  # type: ignore[union-attr]
            if one.success:
                found.append((said, None, ""))
                continue
            detail = one.result
            culprits = [
                row["delivery_id"] for row in detail.get("unexpected_index_list") or [] if isinstance(row, dict)
            ]
            observed = detail.get("partial_unexpected_list") or detail.get("observed_value") or one.exception_info
            found.append((said, culprits or None, str(observed)[:200]))
    context.build_data_docs()
    return found
