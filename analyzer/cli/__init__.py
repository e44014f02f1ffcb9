"""The command line: parses, calls, prints. Results on standard output, talk on standard error.

In: arguments. Out: tables and sentences on standard output, files, exit status. Never decides anything.

Each group of commands is a module here, `options` what they share, `helping` how they present themselves, `complaints` what is
said of mistakes. Exit status: 0 done; 1 done, and a difference was found
(`verify`; `diff` and `whatif` with `--check`); 2 wrong usage; 3 some input unreadable, the rest reported; 4 nothing usable, or
a needed program is missing; 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from analyzer import __version__
from analyzer.cli import analyze, doctor, evidence, policy, report, results, verify, whatif
from analyzer.cli.complaints import complaint
from analyzer.cli.helping import PROGRAM, command_of, examples
from analyzer.cli.options import DONE, INTERRUPTED, NOTHING_USABLE, WRONG_USAGE, say
from analyzer.errors import AnalyzerError, UsageError

READER_GONE = 141
"""128 and SIGPIPE: what a shell makes of a program that is ended by writing to a closed pipe."""

EXAMPLES = examples(
    ("Who depends on null sessions, by these captures", "analyze captures/"),
    ("The same for a spreadsheet, with all tables", "analyze captures/ -o results/"),
    ("What is installed", "doctor"),
    ("Completion of commands and names in your shell", "--install-completion"),
)

app = typer.Typer(
    help="Find out, from packet captures, which clients and applications depend on SMB null sessions.",
    no_args_is_help=True,
    epilog=EXAMPLES,
    pretty_exceptions_enable=False,
)


def run() -> None:
    """The entry point: turns errors and interrupts into one line and an exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Captures hold names that not every terminal or redirected output has the characters for.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        # typer catches what ends a command, Ctrl-C too, and returns its status.
        status = command_of(app)(prog_name=PROGRAM, standalone_mode=False) or DONE
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except UsageError as problem:
        say(str(problem))
        status = WRONG_USAGE
    except AnalyzerError as problem:
        say(str(problem))
        status = NOTHING_USABLE
    except (BrokenPipeError, SystemExit) as stop:
        # rich and typer make SystemExit(1) of a closed pipe, and 1 says that a difference was found.
        if isinstance(stop, SystemExit) and not isinstance(stop.__context__, BrokenPipeError):
            raise
        _drop_output()
        status = READER_GONE
    except OSError as problem:
        if problem.filename is None:
            _drop_output()
        say(f"{problem.filename or 'standard output'}: {problem.strerror or problem}")
        status = NOTHING_USABLE
    except Exception as problem:
        # What typer's parser raises carries its own message and status. Without a message it has shown the help.
        if not hasattr(problem, "format_message"):
            raise
        if message := complaint(problem):
            say(message)
        status = getattr(problem, "exit_code", WRONG_USAGE)
    if status == INTERRUPTED:
        say("interrupted")
    sys.exit(status)


def _drop_output() -> None:
    """What is left for standard output goes nowhere: Python would complain once more when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version(asked: bool) -> None:
    if asked:
        print(f"nullsession {__version__}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version


app.callback()(_common)
app.command(epilog=analyze.ANALYZE_EXAMPLES)(analyze.analyze)
app.command("tables", epilog=analyze.TABLES_EXAMPLES)(analyze.print_table)
app.command(epilog=report.EXAMPLES)(report.report)
app.command(epilog=verify.EXAMPLES)(verify.verify)
app.command("slice", epilog=evidence.SLICE_EXAMPLES)(evidence.slice_)
app.command(epilog=evidence.EXPORT_EXAMPLES)(evidence.export)
app.command(epilog=results.MERGE_EXAMPLES)(results.merge)
app.command(epilog=results.DIFF_EXAMPLES)(results.diff)
app.command(epilog=doctor.EXAMPLES)(doctor.doctor)
app.command(epilog=whatif.WHATIF_EXAMPLES)(whatif.whatif)
app.command(epilog=whatif.RECOMMEND_EXAMPLES)(whatif.recommend)
app.add_typer(policy.app, name="policy")
