"""The `thresher` command. Thin: it reads arguments, calls one function, prints, and explains errors.

Nothing heavy is imported before it is needed: `thresher --help` and `thresher lots` are answered at once.
"""

import argparse
import atexit
import os
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.settings import Settings

DESCRIPTION = "A household's investments and small business, after tax. Orders are dry runs until you say otherwise."
EPILOG = """examples:
  thresher demo                          a whole trading day of the household that comes with Thresher
  thresher run                           the same for your own household (THRESHER_HOME/portfolio.toml)
  thresher run --from 2025-01-02 --to 2025-03-31   book past sessions; never orders
  thresher lots trades.csv --out books   lots, disposals and wash sales of one file
  thresher ask                           the questions people really ask
  thresher sql "FROM mart.lot_ladder"    any question, on the published snapshot

THRESHER_HOME (by default ~/.thresher) holds everything: warehouse, snapshot, reports, Prefect's own files."""


def entry() -> None:
    """The console script: leave as soon as everything that others registered for the exit is done.

    Prefect keeps threads alive to the end, and DuckDB's bindings then report every object that they still see as a
    leak: forty lines after the summary that a person wants to read. What is registered first runs last.
    """
    code = [1]

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code[0])

    atexit.register(leave)
    try:
        code[0] = main()
    except SystemExit as wrong:  # argparse: 0 for --help, 2 for wrong words
        code[0] = wrong.code if isinstance(wrong.code, int) else 1
    except KeyboardInterrupt:
        code[0] = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except BrokenPipeError:  # the reader of our output has gone, `thresher sql … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as wrong:
        if type(wrong).__name__ not in _EXPLAINED:
            raise
        print(f"thresher: {wrong}", file=sys.stderr)
        return 1


# Errors that say themselves what was expected and what to do; any other is a fault of ours and shows its trace.
_EXPLAINED = (
    "SettingsError", "Locked", "CalendarEnded", "LawMissing", "LawInvalid", "UnbalancedBooks", "Unavailable", "NotThere",
    "NotApproved", "Expired", "Unreadable",
)  # fmt: skip


class NotThere(Exception):
    """What was asked for does not exist yet; the message says how to make it."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "thresher", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(command=command)
        return made

    demo = add("demo", _demo, "run a whole trading day of the demo household, on real prices")
    run = add("run", _run, "run the day of your own household")
    for made in (demo, run):
        made.add_argument("--as-of", type=_day, metavar="DATE", help="the last completed session (default: today's)")
        made.add_argument("--no-prefect", action="store_true", help="without Prefect: quicker, and not in its UI")
    run.add_argument(
        "--from", dest="first", type=_day, metavar="DATE", help="with --to: book past sessions, never order"
    )
    run.add_argument("--to", dest="last", type=_day, metavar="DATE")
    run.add_argument("--prices", type=Path, metavar="DIR", help="a folder of real prices instead of the source named")
    lots = add("lots", _lots, "book one file of trades: disposals, open lots, wash sales, rejects")
    lots.add_argument("file", type=Path, metavar="TRADES.csv")
    lots.add_argument("--out", type=Path, required=True, metavar="DIR")
    lots.add_argument(
        "--identical", type=Path, metavar="FILE", help="security_id,group_id: substantially identical ones"
    )
    lots.add_argument("--as-of", type=_day, metavar="DATE", help="default: the last day of the file")
    lots.add_argument("--strict", action="store_true", help="exit with 2 when a row was rejected")
    lots.add_argument(
        "--policy",
        type=_answer,
        action="append",
        default=[],
        metavar="FLAG=VALUE",
        help="answer an open question of law otherwise than sql/law/policy.csv does; may be repeated",
    )
    ask = add("ask", _ask, "ask a ready question; without a name, list them")
    ask.add_argument("name", nargs="?")
    sql = add("sql", _sql, "run a query on the published snapshot")
    sql.add_argument("query")
    report = add("report", _report, "where the report of a tax year is, written anew")
    report.add_argument("year", type=int)
    approve = add("approve", _approve, "what waits for your yes; with BATCH, DIGEST and an answer: say it")
    approve.add_argument("batch", nargs="?", metavar="BATCH")
    approve.add_argument("digest", nargs="?", metavar="DIGEST", help="of the lines that you saw")
    approve.add_argument("verdict", nargs="?", choices=("accept", "refuse", "edit"))
    approve.add_argument("--edit", default="", metavar="LINE=SHARES,...", help="3=0 leaves line 3 out")
    approve.add_argument("--note", default="")
    order = add(
        "order",
        _order,
        "your own orders: a CSV of account,side,symbol,quantity; every gate looks at them before they are sent",
    )
    order.add_argument("file", type=Path, metavar="ORDERS.csv")
    order.add_argument("--check", action="store_true", help="say what they would realise and wash; decide nothing")
    scan = add("scan", _scan, "look at live prices once, in market hours; what is new is decided")
    execute = add(
        "execute", _execute, "go on with the decision: gates, orders, fills; what `make serve` does by itself"
    )
    doctor = add("doctor", _doctor, "exit with 1 when the last booked session is behind")
    doctor.add_argument("--ping", metavar="URL", help="an address to call when all is well (a dead man's switch)")
    for made in (approve, ask, execute, order, scan, sql, report, doctor):
        made.add_argument("--demo", action="store_true", help="the demo household, your own is there as well")
    return parser


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2022-10-14") from None


def _answer(text: str) -> tuple[str, str]:
    flag, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not FLAG=VALUE")
    return flag.strip(), value.strip()


def _demo(options: argparse.Namespace) -> int:
    from flows.settings import load

    return _one_day(options, load(demo=True), is_demo=True)


def _run(options: argparse.Namespace) -> int:
    from flows.settings import load

    settings = load(options.prices)
    if options.first or options.last:
        if not (options.first and options.last) or options.as_of:
            raise NotThere("--from and --to go together, and without --as-of")
        from flows.daily import backfill

        count = backfill(settings, options.first, options.last)
        print(
            f"{count} sessions from {options.first} to {options.last} booked and measured; nothing was decided or ordered"
        )
        return 0
    return _one_day(options, settings, is_demo=False)


def _one_day(options: argparse.Namespace, settings: "Settings", *, is_demo: bool) -> int:
    """With Prefect the flow runs under a server, a running one or its own; without, the same stations directly."""
    if options.no_prefect:
        from flows.daily import daily

        print(daily(settings, options.as_of).summary.plain())
        return 0
    from flows.prefect_home import configure
    from flows.settings import home

    configure(home())
    print("starting Prefect (the first time it makes its database: up to 40 s) ...", file=sys.stderr, flush=True)
    from flows import deployments
    from flows.show import run_flow

    made = deployments.demo if is_demo else deployments.daily
    prices = str(options.prices.absolute()) if getattr(options, "prices", None) else None
    return run_flow(made, settings, options.as_of, prices)


def _lots(options: argparse.Namespace) -> int:
    from flows.lots_door import run

    return run(options.file, options.out, options.identical, options.as_of, options.strict, dict(options.policy))


def _ask(options: argparse.Namespace) -> int:
    from warehouse.build import sql_folder

    files = sorted((sql_folder() / "ask").glob("*.sql"))
    if options.name is None:
        for file in files:
            print(f"{file.stem:<32} {file.read_text(encoding='utf-8').splitlines()[0][3:]}")
        return 0
    for file in files:
        if file.stem == options.name:
            options.query = file.read_text(encoding="utf-8")
            return _sql(options)
    raise NotThere(f"there is no question {options.name!r}; thresher ask lists them")


def _sql(options: argparse.Namespace) -> int:
    from flows.show import print_rows

    return print_rows(_household(options), options.query)


def _report(options: argparse.Namespace) -> int:
    from flows.show import write_report

    return write_report(_household(options), options.year)


def _scan(options: argparse.Namespace) -> int:
    from flows.day import REAL
    from flows.intraday import intraday

    print(intraday(_household(options), REAL.now()))
    return 0


def _approve(options: argparse.Namespace) -> int:
    from flows import approvals

    settings = _household(options)
    if options.batch is None:
        asked = approvals.waiting(settings)
        print(
            "\n\n".join(f"{one.markdown}\n\n  thresher approve {one.batch_id} {one.batch_hash} accept" for one in asked)
            or "nothing waits for you"
        )
        return 0
    if not options.verdict:
        raise NotThere("say BATCH, DIGEST and accept, refuse or edit; thresher approve alone shows what waits")
    said = approvals.answer(settings, options.batch, options.digest, options.verdict, options.edit, options.note)
    then = (
        "it takes its place and waits for your yes"
        if said != options.batch
        else f"{approvals.VERDICTS[options.verdict]}"
    )
    sent = "; it is sent in its session by make serve, or by thresher execute" if options.verdict == "accept" else ""
    print(f"{said}: {then}{sent}")
    return 0


def _execute(options: argparse.Namespace) -> int:
    from flows.daily import final

    done = final(_household(options))
    print(done.summary.plain() if done else "nothing is decided for the session that comes: thresher run first")
    return 0


def _order(options: argparse.Namespace) -> int:
    from flows.hand import order

    print(order(_household(options), options.file, only_check=options.check))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from flows.doctor import examine

    return examine(_household(options), options.ping)


def _household(options: argparse.Namespace) -> "Settings":
    """The household that a question is about: your own, or the demo when asked for or when it is the only one."""
    from flows.settings import home, load

    is_demo = options.demo or not (home() / "portfolio.toml").exists()
    settings = load(demo=is_demo)
    if not settings.snapshot.exists():
        raise NotThere(f"nothing has been booked yet: thresher {'demo' if is_demo else 'run'} first")
    if is_demo and not options.demo:
        print("(the demo household; there is no portfolio.toml of your own)", file=sys.stderr)
    return settings


if __name__ == "__main__":
    entry()
