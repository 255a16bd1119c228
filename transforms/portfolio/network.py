"""Linear programs of amounts that leave or enter one account and one class each: their corners are in whole cents.

The problem. A solver works in floating point, and an order in cents: a solution that is rounded may no longer add up.

The choice. Every variable stands in two rows, once for its account and once for its class, with one sign; so the matrix
is that of a network, and whole numbers on the right make every corner whole (it is totally unimodular). The dual simplex
ends in a corner. That what it found, rounded, keeps every row exactly is checked, not assumed.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

PER_BPS = 1e4  # weights are reckoned in bps, so that the solver's tolerances lie far below a difference that matters


class Rows:
    """Rows of a program by name, with what each is to be; a variable is added to a row with a sign."""

    def __init__(self, to: Iterable[tuple[tuple[str, str], int]]):
        self._at, self.to = dict[tuple[str, str], int](), list[int]()
        for row, (name, cents) in enumerate(to):
            self._at[name] = row
            self.to.append(cents)
        self._entries: list[tuple[int, int, int]] = []

    def add(self, name: tuple[str, str], variable: int, sign: int = 1) -> None:
        self._entries.append((self._at[name], variable, sign))

    def matrix(self, variables: int) -> Any:
        from scipy.sparse import csr_array

        rows, at, signs = np.array(self._entries, int).reshape(-1, 3).T
        return csr_array((signs.astype(float), (rows, at)), shape=(len(self.to), variables))


def solved(
    weights: Sequence[float], upper: Sequence[int], equal: Rows | None = None, below: Rows | None = None
) -> list[int] | None:
    """The amounts between zero and `upper` that weigh least, in whole cents; None where no amounts keep every row.

    Units    cents; weights are fractions.
    Errors   RuntimeError where the solver fails, or where its corner is not whole: faults of the program.

    >>> rows = Rows([(("account", "ira"), 100)])
    >>> rows.add(("account", "ira"), 0), rows.add(("account", "ira"), 1)
    (None, None)
    >>> solved([0.02, 0.01], [100, 70], rows), solved([0.02, 0.01], [20, 70], rows)
    ([30, 70], None)
    """
    from scipy.optimize import linprog

    if not weights:
        return [] if equal is None or not any(equal.to) else None
    held = [(rows, None if rows is None else rows.matrix(len(weights))) for rows in (equal, below)]
    (_, equals), (_, belows) = held
    found = linprog(
        np.array(weights) * PER_BPS,
        A_eq=equals, b_eq=None if equal is None else equal.to, A_ub=belows, b_ub=None if below is None else below.to,
        bounds=[(0, most) for most in upper], method="highs-ds",
    )  # fmt: skip
    if found.status == 2:
        return None
    if found.status:
        raise RuntimeError(f"HiGHS did not solve the program: {found.message}")
    cents = np.rint(found.x)
    for rows, matrix in held:
        if rows is not None:
            over = matrix @ cents - np.array(rows.to, float)
            if np.any(over != 0) if rows is equal else np.any(over > 0):
                raise RuntimeError(f"the program's corner is not in whole cents: {np.abs(over).max()} off")
    return [int(one) for one in cents]
