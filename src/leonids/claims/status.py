"""From verdicts to hypotheses and questions, by rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

from leonids.claims.prediction import Hypothesis, Question
from leonids.records import Verdict

StatusWord: TypeAlias = Literal["supported", "refuted", "open", "void"]


@final
@dataclass(frozen=True, slots=True)
class Status:
    """What the predictions of a hypothesis say of it together, and why."""

    hypothesis: str
    word: StatusWord
    reason: str


@final
@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a key question, the consequence that was written before, and what it rests on."""

    asks: str
    word: Literal["yes", "no", "open"]
    consequence: str
    reason: str


def statuses(hypotheses: Mapping[str, Hypothesis], verdicts: Sequence[Verdict]) -> tuple[Status, ...]:
    """Return the status of every hypothesis, those it needs taken into account.

    A hypothesis whose premise is refuted or void is void: it said nothing about a world without that premise.
    """
    words = {name: hypothesis_status(name, hypothesis, verdicts) for name, hypothesis in hypotheses.items()}
    for _ in hypotheses:
        for name, hypothesis in hypotheses.items():
            fallen = [need for need in hypothesis.needs if words[need].word in ("refuted", "void")]
            if fallen:
                words[name] = Status(name, "void", f"its premise {fallen[0]} is {words[fallen[0]].word}")
    return tuple(words.values())


def hypothesis_status(name: str, hypothesis: Hypothesis, verdicts: Sequence[Verdict]) -> Status:
    """Return one hypothesis's status.

    1. *refuted* if a necessary prediction is refuted;
    2. *void* if every prediction is void;
    3. *supported* if it has necessary predictions, each is supported, and no supporting one is refuted;
    4. *open* otherwise.
    Verdicts graded ``late`` are retrodictions: they can refute (rule 1), but rule 3 does not count them as support.
    """
    by_id = {verdict.prediction: verdict for verdict in verdicts}
    necessary = [by_id[p.id] for p in hypothesis.predictions if p.role == "necessary" and p.id in by_id]
    others = [by_id[p.id] for p in hypothesis.predictions if p.role == "supporting" and p.id in by_id]
    refuted = [v.prediction for v in necessary if v.word == "refuted"]
    if refuted:
        return Status(name, "refuted", f"{_list(refuted)} refuted")
    if necessary + others and all(v.word == "void" for v in necessary + others):
        return Status(name, "void", "no prediction could be judged as registered")
    missing = [v for v in necessary if v.word != "supported"]
    against = [v.prediction for v in others if v.word == "refuted"]
    late = [v.prediction for v in necessary if v.word == "supported" and v.grade == "late"]
    if necessary and not (missing or against or late):
        return Status(name, "supported", f"{_list([v.prediction for v in necessary])} supported")
    parts = [f"{v.prediction} {v.word.replace('_', ' ')}" for v in missing]
    parts += [f"{p} refuted" for p in against] + [f"{p} a retrodiction" for p in late]
    return Status(name, "open", ", ".join(parts) or "no necessary prediction")


def answer_question(question: Question, verdicts: Sequence[Verdict]) -> Answer:
    """Return ``yes`` if every prediction it reads is supported, ``no`` if one is refuted, else ``open``."""
    by_id = {verdict.prediction: verdict for verdict in verdicts}
    read = [by_id[name] for name in question.reads if name in by_id]
    shown = ", ".join(
        f"{v.prediction} {v.word.replace('_', ' ')}" + (f" ({v.reason})" if v.reason else "") for v in read
    )
    if any(v.word == "refuted" for v in read):
        return Answer(question.asks, "no", question.no, shown)
    if read and len(read) == len(question.reads) and all(v.word == "supported" for v in read):
        return Answer(question.asks, "yes", question.yes, shown)
    return Answer(question.asks, "open", "", shown or "no prediction it reads was judged")


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
