"""Frozen predictions and evidence in, verdicts out. Pure: the same evidence gives the same verdicts.

How a verdict is reached
    The claim is a region. The interval has error at most ``alpha * share`` at each of its ends. *Supported*: the
    interval (every one, for curves) lies inside the region. *Refuted*: one lies outside, on a side that refutes.
    Otherwise *inconclusive*, with what would decide.
How many are judged together
    The predictions of a hypothesis are one family of ``m``, registered ones that are void or not due included.
    Support is granted by Holm's procedure, or by its gated form where a prediction needs another of the family
    (``stats.families``); refutation by Holm's. So the chance that any false prediction of the family is
    supported is at most alpha, and the chance that any true one is refuted is at most alpha, under any
    dependence between them. Tests are inverted intervals: the interval printed is the one that decided.
    Predictions that fall due later can only add verdicts to a family, never take one back.
What is never done
    Tokens are never units, unplanned runs never count, and nothing is judged before its data are complete.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from leonids.claims.case import Case, case_of
from leonids.claims.evidence import Evidence
from leonids.claims.prediction import Hypothesis, Prediction, check_study
from leonids.claims.reasons import decisive, reason_of
from leonids.records import Verdict, Word
from leonids.stats.families import Decision, gates, holm, step_down
from leonids.stats.intervals import Interval


def judge(
    hypotheses: Mapping[str, Hypothesis],
    evidence: Evidence,
    *,
    at: float | None,
    withdrawn: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Verdict, ...]:
    """Return one verdict for each prediction, in the order written.

    ``at`` is the progress (0..1) reached: what falls due later, or waits for a run that is behind, is
    ``not_due``. None says that the study is closed: what was not measured is ``void``. ``withdrawn`` are ids with
    the reason: void, and still of their family.
    Raises ``SpecError`` for premises that do not exist or go in a circle.
    """
    check_study(hypotheses)
    found: dict[str, Verdict] = {}
    for hypothesis in hypotheses.values():
        cases = [_case(p, evidence, at=at, withdrawn=withdrawn) for p in hypothesis.predictions]
        for case, support, refute in zip(cases, _supports(cases), _refutes(cases), strict=True):
            found[case.prediction.id] = _verdict(case, support, refute)
    predictions = {p.id: p for h in hypotheses.values() for p in h.predictions}
    gated: dict[str, Verdict] = {}
    while len(gated) < len(found):
        for name, verdict in found.items():
            needs = predictions[name].needs
            if name not in gated and gated.keys() >= set(needs):
                gated[name] = _gate(verdict, [gated[need] for need in needs])
    return tuple(gated[name] for name in found)


def _case(prediction: Prediction, evidence: Evidence, *, at: float | None, withdrawn: Mapping[str, str]) -> Case:
    case = case_of(prediction, evidence, at=at)
    why = withdrawn.get(prediction.id)
    return case if why is None else replace(case, word="void", reason=f"withdrawn: {why}", readings=())


def _supports(cases: Sequence[Case]) -> tuple[Decision, ...]:
    place = {case.prediction.id: i for i, case in enumerate(cases)}
    premises = {i: [place[need] for need in case.prediction.needs if need in place] for i, case in enumerate(cases)}
    return step_down(gates(len(cases), premises=premises), decides=lambda i, share: cases[i].supports(share))


def _refutes(cases: Sequence[Case]) -> tuple[Decision, ...]:
    return step_down(holm(len(cases)), decides=lambda i, share: cases[i].refutes(share))


def _verdict(case: Case, support: Decision, refute: Decision) -> Verdict:
    share = support.share if support.rejected else refute.share if refute.rejected else max(support.share, refute.share)
    word: Word = case.word or ("supported" if support.rejected else "refuted" if refute.rejected else "inconclusive")
    reading = decisive(case, share)
    bounds = None if reading is None else case.interval(reading, share)
    found = bounds if isinstance(bounds, Interval) else None
    reason, decides = reason_of(case, word, share=share)
    return Verdict(
        prediction=case.prediction.id,
        word=word,
        reason=reason,
        estimate=None if bounds is None else bounds.estimate,
        low=found.low if found else None,
        high=found.high if found else None,
        level=case.region.level(case.prediction.alpha * share),
        n=reading.n if reading else 0,
        unit=reading.unit if reading else "",
        scope=case.prediction.scope,
        grade=case.grade,
        decides=decides,
        at=case.prediction.measure.when,
    )


def _gate(verdict: Verdict, premises: Sequence[Verdict]) -> Verdict:
    """Withhold a verdict whose premises do not hold; void and not_due ones keep their own reason."""
    if verdict.word in ("void", "not_due"):
        return verdict
    for premise in premises:
        if premise.word in ("refuted", "void"):
            return replace(
                verdict, word="void", reason=f"its premise {premise.prediction} is {premise.word}", decides=""
            )
    waiting = [premise for premise in premises if premise.word != "supported"]
    if not waiting:
        return verdict
    word: Word = "not_due" if waiting[0].word == "not_due" else "inconclusive"
    reason = f"its premise {waiting[0].prediction} is {waiting[0].word.replace('_', ' ')}"
    decides = f"what decides {waiting[0].prediction}" if word == "inconclusive" else ""
    return replace(verdict, word=word, reason=reason, decides=decides)
