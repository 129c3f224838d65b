"""Commands that show a folder: explain, report, serve, watch; and the installation: doctor."""

from pathlib import Path
from typing import Annotated

import typer

from leonids.cli.common import Folder, Json, app, show, tell


@app.command()
def explain(
    path: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="A study's folder, a run's in it, or a file there.")],
    run_name: Annotated[str | None, typer.Option("--run", help="One run instead of all.")] = None,
    as_json: Json = False,
) -> None:
    """Say where a run's loss comes from."""
    from dataclasses import asdict

    from leonids.report.explain import explain as explain_run
    from leonids.report.explain import lines, located
    from leonids.study.cases import case_lines
    from leonids.study.folder import StudyFolder

    folder, inside = located(path)
    study = StudyFolder.open(folder)
    runs = [run.run for run in study.runs]
    chosen = run_name or (inside if inside in runs else "")
    found = [explain_run(study, name) for name in ([chosen] if chosen else runs)]
    text = "\n\n".join("\n".join(lines(explanation)) for explanation in found)
    if chosen:
        text = "\n".join([text, *case_lines(found[0].cases)])
    show([asdict(explanation) for explanation in found], [text], as_json=as_json)


@app.command()
def report(
    folder: Folder, html: Annotated[bool, typer.Option("--html", help="One self-contained HTML file too.")] = False
) -> None:
    """Write the observation document of a folder; words outside its markers stay as they are."""
    from leonids.report.document import write_report

    tell(str(write_report(folder, html=html)))


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

    tell("\n".join(report_lines()))
