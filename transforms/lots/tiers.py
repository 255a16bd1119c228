"""Three tiers of likeness: the same security and its share classes; funds on one index; what a household names itself.

The first and the third are one map, security to group, that the books match in. The second is a map of its own,
because the law has not said: the books match in it where the household answers so (policy same_index_washes), and a
harvest is kept clear of it in any case.
"""

from collections.abc import Mapping


def merged(identical: Mapping[str, str], same_index: Mapping[str, str]) -> dict[str, str]:
    """The groups when funds on one index count as identical: everything that hangs together is one group.

    Law      26 USC 1091(a); Pub. 550: facts and circumstances; no ruling on funds seen.
    Omits    indexes that are alike and not the same; one portfolio on two indexes (the last one named counts).

    >>> groups = merged({"VFIAX": "VOO", "GOOG": "alphabet"}, {"VOO": "S&P 500", "SPY": "S&P 500"})
    >>> groups["VFIAX"] == groups["VOO"] == groups["SPY"], groups["GOOG"]
    (True, 'alphabet')
    """
    group = {name: identical.get(name, name) for name in (*identical, *identical.values(), *same_index)}
    for fund, index in sorted(same_index.items()):
        old = group[fund]
        group = {name: f"index {index}" if of == old else of for name, of in group.items()}
    return {name: of for name, of in group.items() if name != of}
