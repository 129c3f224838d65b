"""Commands that train or measure: demo, run, train, eval, pretrain."""

from pathlib import Path
from typing import Annotated

import typer

from leonids.cli.common import HELD_OUT, Json, Out, Study, app, quiet, say, show


@app.command()
def demo(out: Out = Path("demo")) -> None:
    """Run the study `smoke` end to end."""
    from leonids.report.conclude import run_study

    run_study("smoke", out=out, resume=(out / "ledger.jsonl").is_file())


@app.command()
def run(
    study: Study,
    scale: Annotated[str | None, typer.Option(help="nano, small or full.")] = None,
    base: Annotated[str | None, typer.Option(help="A base: a name, a folder or a Hugging Face id.")] = None,
    arms: Annotated[str | None, typer.Option(help="Only these arms, separated by commas.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps of each run.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results; runs/STUDY if absent.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a study that was stopped.")] = False,
) -> None:
    """Lock a study's predictions, train, judge, report."""
    from leonids.report.conclude import run_study
    from leonids.study.plan import Choices

    chosen = tuple(arm.strip() for arm in arms.split(",") if arm.strip()) if arms is not None else None
    choices = Choices(scale=scale, base=base, arms=chosen, steps=steps)
    run_study(study, out=out, resume=resume, choices=choices)


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
