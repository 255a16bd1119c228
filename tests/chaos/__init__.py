"""Bad days: a household trades at the local Alpaca while everything that can fail does, drawn from a seed.

The problem: that no order is placed twice and no fill is lost or booked twice is claimed for every moment at which
anything may stop. A test tries the moments that somebody thought of. The choice: let days go by, each with the real
processes of the evening and of the morning, kill them and break what is around them at every boundary that there is, and
then read the broker's own journal, which knows nothing of Thresher, and compare.

`python -m tests.chaos --days 1000 --seed 1` runs worlds of 40 days each, world k of it with the seed 1.k; `--seed 1.7` runs
that world alone and prints the same again. Production code has no hooks for this: they are put in by the child (hooks.py).

    world.py      the household, its prices and its broker, a process of its own
    process.py    work in a process that may die
    hooks.py      the boundaries of a process, and what happens to it there
    faults.py     which fault a step meets
    steps.py      what a process does: the evening, the morning, a person's orders
    days.py       a world, day by day
    truth.py      what the broker's journal says
    check.py      the books against it
    bugs.py       faults planted on purpose, to see that each is found
"""
