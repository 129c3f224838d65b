"""What each page holds, gathered for its template: text and numbers, never markup of a file's own."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, final

from leonids.claims.cards import card_of
from leonids.claims.prediction import Prediction
from leonids.errors import LeonidsError, UsageError
from leonids.ledger.entry import Entry
from leonids.report.anatomy import SHORT
from leonids.report.blocks import FIGURES, REPORT, filled
from leonids.report.claimed import claimed, consequence, found, measured, word_of
from leonids.report.escape import visible_lines
from leonids.report.explain import Explanation, lines
from leonids.report.findings import Findings
from leonids.report.run_rows import run_rows
from leonids.report.sections import STATUS_ICONS
from leonids.study.progress import arms_of
from leonids.study.setting import setting_of
from leonids.web.chart import MOST_POINTS, Chart, as_json, table, thinned
from leonids.web.charts import (
    HELD_OUT,
    SEEDS,
    SMOOTHINGS,
    TOKENS,
    TRAINED,
    Asked,
    arm_names,
    by_mean,
    chart_named,
    chosen_prediction,
)
from leonids.web.drawing import svg
from leonids.web.series import AXES
from leonids.web.shelf import Shelf

Context = Mapping[str, Any]

GRAPH = f"{FIGURES}/graph.svg"

MOST_ARMS = 6
"""Above this many arms a page of several charts an arm shows one arm at a time."""

WAIT = "<p>The reviews are being read; this appears when they are.</p>"


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """A chart on a page: its table, the addresses of its data, and both for one who is not there yet."""

    name: str
    chart: Chart
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    query: tuple[tuple[str, str], ...]
    live: bool

    def drawing(self) -> str:
        """Return the chart as SVG."""
        return svg(self.chart)

    def data(self) -> str:
        """Return what the chart's own address answers, so that a page which opens need not ask."""
        return json.dumps(as_json(self.chart))


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


def charted(shelf: Shelf, findings: Findings, name: str, asked: Asked) -> tuple[Chart, Chart]:
    """Return a chart whole, and as it is drawn: thinned where it has more points than can be seen."""
    kept = shelf.charts()
    made = kept.get((name, asked))
    if made is None:
        whole = chart_named(name)(shelf, findings, asked)
        made = whole, whole if asked.full else thinned(whole, most=MOST_POINTS)
        if not whole.partial:
            kept[name, asked] = made
    return made


def shown(shelf: Shelf, findings: Findings, name: str, asked: Asked) -> Shown:
    """Return a chart ready for a page; one with more points than can be seen is thinned unless all are asked for."""
    whole, drawn = charted(shelf, findings, name, asked)
    header, rows = table(whole)
    default = Asked()
    query = tuple(
        (field.name, str(int(value) if isinstance(value, bool) else value))
        for field in fields(Asked)
        if (value := getattr(asked, field.name)) != getattr(default, field.name)
    )
    return Shown(name, drawn, header, rows, query, live=not whole.stacks)


def document(text: str, *, images: Mapping[str, bytes] | None = None) -> str:
    """Return Markdown of the report's own as markup; raw HTML in it stays text."""
    from leonids.report.html import rendered  # noqa: PLC0415 - a parser that two of the pages need, and no start

    return rendered(visible_lines(text), images=images or {})


def section(shelf: Shelf, name: str) -> str:
    """Return a section of the report as markup."""
    blocks = shelf.blocks()
    return WAIT if blocks is None else document(blocks[name])


def board(shelf: Shelf, findings: Findings, query: Mapping[str, str]) -> Context:
    """Return the first page: what the loss is made of, hypotheses and verdicts, questions, what is due next."""
    first = {run.arm: run.run for run in reversed(findings.folder.runs)}
    explained = [one for one in findings.explanations if one.run == first[one.arm]]
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
        "explained": [_words(one) for one in explained],
        "arms": arms_of(shelf.progress()),
        "ahead": findings.ahead,
        "graph": document(f"![What rests on what]({GRAPH})", images={GRAPH: images[GRAPH]}) if GRAPH in images else "",
    }


def _words(explanation: Explanation) -> tuple[str, str, str]:
    """Return the name of a run, what to take away in a sentence, and its explain lines."""
    text = lines(explanation)
    short = next((line.removeprefix(SHORT) for line in text if line.startswith(SHORT)), text[0].partition(": ")[2])
    return explanation.run, short, "\n".join(line for line in text if not line.startswith(SHORT))


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
    locks = folder.registered.get(folder.locks[claim.id][0], ())
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
        "asked": replace(asked, seeds=asked.seeds or ("mean" if by_mean(findings, asked) else "each")),
        "charts": charts,
        "options": {
            "metric": [(name, name.replace("_", " ")) for name in TRAINED],
            "tokens": [(name, "in each arm's loss" if name == "trained" else name) for name in TOKENS],
            "axis": list(AXES),
            "smooth": [(str(n), f"{n} steps" if n else "off") for n in SMOOTHINGS],
            "seeds": list(SEEDS),
            "measure": [(name, words[0]) for name, words in HELD_OUT.items()],
        },
        "rows": run_rows(findings.explanations),
        "settings": section(shelf, "arms"),
    }


def anatomy(shelf: Shelf, findings: Findings, query: Mapping[str, str]) -> Context:
    """Return each arm's loss over its floor by role, and the explain lines of every run."""
    return {
        "charts": [shown(shelf, findings, "anatomy", Asked(at=at)) for at in range(len(arm_names(findings)))],
        "explained": [_words(one) for one in findings.explanations],
        "floors": section(shelf, "floors"),
    }


def confidence(shelf: Shelf, findings: Findings, query: Mapping[str, str]) -> Context:
    """Return confidence on right and wrong tokens, match, and honesty: of each arm, or of one where there are many."""
    asked, arms = asked_of(query), arm_names(findings)
    chosen = range(len(arms)) if len(arms) <= MOST_ARMS else (asked.at,)
    kinds = ("confidence", "match", "reliability")
    return {
        "arms": [(str(at), arm) for at, arm in enumerate(arms)] if len(arms) > MOST_ARMS else [],
        "at": asked.at,
        "charts": [shown(shelf, findings, kind, Asked(at=at)) for kind in kinds for at in chosen],
        "audit": section(shelf, "audit"),
    }


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
