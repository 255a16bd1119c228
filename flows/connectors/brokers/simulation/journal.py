"""What the simulated broker was told: orders, cancels and lots, JSON lines that are only ever added to.

All simulated accounts of a household share one file. It is read on from where it was last read, so that a line which
another part of the run has added is seen.
"""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from flows.connectors import Order, Unavailable


class Journal:
    """The lines of one account: `orders` in the order in which they came, `cancels` with the day after which each counts."""

    def __init__(self, path: Path, account_id: str):
        self._path, self._account_id = path, account_id
        self._read_to = self._line = 0
        self.orders: dict[str, Order] = {}
        self.cancels: dict[str, date] = {}
        self.told: dict[str, dict[str, str]] = {}  # the lots that it was told after a fill

    def read_on(self) -> None:
        """Take in what was added.

        Errors   Unavailable names the line.
        """
        if not self._path.exists() or self._path.stat().st_size <= self._read_to:
            return
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            added = file.read()
        for text in added.splitlines(keepends=True):
            try:
                row = json.loads(text) if text.strip() else {}
                if row.get("account_id") == self._account_id:
                    self._take(row)
            except (ValueError, KeyError, ArithmeticError, AttributeError) as wrong:
                raise Unavailable(
                    f"{self._path}:{self._line + 1} is not a line of the simulated broker's journal, which a crash may have "
                    f"cut off: delete that line; what was not acknowledged is sent again ({type(wrong).__name__})"
                ) from wrong
            self._line += text.endswith(b"\n")
            self._read_to += len(text)

    def add(self, **said: Any) -> None:
        """One more line, written whole."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = json.dumps({"account_id": self._account_id, **said}, default=str) + "\n"
        with self._path.open("a+b", buffering=0) as file:
            if (size := file.seek(0, 2)) and (file.seek(size - 1), file.read(1))[1] != b"\n":
                line = "\n" + line
            file.write(line.encode())
        self.read_on()

    def _take(self, row: dict[str, Any]) -> None:
        if "lots_of" in row:
            self.told[row["lots_of"]] = {name: row[name] for name in ("lots", "identified_at")}
        elif "cancels" in row:
            self.cancels.setdefault(row["cancels"], date.fromisoformat(row["after"]))
        else:
            order = Order(
                row["client_order_id"], row["side"], row["security_id"], Decimal(row["quantity"]), row["lots"],
                date.fromisoformat(row["placed_after"]), _decimal(row.get("limit_usd")),
                _decimal(row.get("notional_usd")), row.get("time_in_force", "day"),
            )  # fmt: skip
            self.orders.setdefault(order.client_order_id, order)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
