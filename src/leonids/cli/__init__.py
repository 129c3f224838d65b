"""The command line. A command imports its room inside its function, so that ``--help`` loads nothing heavy.

stdout is data, stderr is messages. Exit codes: 0 ok, 1 failure, 2 usage, 3 integrity broken, 4 missing
dependency; ``judge --gate``: 10 refuted, 11 inconclusive, 12 not due, 13 void; 130 on interrupt.
"""

import os
import sys
from typing import Annotated, NoReturn

import typer

# Importing a file of commands adds them to the application, in the order of ``--help``.
# isort: off
from leonids.cli import training
from leonids.cli import data
from leonids.cli import claims
from leonids.cli import seeing

# isort: on
from leonids.cli.common import app, say
from leonids.errors import LeonidsError, OutputError, missing_dependency
from leonids.report.escape import MOST_LINE, visible

__all__ = ["app", "claims", "data", "main", "seeing", "training"]


def _version(*, asked: bool) -> None:
    if asked:
        from leonids import __version__

        typer.echo(f"leonids {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=lambda asked: _version(asked=asked), help="Say which.")
    ] = False,
) -> None:
    """What is this fine-tuning run really telling me?"""


def _fail(error: LeonidsError) -> NoReturn:
    say(f"error: {visible(str(error), most=MOST_LINE)}")
    sys.exit(error.exit_code)


def _unwritable(error: OSError) -> OutputError:
    """Return the error for an operating system's refusal that no room foresaw: a full stdout, say."""
    # What Python still holds for stdout would fail once more when it exits, with a traceback.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    where = error.filename or "the output"
    return OutputError(f"{where} ({error.strerror or error})", rule="the system refused to read or write it")


def main() -> None:
    """Run the command line: the one place where errors become exit codes."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except LeonidsError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "leonids":
            raise
        _fail(missing_dependency(error))
    except BrokenPipeError:
        # The reader has what it wanted, as in `leonids sample consistent | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(_unwritable(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
