"""The command line. A command imports its room inside its function, so that ``--help`` loads nothing heavy.

stdout is data, stderr is messages. Exit codes: 0 ok, 1 failure, 2 usage, 3 integrity broken, 4 missing
dependency; ``judge --gate``: 10 refuted, 11 inconclusive, 12 not due, 13 void; 130 on interrupt.
"""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from leonids.errors import LeonidsError, OutputError, UsageError, missing_dependency

app = typer.Typer(
    name="leonids",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
bases_app = typer.Typer(help="List the bases that have a name, or fetch one.", rich_markup_mode=None)
app.add_typer(bases_app, name="bases")

Out = Annotated[Path, typer.Option("--out", help="Folder for everything that is written.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Study = Annotated[str, typer.Argument(help="A shipped study's name, or a study.yaml.")]
UniverseName = Annotated[str, typer.Argument(help="A shipped universe's name, or a YAML file.")]
Folder = Annotated[Path, typer.Argument(help="A study's output folder.")]
GATE = {"refuted": 10, "inconclusive": 11, "not_due": 12, "void": 13}


def say(text: str) -> None:
    """Print a message to stderr."""
    typer.echo(text, err=True)


def put(value: Any) -> None:
    """Print JSON to stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def show(found: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """Print what was found as JSON, or as lines."""
    typer.echo(json.dumps(found, ensure_ascii=False, allow_nan=False) if as_json else "\n".join(lines))


def _share(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UsageError(f"--at is {text!r}", rule="it is a share of the run such as 30% or 0.3")
    return share


def _quiet() -> None:
    """Keep libraries' bars and advice out of this process's messages; what they raise still comes out."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")


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
def register(study: Study, out: Out) -> None:
    """Lock a study's predictions without running it."""
    from leonids.spec import find_study, load_study
    from leonids.study.conduct import register as lock
    from leonids.study.plan import Choices, make_plan

    path = find_study(study)
    ledger = lock(make_plan(load_study(path), Choices(), beside=path.parent), out)
    typer.echo(f"{ledger.head().count} {ledger.head().sha256}")


@app.command()
def sample(
    universe: UniverseName,
    n: Annotated[int, typer.Option("-n", min=1, help="How many examples.")] = 10,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    seed: Annotated[int, typer.Option(help="The stream of examples.")] = 0,
    floor: Annotated[str | None, typer.Option(help="Add floors per token of this base's tokenizer.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A JSONL file instead of stdout.")] = None,
) -> None:
    """Write examples of a universe as JSONL.

    Each line has prompt, completion, answer, roles, nats and tags; with --floor its tokens and their floors.
    """
    from leonids.report.sampling import write_examples

    write_examples(universe, n=n, split=split, seed=seed, tokenizer=floor, out=out)


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


@app.command()
def judge(
    folder: Folder,
    at: Annotated[str | None, typer.Option(help="The progress to judge at, such as 30%.")] = None,
    gate: Annotated[bool, typer.Option("--gate", help="Exit 10-13 for the worst verdict.")] = False,
    as_json: Json = False,
) -> None:
    """Judge a folder's predictions; write nothing.

    With --gate: 10 refuted, 11 inconclusive, 12 not due, 13 void, the first of them that occurs.
    """
    from leonids.report.tables import print_verdicts
    from leonids.study.conduct import judge_folder, verdict_json
    from leonids.study.folder import StudyFolder

    study = StudyFolder.open(folder)
    share = _share(at)
    verdicts = judge_folder(study, at=share if share is not None else (None if study.closed else study.progress_frac))
    if as_json:
        put([verdict_json(verdict) for verdict in verdicts])
    else:
        print_verdicts(verdicts, predictions=study.study.predictions)
    if gate:
        codes = [GATE[verdict.word] for verdict in verdicts if verdict.word in GATE]
        raise typer.Exit(min(codes, default=0))


@app.command()
def lint(reference: Annotated[str, typer.Argument(help="A study or a universe.")], as_json: Json = False) -> None:
    """Say what is wrong with a study or a universe."""
    from leonids.report.linting import lint_reference

    findings = lint_reference(reference)
    said = [str(finding) for finding in findings] or ["nothing found"]
    show([finding.to_json() for finding in findings], said, as_json=as_json)
    if any(finding.refuses for finding in findings):
        raise typer.Exit(1)


@app.command()
def verify(
    folder: Folder,
    rederive: Annotated[bool, typer.Option("--rederive", help="Judge again and compare every byte.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="First remove a last ledger line cut by a crash.")] = False,
    as_json: Json = False,
) -> None:
    """Check that a folder is what was written, and say what that proves; exit 3 where something is broken."""
    from dataclasses import asdict

    from leonids.report.checking import check, mend

    if repair:
        say(mend(folder))
    report, problems = check(folder, rederive=rederive)
    show(asdict(report) | {"problems": problems}, report.lines(), as_json=as_json)
    if rederive and not report.problems and not as_json:
        typer.echo("\n".join(f"BROKEN   {p}" for p in problems) or "checked  each verdict follows from the files")
    if problems:
        raise typer.Exit(3)


@app.command()
def explain(
    folder: Folder,
    run_name: Annotated[str | None, typer.Option("--run", help="One run instead of all.")] = None,
    as_json: Json = False,
) -> None:
    """Say where a run's loss comes from."""
    from dataclasses import asdict

    from leonids.report.explain import explain as explain_run
    from leonids.report.explain import lines
    from leonids.study.folder import StudyFolder

    study = StudyFolder.open(folder)
    found = [explain_run(study, name) for name in ([run_name] if run_name else [run.run for run in study.runs])]
    text = "\n\n".join("\n".join(lines(explanation)) for explanation in found)
    show([asdict(explanation) for explanation in found], [text], as_json=as_json)


@app.command()
def report(
    folder: Folder, html: Annotated[bool, typer.Option("--html", help="One self-contained HTML file too.")] = False
) -> None:
    """Write the observation document of a folder; words outside its markers stay as they are."""
    from leonids.report.document import write_report

    typer.echo(str(write_report(folder, html=html)))


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
    split: Annotated[str, typer.Option(help="validation or test.")] = "test",
    n: Annotated[int, typer.Option("-n", min=1, help="How many examples.")] = 500,
    base: Annotated[str | None, typer.Option(help="The base, where the adapter does not say.")] = None,
    as_json: Json = False,
) -> None:
    """Measure an adapter, or a bare base, on a universe."""
    _quiet()
    from leonids.study.single import evaluate_adapter

    found = evaluate_adapter(adapter, universe=universe, split=split, n=n, base=base)
    show(found.to_json(), found.lines(), as_json=as_json)


@app.command()
def pretrain(
    out: Out = Path("nano"),
    steps: Annotated[int | None, typer.Option(min=1, help="Fewer or more steps than the recipe.")] = None,
) -> None:
    """Train the shipped base anew by its recipe; it goes on where it was stopped."""
    _quiet()
    from dataclasses import replace

    from leonids.train.pretrain import Recipe
    from leonids.train.pretrain import pretrain as train_base

    recipe = Recipe() if steps is None else replace(Recipe(), steps=steps)
    train_base(out, recipe, report=say)


@bases_app.callback(invoke_without_command=True)
def bases(context: typer.Context) -> None:
    """List the bases that have a name, or fetch one."""
    if context.invoked_subcommand is None:
        from leonids.floor.base_files import BASES

        for row in BASES:
            typer.echo(f"{row.name:14s} {row.parameters:>12,d} parameters  {row.licence:12s} {row.about}")


@bases_app.command(name="get")
def bases_get(name: Annotated[str, typer.Argument(help="The base to fetch.")]) -> None:
    """Fetch a base once; afterwards it works offline."""
    _quiet()
    from leonids.floor.base_files import BASES
    from leonids.train.fetch import get_base

    if name in [row.name for row in BASES]:
        say(f"looking for {name}; what is fetched is kept in the cache")
    typer.echo(str(get_base(name)))


@app.command()
def serve(
    folder: Folder,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="8757 or a free one if absent.")] = None,
    host: Annotated[str, typer.Option(help="An address of this machine; not encrypted beyond it.")] = "127.0.0.1",
) -> None:
    """Show a folder in a browser, live; Ctrl-C ends the page, not the run."""
    from leonids.web.serve import serve as serve_folder

    serve_folder(folder, host=host, port=port)


@app.command()
def watch(folder: Folder) -> None:
    """Follow a folder's runs in the terminal; Ctrl-C ends the watching, not the runs."""
    from leonids.report.watch import watch as watch_folder

    watch_folder(folder)


@app.command()
def doctor() -> None:
    """Say what is installed and what is missing."""
    from leonids.report.doctor import report_lines

    typer.echo("\n".join(report_lines()))


def _fail(error: LeonidsError) -> NoReturn:
    say(f"error: {error}")
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
