"""Commands on data and bases: sample, floor, audit, bases."""

from pathlib import Path
from typing import Annotated

import typer

from leonids.cli.common import HELD_OUT, Json, UniverseName, app, quiet, say, show, tell
from leonids.errors import UsageError

bases_app = typer.Typer(help="List the bases that have a name, or fetch one.", rich_markup_mode=None)
app.add_typer(bases_app, name="bases")


@app.command()
def sample(
    universe: UniverseName,
    n: Annotated[int, typer.Option("-n", min=1, help="How many examples.")] = 10,
    split: Annotated[str | None, typer.Option(help=f"train, {HELD_OUT}; train if absent, all with --to hf.")] = None,
    seed: Annotated[int, typer.Option(help="The stream of examples.")] = 0,
    floor: Annotated[str | None, typer.Option(help="Add floors per token of this base's tokenizer.")] = None,
    to: Annotated[str, typer.Option(help="jsonl, or hf: a folder that datasets.load_dataset reads.")] = "jsonl",
    out: Annotated[Path | None, typer.Option("--out", help="A JSONL file instead of stdout; hf's new folder.")] = None,
) -> None:
    """Write examples of a universe as JSONL, or as a Hugging Face dataset folder.

    Each line has prompt, completion, answer, roles, nats and tags; with --floor its tokens and their floors.
    """
    if to not in {"jsonl", "hf"} or (to == "hf" and out is None):
        raise UsageError(f"--to is {to!r}", rule="it is jsonl, or hf with --out FOLDER")
    if to == "hf" and out is not None:
        quiet()
        from leonids.report.card import write_folder

        write_folder(universe, n=n, split=split, seed=seed, tokenizer=floor, out=out)
        return
    from leonids.report.sampling import write_examples

    write_examples(universe, n=n, split=split or "train", seed=seed, tokenizer=floor, out=out)


@app.command()
def floor(
    universe: UniverseName,
    tokenizer: Annotated[str | None, typer.Option(help="A base whose tokenizer counts the tokens.")] = None,
    base: Annotated[str | None, typer.Option(help="A base whose frozen head is examined too.")] = None,
    tokens: Annotated[str, typer.Option(help="all or answer.")] = "answer",
    as_json: Json = False,
) -> None:
    """Say what no model can beat on a universe.

    The floor of its loss, the ceiling of its match, and with --base what that base's frozen head cannot say.
    """
    from leonids.report.floors import floor_lines, floor_of

    report = floor_of(universe, tokenizer=tokenizer or base or "nano", base=base, tokens=tokens)
    show(report, floor_lines(report), as_json=as_json)


@app.command()
def audit(
    file: Annotated[Path, typer.Argument(help="Examples as JSONL.")],
    against: Annotated[Path | None, typer.Option(help="Other examples: which are in both?")] = None,
    base: Annotated[str | None, typer.Option(help="The base whose tokens, context and frozen head count.")] = None,
    as_json: Json = False,
) -> None:
    """Say of any data set what can be counted, what bounded, what only estimated, and what is unknown."""
    from leonids.report.auditing import audit_lines, audit_of

    found = audit_of(file, against=against, base=base, progress=say)
    show(found, audit_lines(found), as_json=as_json)


@bases_app.callback(invoke_without_command=True)
def bases(context: typer.Context) -> None:
    """List the bases that have a name, or fetch one."""
    if context.invoked_subcommand is None:
        from leonids.floor.base_files import BASES

        for row in BASES:
            tell(f"{row.name:14s} {row.parameters:>12,d} parameters  {row.licence:12s} {row.about}")


@bases_app.command(name="get")
def bases_get(name: Annotated[str, typer.Argument(help="The base to fetch.")]) -> None:
    """Fetch a base once; afterwards it works offline."""
    quiet()
    from leonids.floor.base_files import BASES
    from leonids.train.fetch import get_base

    if name in [row.name for row in BASES]:
        say(f"looking for {name}; what is fetched is kept in the cache")
    tell(str(get_base(name)))
