"""The observation document: `report.md` in a study's folder, with its figures and, if asked for, one HTML file.

The same data give the same bytes: nothing here reads a clock, and times are those of the ledger.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from leonids.errors import MissingDependency, OutputError
from leonids.ledger.bundle import write_verifier
from leonids.ledger.disk import make_folder, unreadable, write_whole
from leonids.report import facts, sections
from leonids.report.blocks import FIGURES, REPORT, filled
from leonids.report.escape import markdown
from leonids.report.findings import Findings, gather
from leonids.study.folder import StudyFolder

PAGE = "report.html"

NO_FIGURES = "Figures are not drawn: matplotlib is not installed. `pip install 'leonids[report]'`, then write it again."

NOTE = """<!-- Text between a begin and an end marker is written anew from the data each time.
     Everything else in this file is yours and is kept. -->

"""


def write_report(out: Path, *, html: bool = False) -> Path:
    """Write the report of a study's folder and return its path; ``html`` writes one self-contained file besides.

    A person's words outside the markers are kept. Without matplotlib there are no figures, and the report says
    so. Raises ``OutputError`` for broken markers or a file that cannot be written, before anything is changed;
    ``MissingDependency`` for ``html`` without markdown-it-py.
    """
    if html and find_spec("markdown_it") is None:
        raise MissingDependency(
            "the package 'markdown-it-py' is not installed",
            rule="--html renders Markdown",
            way_out="pip install 'leonids[report]'",
        )
    present = _present(out / REPORT)
    findings = gather(StudyFolder.open(out))
    drawings = _drawings(findings)
    captions = [(f"{FIGURES}/{name}.svg", alt, caption) for name, (alt, caption, _) in drawings.items()]
    text = filled(blocks_of(findings, captions), into=present, name=REPORT)
    if drawings:
        make_folder(out / FIGURES)
    for name, (_, _, svg) in drawings.items():
        write_whole(out / FIGURES / f"{name}.svg", svg)
    write_whole(out / REPORT, text.encode())
    write_verifier(out)
    if html:
        # Only now: the Markdown library is an extra.
        from leonids.report.html import page  # noqa: PLC0415

        images = {f"{FIGURES}/{name}.svg": svg for name, (_, _, svg) in drawings.items()}
        write_whole(out / PAGE, page(text, title=findings.folder.study.title, images=images).encode())
    return out / REPORT


def _present(path: Path) -> str:
    """Return the document as it stands, byte for byte, or the note that begins a new one."""
    try:
        return path.read_bytes().decode() if path.exists() else NOTE
    except OSError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError as error:
        raise OutputError(
            f"{path} is not UTF-8 (byte {error.start})",
            rule="a report that is there is kept, so it must be readable",
            way_out="save it as UTF-8 or move it away",
        ) from None


def _drawings(findings: Findings) -> Mapping[str, tuple[str, str, bytes]]:
    if find_spec("matplotlib") is None:
        return {}
    # Only now: the plotting library is an extra, and slow to load.
    from leonids.report.corridors import predicted  # noqa: PLC0415
    from leonids.report.diagrams import diagrams  # noqa: PLC0415
    from leonids.report.figures import overview  # noqa: PLC0415

    drawn = (*overview(findings), *diagrams(findings), *predicted(findings))
    return {drawing.name: (drawing.alt, drawing.caption, drawing.svg) for drawing in drawn}


def blocks_of(findings: Findings, figures: Sequence[tuple[str, str, str]]) -> dict[str, str]:
    """Return the text of every block in the order of the document; ``figures`` are (path, alt, caption)."""
    hypotheses = {
        f"hypothesis-{number}": sections.hypothesis(findings, name, number)
        for number, name in enumerate(findings.folder.hypotheses, 1)
    }
    checkpoints = {
        f"checkpoint-{100 * at.progress:g}": sections.checkpoint(findings, at) for at in findings.checkpoints
    }
    return {
        "summary": sections.head(findings),
        "loss": sections.explained(findings),
        "figures": _figures(figures),
        **hypotheses,
        "progress": "## Progress Tracking",
        **checkpoints,
        **({"transfer": facts.transfer(findings)} if any(run.transfer for run in findings.folder.runs) else {}),
        "questions": sections.questions(findings),
        "arms": facts.arms(findings),
        "floors": facts.floors(findings),
        "audit": facts.audit(findings),
        "integrity": facts.integrity(findings),
        "next": sections.next_review(findings),
    }


def _figures(figures: Sequence[tuple[str, str, str]]) -> str:
    text = ["## Figures", ""]
    for path, alt, caption in figures:
        text += [f"![{markdown(alt)}]({path})", "", caption, ""]
    return "\n".join(text if figures else [*text, NO_FIGURES]).rstrip("\n")
