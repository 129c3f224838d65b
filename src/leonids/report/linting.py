"""What is wrong with a study or a universe before anything runs: what `leonids lint` prints."""

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from leonids.claims.cards import cards
from leonids.claims.lint import Finding, lint, refused
from leonids.claims.prediction import Prediction
from leonids.errors import LeonidsError, SpecError, UsageError
from leonids.report.rules import lint_universe
from leonids.spec import (
    RunSpec,
    StudySpec,
    find_study,
    load_study,
    read_text,
    read_yaml,
    shipped_studies,
    shipped_universes,
    validate,
)
from leonids.study.floors import floors_by_arm
from leonids.study.plan import Choices, Plan, make_plan
from leonids.study.setting import setting_of


def lint_study(study: StudySpec, plan: Plan) -> tuple[Finding, ...]:
    """Return what is wrong with a study's predictions and questions."""
    setting = setting_of(plan.study, plan.runs, floors=floors_by_arm(plan.runs))
    return lint(study.hypotheses, setting, questions=study.questions)


def power_lines(study: StudySpec, runs: Sequence[RunSpec]) -> list[str]:
    """Return a line that explains power cards, then each prediction's: what the planned number can decide."""
    setting = setting_of(study, runs, floors={})
    found = [card for family in study.hypotheses.values() for card in cards(family, setting)]
    width = max((len(card.prediction) for card in found), default=0)
    head = "power: how far from the border of its claim a truth must lie to be decided 4 times in 5 (sd: of one unit)"
    return [head, *(f"{card.prediction:{width}}  {card.says}" for card in found)] if found else []


def lint_file(path: Path) -> tuple[Finding, ...]:
    """Return what is wrong with a study's file: what cannot be read as a prediction, then what lint finds in the rest.

    One sentence without a number must not hide what is wrong with the others.
    """
    left_out: list[Finding] = []
    try:
        try:
            study = load_study(path)
        except SpecError:
            left_out, rest = _readable(read_yaml(read_text(path), name=str(path)))
            if not left_out:
                raise
            study = validate(StudySpec, rest, name=str(path))
        plan = make_plan(study, Choices(), beside=path.parent)
    except LeonidsError as error:
        return (*left_out, refused(path.name, error))
    return (*left_out, *lint_study(study, plan))


def _readable(data: Any) -> tuple[list[Finding], Any]:
    """Return one finding for each prediction that cannot be read, and the study without them."""
    hypotheses = data.get("hypotheses") if isinstance(data, dict) else None
    if not isinstance(hypotheses, dict) or not all(_lists_mappings(h, "predictions") for h in hypotheses.values()):
        return [], data
    listed = [p for hypothesis in hypotheses.values() for p in hypothesis["predictions"]]
    gone = {str(p.get("id")): found for p in listed if (found := _error_of(p)) is not None}
    findings = [refused(name, found) for name, found in gone.items()]
    kept = {
        name: {
            **hypothesis,
            "predictions": [_without(p, gone) for p in hypothesis["predictions"] if _error_of(p) is None],
        }
        for name, hypothesis in hypotheses.items()
    }
    questions = data.get("questions", []) if _lists_mappings(data, "questions") else []
    for question in questions:
        if missing := sorted(set(question.get("reads", ())) & gone.keys()):
            error = SpecError(f"it reads {missing[0]}, which is no claim", way_out="make that prediction precise first")
            findings.append(refused(str(question.get("asks")), error))
    whole = [question for question in questions if not set(question.get("reads", ())) & gone.keys()]
    return findings, {**data, "hypotheses": kept, "questions": whole}


def _lists_mappings(holder: Any, key: str) -> bool:
    items = holder.get(key) if isinstance(holder, dict) else None
    return isinstance(items, list) and all(isinstance(item, dict) for item in items)


def _error_of(prediction: dict[str, Any]) -> SpecError | None:
    try:
        validate(Prediction, prediction, name=str(prediction.get("id")))
    except SpecError as error:
        return error
    return None


def _without(prediction: dict[str, Any], gone: Container[str]) -> dict[str, Any]:
    """Return a prediction without the premises that cannot be read: they are reported already."""
    return {k: [need for need in v if need not in gone] if k == "needs" else v for k, v in prediction.items()}


def lint_reference(reference: str, *, tokenizer: str | None = None) -> tuple[Finding, ...]:
    """Return what is wrong with a shipped or written universe or study.

    ``tokenizer`` is a base whose tokens a universe is to be written in. Raises ``SpecError`` for neither of both,
    ``UsageError`` for a study with a tokenizer.
    """
    if reference in shipped_universes():
        return lint_universe(reference, tokenizer=tokenizer)
    if reference not in shipped_studies() and not Path(reference).exists():
        raise SpecError(
            f"no study or universe {reference!r}",
            rule=f"shipped are {', '.join((*shipped_studies(), *shipped_universes()))}",
            way_out="or give the path of a YAML file",
        )
    path = find_study(reference)
    if any(line.startswith("universe:") for line in read_text(path).splitlines()):
        return lint_universe(reference, tokenizer=tokenizer)
    if tokenizer is not None:
        raise UsageError(f"{reference} is a study", rule="its arms name their bases", way_out="leave --tokenizer away")
    return lint_file(path)
