"""The floors of a plan, computed before any run and written into the ledger beside the predictions."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, final

import numpy as np

from leonids.digest import canonical_json
from leonids.errors import BaseError
from leonids.floor.base_files import find_base, read_facts, read_head, read_tokenizer
from leonids.floor.head import head_floor
from leonids.floor.oracle import FloorReport, Rung, ladder, survey
from leonids.floor.tokens import Encoded, FastTokenizer, TokenFloor
from leonids.records import ROLES, Example
from leonids.spec import RunSpec
from leonids.universe.universe import Universe

HEAD_EXAMPLES = 200
PROMPT_EXAMPLES = 20
"""For the head's floor of prompts: each of their names has a true distribution, and a convex problem, of its own."""
SURVEY_EXAMPLES = 2000
LADDER_EXAMPLES = 4000


@final
@dataclass(frozen=True, slots=True)
class HeadReport:
    """The head's floor of a universe's answers: nats per token by role (certified to ``within_nats``).

    ``prompt`` is among the roles only where it was asked for, from the first ``PROMPT_EXAMPLES`` of the ``examples``.

    ``worst`` lists the tokens that cannot be said best, with their certified least loss in nats. ``nats`` is
    absent, with a ``reason``, for a base whose head has a form that is not known. They are absent without one where
    the head is trained: then it has no floor.
    """

    nats: Mapping[str, float]
    within_nats: float
    worst: tuple[tuple[str, float], ...]
    examples: int
    reason: str = ""


@final
@dataclass(frozen=True, slots=True)
class ArmFloors:
    """What is known of an arm before it is run.

    ``ladder`` are the plateaus to expect of its answer loss, ``guess`` the shares that the commonest answer alone,
    said to every prompt, gets right, by metric.
    """

    arm: str
    all: FloorReport
    answer: FloorReport
    head: HeadReport
    ladder: tuple[Rung, ...] = ()
    guess: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the floors as JSON."""
        return asdict(self)


def tokenizer_of(base: str) -> FastTokenizer:
    """Return a base's tokenizer as the floor needs it, without torch."""
    folder = find_base(base)
    return FastTokenizer(read_tokenizer(folder), read_facts(folder).eos_id)


def _answer_targets(encoded: Encoded) -> list[tuple[int, tuple[tuple[int, float], ...]]]:
    """Return (role, true distribution) of every answer token."""
    targets = []
    for at in range(encoded.prompt_tokens, len(encoded.ids)):
        shares = encoded.nexts.get(at) or {encoded.ids[at]: 1.0}
        targets.append((encoded.roles[at], tuple(sorted(shares.items()))))
    return targets


def _prompt_targets(floor: TokenFloor, example: Example) -> list[tuple[int, tuple[tuple[int, float], ...]]]:
    """Return (role, true distribution) of every prompt token; one whose distribution is not known counts as sayable."""
    nexts = floor.prompt_nexts(example)
    return [(ROLES.index("prompt"), tuple(sorted(shares.items()))) for shares in nexts]


def head_report(
    universe: Universe, floor: TokenFloor, base: str, *, examples: int = HEAD_EXAMPLES, prompts: bool = False
) -> HeadReport:
    """Return the head's floor of a base on a universe's answers, and on its prompts if asked, by role.

    It is what lies above the data floor: of prompts at least that much.
    """
    folder = find_base(base)
    try:
        head = read_head(folder)
    except BaseError as error:
        return HeadReport({}, 0.0, (), 0, reason=error.problem)
    drawn = [universe.example("train", 0, index) for index in range(examples)]
    rows = [target for example in drawn for target in _answer_targets(floor.encode(example))]
    answers = {target for _, target in rows}
    if prompts:
        rows += [target for example in drawn[:PROMPT_EXAMPLES] for target in _prompt_targets(floor, example)]
    unique = list(dict.fromkeys(target for _, target in rows if target))
    found = head_floor(head, [dict(target) for target in unique])
    entropy = np.array([-math.fsum(share * math.log(share) for _, share in target) for target in unique])
    above = dict(zip(unique, np.maximum(found.low - entropy, 0.0), strict=True)) | {(): 0.0}
    total: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)
    for role, target in rows:
        total[ROLES[role]] += float(above[target])
        count[ROLES[role]] += 1
    tokenizer = read_tokenizer(folder)
    certain = sorted(((float(above[t]), t[0][0]) for t in answers if len(t) == 1), reverse=True)[:5]
    return HeadReport(
        nats={role: total[role] / count[role] for role in total},
        within_nats=float(np.max(found.high - found.low)),
        worst=tuple((tokenizer.id_to_token(token) or str(token), nats) for nats, token in certain),
        examples=examples,
    )


def guess_of(examples: Sequence[Example]) -> dict[str, float]:
    """Return the share of ``examples`` that the commonest answer is right for, as text and as JSON."""
    texts = Counter(example.completion for example in examples)
    values = Counter(canonical_json(example.answer) for example in examples)
    return {
        name: counts.most_common(1)[0][1] / len(examples)
        for name, counts in (("match", texts), ("meaning_match", values))
    }


def floors_by_arm(runs: Sequence[RunSpec]) -> dict[str, ArmFloors]:
    """Return the floors of every arm of ``runs`` whose universe is known.

    Arms of one universe and base share the computation.
    """
    computed: dict[tuple[str, str], ArmFloors] = {}
    with_prompt = [(run.universe, run.base) for run in runs if run.loss_on == "all"]
    found: dict[str, ArmFloors] = {}
    for run in runs:
        if run.arm in found or run.universe is None:
            continue
        universe = Universe(run.universe)
        key = (universe.digest, run.base)
        if key not in computed:
            floor = TokenFloor(universe, tokenizer_of(run.base))
            examples = [universe.example("train", 0, index) for index in range(LADDER_EXAMPLES)]
            everything, answer = (
                survey(universe, floor, examples[:SURVEY_EXAMPLES], tokens=tokens, tokenizer=run.base)
                for tokens in ("all", "answer")
            )
            head = head_report(universe, floor, run.base, prompts=(run.universe, run.base) in with_prompt)
            rungs, guess = ladder(universe, examples), guess_of(examples)
            computed[key] = ArmFloors(run.arm, everything, answer, head, rungs, guess)
        found[run.arm] = replace(computed[key], arm=run.arm)
        if run.adapter.method == "full":
            found[run.arm] = replace(found[run.arm], head=HeadReport({}, 0.0, (), 0))
    return found
