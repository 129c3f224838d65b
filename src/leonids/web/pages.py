"""What each page holds, gathered for its template: text and numbers, never markup of a file's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, final

from leonids.claims.cards import card_of
from leonids.claims.prediction import Prediction
from leonids.errors import LeonidsError, UsageError
from leonids.ledger.entry import Entry
from leonids.ledger.registered import registered
from leonids.report.blocks import filled
from leonids.report.claimed import claimed, consequence, found, measured, word_of
from leonids.report.document import FIGURES, REPORT
from leonids.report.escape import visible_lines
from leonids.report.explain import lines
from leonids.report.findings import Findings
from leonids.report.html import rendered
from leonids.report.sections import STATUS_ICONS
from leonids.report.tables import run_rows
from leonids.study.setting import setting_of
from leonids.web.chart import MOST_POINTS, Chart, table, thinned
from leonids.web.charts import HELD_OUT, SMOOTHINGS, TOKENS, TRAINED, Asked, arms_of, chart_named, chosen_prediction
from leonids.web.drawing import svg
from leonids.web.series import AXES
from leonids.web.shelf import Shelf

Context = Mapping[str, Any]

GRAPH = f"{FIGURES}/graph.svg"

WAIT = "<p>The reviews are being read; this appears when they are.</p>"


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """A chart on a page: its drawing, its table, and the addresses of its data."""

    name: str
    chart: Chart
    drawing: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    query: tuple[tuple[str, str], ...]
    live: bool


def asked_of(query: Mapping[str, str]) -> Asked:
    """Return what a query asks for; what it does not name has its default. Raises ``UsageError``."""
    given: dict[str, Any] = {}
    for field in fields(Asked):
        text = query.get(field.name)
        if text is None or text == "":
            continue
        if field.name in ("at", "smooth", "full"):
            if not (text.isascii() and text.isdigit() and len(text) < 7):
                raise UsageError(f"{field.name} is {text[:40]!r}", rule="a whole number")
            given[field.name] = bool(int(text)) if field.name == "full" else int(text)
        else:
            given[field.name] = text
    return Asked(**given)


def shown(shelf: Shelf, findings: Findings, name: str, asked: Asked) -> Shown:
    """Return a chart ready for a page; one with more points than can be seen is thinned unless all are asked for."""
    whole = chart_named(name)(shelf, findings, asked)
    drawn = whole if asked.full else thinned(whole, most=MOST_POINTS)
    header, rows = table(whole)
    default = Asked()
    query = tuple(
        (field.name, str(int(value) if isinstance(value, bool) else value))
        for field in fields(Asked)
        if (value := getattr(asked, field.name)) != getattr(default, field.name)
    )
    return Shown(name, drawn, svg(drawn), header, rows, query, live=not whole.stacks)


def document(text: str, *, images: Mapping[str, bytes] | None = None) -> str:
    """Return Markdown of the report's own as markup; raw HTML in it stays text."""
    return rendered(visible_lines(text), images=images or {})


def section(shelf: Shelf, name: str) -> str:
    """Return a section of the report as markup."""
    blocks = shelf.blocks()
    return WAIT if blocks is None else document(blocks[name])


def board(shelf: Shelf, findings: Findings, query: Mapping[str, str]) -> Context:
    """Return the first page: what the loss is made of, hypotheses and verdicts, questions, what is due next."""
    first = {run.arm: run.run for run in reversed(findings.folder.runs)}
    explained = [one for one in findings.explanations if one.run == first[one.arm]]
    ahead = next((at for at in findings.checkpoints if not at.reached), None)
    images = _figures(shelf)
    return {
        "hypotheses": [
            {
                "name": name,
                "said": said,
                "status": findings.statuses[name],
                "icon": STATUS_ICONS[findings.statuses[name].word],
                "rows": [_row(findings, prediction) for prediction in said.predictions],
            }
            for name, said in findings.folder.hypotheses.items()
        ],
        "questions": list(zip(findings.folder.questions, findings.answers, strict=True)),
        "explained": "\n\n".join("\n".join(lines(one)) for one in explained),
        "progress": shelf.progress(),
        "ahead": ahead,
        "graph": document(f"![What rests on what]({GRAPH})", images={GRAPH: images[GRAPH]}) if GRAPH in images else "",
    }


def _row(findings: Findings, prediction: Prediction) -> Context:
    verdict = findings.verdicts.get(prediction.id)
    return {
        "at": findings.predictions.index(prediction),
        "prediction": prediction,
        "judged": verdict,
        "word": word_of(verdict),
        "claimed": claimed(prediction),
        "found": "" if verdict is None else found(verdict, prediction),
        "due": f"{100 * prediction.measure.due:g} %",
    }


def prediction(shelf: Shelf, findings: Findings, query: Mapping[str, str]) -> Context:
    """Return one prediction: its corridor on the curve, its verdict, its power, and when it was locked."""
    asked = asked_of(query)
    claim = chosen_prediction(findings, asked)
    verdict = findings.verdicts.get(claim.id)
    folder = findings.folder
    family = next(said for said in folder.hypotheses.values() if claim in said.predictions)
    locks = registered(folder.entries).get(folder.locks[claim.id][0], ())
    return {
        **_row(findings, claim),
        "hypothesis": family,
        "measured": measured(claim.measure),
        "follows": "" if verdict is None else consequence(verdict, claim),
        "power": card_of(claim, setting_of(folder.study, folder.runs, floors={}), family=len(family.predictions)).says,
        "locks": [(version, folder.entries[version.seq]) for version in locks],
        "charts": [shown(shelf, findings, "prediction", asked)],
        "count": len(findings.predictions),
    }


def arms(shelf: Shelf, findings: Findings, query: Mapping[str, str]) -> Context:
    """Return all arms compared: training curves over a chosen axis, reviews over the seeds, settings."""
    asked = asked_of(query)
    charts = [shown(shelf, findings, "train", asked), shown(shelf, findings, "held-out", asked)]
    return {
        "asked": asked,
        "charts": charts,
        "options": {
            "metric": [(name, name.replace("_", " ")) for name in TRAINED],
            "tokens": [(name, "in each arm's loss" if name == "trained" else name) for name in TOKENS],
            "axis": list(AXES),
            "smooth": [(str(n), f"{n} steps" if n else "off") for n in SMOOTHINGS],
            "measure": [(name, words[0]) for name, words in HELD_OUT.items()],
        },
        "rows": run_rows(findings.explanations),
        "settings": section(shelf, "arms"),
    }


def anatomy(shelf: Shelf, findings: Findings, query: Mapping[str, str]) -> Context:
    """Return each arm's loss over its floor by role, and the explain lines of every run."""
    return {
        "charts": _each(shelf, findings, "anatomy"),
        "explained": "\n\n".join("\n".join(lines(one)) for one in findings.explanations),
        "floors": section(shelf, "floors"),
    }


def confidence(shelf: Shelf, findings: Findings, query: Mapping[str, str]) -> Context:
    """Return each arm's confidence on right and wrong tokens, its match, and how honest its confidence is."""
    return {
        "charts": [chart for name in ("confidence", "match", "reliability") for chart in _each(shelf, findings, name)],
        "audit": section(shelf, "audit"),
    }


def _each(shelf: Shelf, findings: Findings, name: str) -> list[Shown]:
    return [shown(shelf, findings, name, Asked(at=at)) for at in range(len(arms_of(findings)))]


def ledger(shelf: Shelf, findings: Findings, query: Mapping[str, str]) -> Context:
    """Return what the ledger proves, and its entries, newest first."""
    return {
        "entries": [(entry, _about(entry)) for entry in reversed(findings.folder.entries)],
        "integrity": section(shelf, "integrity"),
    }


def _about(entry: Entry) -> str:
    body: Mapping[str, Any] = entry.body
    if entry.type == "register":
        return ", ".join(str(claim["id"]) for claim in body["predictions"])
    if entry.type == "verdict":
        words = [f"{v['prediction']} {v['word'].replace('_', ' ')}" for v in body["verdicts"]]
        at = f"{100 * body['at']:g} %" if isinstance(body["at"], float | int) else str(body["at"])
        return f"at {at}: {', '.join(words)}"
    kept = ("run", "about", "prediction", "reason", "format", "digest")
    return ", ".join(f"{name} {body[name]}" for name in kept if name in body)


def report(shelf: Shelf, findings: Findings, query: Mapping[str, str]) -> Context:
    """Return the observation document as it reads now, a person's words in it included; nothing is written."""
    blocks = shelf.blocks()
    if blocks is None:
        return {"document": WAIT, "written": False, "trouble_here": ""}
    path = shelf.out / REPORT
    present, trouble, images = "", "", _figures(shelf)
    if path.is_file() and not path.is_symlink():
        present = path.read_text("utf-8", errors="replace")
    try:
        text = filled({**blocks, "figures": _written_figures(present)}, into=present, name=REPORT)
    except LeonidsError as error:
        text, trouble = filled(blocks, into="", name=REPORT), str(error)
    return {"document": document(text, images=images), "written": bool(present), "trouble_here": trouble}


def _written_figures(present: str) -> str:
    """Return the report's own block of figures: they and their captions are those of the last writing."""
    inside = present.partition("<!-- leonids:begin figures -->\n")[2].partition("<!-- leonids:end figures -->")
    return inside[0].rstrip("\n") if inside[1] else "Figures are drawn by `leonids report`."


def _figures(shelf: Shelf) -> dict[str, bytes]:
    """Return the figures that lie in the folder; links are not followed."""
    folder = shelf.out / FIGURES
    if not folder.is_dir() or folder.is_symlink():
        return {}
    files = sorted(path for path in folder.glob("*.svg") if path.is_file() and not path.is_symlink())
    return {f"{FIGURES}/{path.name}": path.read_bytes() for path in files}


Page = Callable[[Shelf, Findings, Mapping[str, str]], Context]
