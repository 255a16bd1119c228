"""A local Alpaca: a broker of its own on loopback that speaks Alpaca's trading and market-data REST interface.

`python -m tests.fake_alpaca --journal FILE` (or `make fake-alpaca`) prints where it listens and the keys of its accounts;
alpaca-py works against it unmodified (`url_override`). What it is told, does and pays is in one append-only journal, and
it stands where it stood when it is started again on it.

    journal.py   the file; shares and cash recomputed from nothing else
    market.py    when the exchange trades, and what a security trades at
    books.py     accounts, lots, orders: what the journal's lines make of them
    orders.py    which orders are taken
    trading.py   when they are filled; the clock
    actions.py   what companies do, and options that end
    bodies.py    the answers' bodies, field by field
    history.py   activities: filtered and paged
    quotes.py    bars, quotes, trades, snapshots
    routes.py    which request does what
    controls.py  the same for the person at the controls: `/_admin`
    faults.py    faults on demand
    server.py    HTTP
    running.py   the whole of it as a process, for tests
"""
