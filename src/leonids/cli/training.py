"""Commands that train or measure: demo, run, train, eval, pretrain."""

from pathlib import Path
from typing import Annotated

import typer

from leonids.cli.common import (
    HELD_OUT,
    Arms,
    Base,
    Folder,
    Json,
    Out,
    Scale,
    Steps,
    Study,
    app,
    listed,
    quiet,
    say,
    show,
)


@app.command()
def demo(out: Out = Path("demo")) -> None:
    """Run the study `smoke` end to end; stopped, the same command goes on."""
    from leonids.report.conclude import run_study

    run_study("smoke", out=out, resume=None)


@app.command()
def run(
    study: Study,
    scale: Scale = None,
    base: Base = None,
    arms: Arms = None,
    steps: Steps = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results; runs/STUDY if absent.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a study that was stopped.")] = False,
) -> None:
    """Lock a study's predictions, train, judge, report."""
    from leonids.report.conclude import run_study
    from leonids.study.plan import Choices

    choices = Choices(scale=scale, base=base, arms=listed(arms), steps=steps)
    run_study(study, out=out, resume=resume, choices=choices)


@app.command()
def join(
    folder: Folder,
    writer: Annotated[str, typer.Option("--writer", help="A name for this machine: its chain is writers/NAME.")],
    arms: Annotated[str, typer.Option("--arms", help="The arms to train here, separated by commas.")],
) -> None:
    """Train arms of a locked study on a folder that machines share; stopped, the same command goes on.

    `leonids run` with --resume, on one machine, trains what nobody has claimed, waits for the rest, and judges.
    """
    from leonids.report.conclude import join_study

    join_study(folder, writer=writer, arms=listed(arms) or ())


@app.command()
def train(
    run_file: Annotated[Path, typer.Argument(help="A run as YAML (see docs/house.md).")],
    out: Out = Path("runs/single"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
) -> None:
    """Train one run without predictions."""
    from leonids.report.conclude import train_run

    train_run(run_file, out=out, resume=resume)


@app.command(name="eval")
def evaluate(
    adapter: Annotated[Path, typer.Argument(help="An adapter folder in PEFT's format, or a base's name.")],
    universe: Annotated[str, typer.Option(help="A shipped universe's name, or a YAML file.")],
    split: Annotated[str, typer.Option(help=f"{HELD_OUT}.")] = "test",
    n: Annotated[int, typer.Option("-n", min=1, help="How many examples.")] = 500,
    base: Annotated[str | None, typer.Option(help="The base, where the adapter does not say.")] = None,
    as_json: Json = False,
) -> None:
    """Measure an adapter, or a bare base, on a universe."""
    quiet()
    from leonids.study.single import evaluate_adapter

    found = evaluate_adapter(adapter, universe=universe, split=split, n=n, base=base)
    show(found.to_json(), found.lines(), as_json=as_json)


@app.command()
def pretrain(
    out: Out = Path("nano"),
    steps: Annotated[int | None, typer.Option(min=1, help="Fewer or more steps than the recipe.")] = None,
) -> None:
    """Train the shipped base anew by its recipe; it goes on where it was stopped."""
    quiet()
    from dataclasses import replace

    from leonids.train.pretrain import Recipe
    from leonids.train.pretrain import pretrain as train_base

    recipe = Recipe() if steps is None else replace(Recipe(), steps=steps)
    train_base(out, recipe, report=say)
