"""What the commands share: the application itself, options of several commands, and the two ways to speak."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from leonids.report.escape import for_terminal, json_text

app = typer.Typer(
    name="leonids",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Out = Annotated[Path, typer.Option("--out", help="Folder for everything that is written.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Study = Annotated[str, typer.Argument(help="A shipped study's name, or a study.yaml.")]
HELD_OUT = "validation, test, or transfer:composition, deeper, longer, renamed, related or gym"
"""The splits beside train, for ``--help``; a test holds them against ``universe.splits``."""

Scale = Annotated[str | None, typer.Option(help="nano, small or full.")]
Base = Annotated[str | None, typer.Option(help="A base: a name, a folder or a Hugging Face id.")]
Arms = Annotated[str | None, typer.Option(help="Only these arms, separated by commas.")]
Steps = Annotated[int | None, typer.Option(help="Optimizer steps of each run.")]
UniverseName = Annotated[str, typer.Argument(help="A shipped universe's name, or a YAML file.")]
Folder = Annotated[Path, typer.Argument(help="A study's output folder.")]


def listed(text: str | None) -> tuple[str, ...] | None:
    """Return the names in a text with commas between them; None where none is given."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def say(text: str) -> None:
    """Print a message to stderr."""
    typer.echo(for_terminal(text), err=True)


def tell(text: str) -> None:
    """Print text to stdout."""
    typer.echo(for_terminal(text))


def put(value: Any) -> None:
    """Print JSON to stdout."""
    typer.echo(json_text(value))


def show(found: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """Print what was found as JSON, or as lines."""
    if as_json:
        put(found)
    else:
        tell("\n".join(lines))


def quiet() -> None:
    """Keep libraries' bars and advice out of this process's messages; what they raise still comes out."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")
