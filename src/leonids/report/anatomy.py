"""What a loss is made of: floors, head and excess over the same tokens, in shares that add up to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from leonids.records import CELLS, ROLES
from leonids.report.numbers import Known, Missing, Value, ratio
from leonids.study.streams import Table

Floors: TypeAlias = Mapping[str, Any]
"""An arm's floors as the ledger holds them (``study.floors.ArmFloors`` as JSON)."""

ONE_NAME: Mapping[str, str] = {"data floor": "floor of the answer", "head": "head floor"}
"""Arms whose loss is over the answer alone, and those over all tokens, name two addends differently."""


@final
@dataclass(frozen=True, slots=True)
class Part:
    """One addend of a loss, in nats per token of the whole set: contributions, not means over the part's tokens."""

    name: str
    value: Value


@final
@dataclass(frozen=True, slots=True)
class Anatomy:
    """A loss in nats per token and its addends; ``roles`` are the addends of the last one, the excess.

    ``parts`` is empty, with a ``reason``, where no floor is known. ``left_out`` examples had a loss that is not
    a number. ``head_of_prompt`` says whether the head's floor of prompt tokens is known: else their excess holds it.
    Every interval has the example as its unit.
    """

    tokens: str
    loss: Value
    parts: tuple[Part, ...]
    roles: tuple[Part, ...]
    reason: str = ""
    left_out: int = 0
    head_of_prompt: bool = False

    @property
    def excess(self) -> Value | None:
        """Loss minus the floors that are known, or None where none is."""
        return self.parts[-1].value if self.parts else None


def head_reason(floors: Floors | None) -> str:
    """Return why the head's floor of an arm is not known; empty where it is."""
    return "no floors are in the ledger" if floors is None else str(floors["head"].get("reason", ""))


def anatomy(rows: Table, *, floors: Floors | None, tokens: str) -> Anatomy | Missing:
    """Return the loss of ``rows`` over a token set, taken apart on the same tokens."""
    roles = [role for role in CELLS[tokens] if ("loss", role) in rows.counts]
    if tokens == "all" and not {"prompt", "all"}.intersection(roles):
        return Missing("the prompt is not in this run's loss and was not measured")
    if not roles:
        return Missing(f"no loss of {tokens} tokens was measured")
    has_floor = all(("floor", role) in rows.counts for role in roles)
    whole = _whole(rows, roles) if has_floor else np.ones(len(rows.steps), dtype=bool)
    kept = rows.where(whole)
    counts = np.sum([kept.counts["loss", role] for role in roles], axis=0)
    loss = ratio(np.sum([kept.totals["loss", role] for role in roles], axis=0), counts)
    if isinstance(loss, Missing):
        return loss
    left_out = int((~whole).sum())
    if not has_floor:
        return Anatomy(tokens, loss, (), (), "the floor of these tokens was not recorded", left_out)
    of_prompt = floors is not None and "prompt" in floors["head"]["nats"]
    parts = _parts(kept, floors=floors, roles=roles)
    return Anatomy(tokens, loss, *parts, left_out=left_out, head_of_prompt=of_prompt)


def _whole(rows: Table, roles: Sequence[str]) -> NDArray[np.bool_]:
    """Where loss and floor cover the same tokens, so that they may be subtracted."""
    same: NDArray[np.bool_] = np.all([rows.counts["loss", r] == rows.counts["floor", r] for r in roles], axis=0)
    return same


def _parts(rows: Table, *, floors: Floors | None, roles: Sequence[str]) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    counts = np.sum([rows.counts["loss", role] for role in roles], axis=0)
    per_token = {} if floors is None else floors["head"]["nats"]
    head = {role: float(per_token.get(role, 0.0)) * rows.counts["loss", role] for role in roles}
    excess = {role: rows.totals["loss", role] - rows.totals["floor", role] - head[role] for role in roles}
    answer = [role for role in roles if role != "prompt"]
    addends = {}
    if "prompt" in roles:
        addends["floor of the prompt"] = rows.totals["floor", "prompt"]
    addends["floor of the answer" if "prompt" in roles else "data floor"] = np.sum(
        [rows.totals["floor", role] for role in answer], axis=0
    )
    if not head_reason(floors):
        addends["head" if "prompt" in roles else "head floor"] = np.sum([head[role] for role in roles], axis=0)
    addends["excess"] = np.sum([excess[role] for role in roles], axis=0)
    shares = {name: ratio(total, counts) for name, total in addends.items()}
    parts = [Part(name, value) for name, value in shares.items() if isinstance(value, Value)]
    by_role = {role: ratio(excess[role], counts) for role in ROLES if role in excess}
    return tuple(parts), tuple(Part(role, value) for role, value in by_role.items() if isinstance(value, Value))


SHORT = "in short: "
"""How the sentence begins that a reader takes away."""


def in_short(trained: Anatomy | Missing) -> list[str]:
    """Return in plain words what of the loss that was trained on can be removed, where its floor is known."""
    if isinstance(trained, Missing) or not trained.parts or not trained.loss.estimate > 0:
        return []
    shares = {part.name: part.value.estimate / trained.loss.estimate for part in trained.parts}
    fixed = round(100 * min(max(1.0 - shares["excess"], 0.0), 1.0))
    text = f"{SHORT}{fixed} % of this loss is a floor that training cannot lower"
    if fixed == 0:
        text = f"{SHORT}all of this loss can still be learnt, none of it is a floor"
    elif fixed == 100:
        text = f"{SHORT}this loss has come down to its floor, and training cannot lower it further"
    if shares.get("floor of the prompt", 0.0) > 0.5:
        text += ", most of it the draw of the prompt's words: mask the prompt, or read the answer loss"
    largest = max(trained.roles, key=lambda role: role.value.estimate)
    left = sum(role.value.estimate for role in trained.roles if role.value.estimate > 0)
    if fixed < 100 and left > 0 and trained.parts[-1].value.estimate > 0:
        # A ledger may lack the head's floor of prompt tokens: what a frozen head cannot say of them is in their excess.
        among = largest.name == "prompt" and not trained.head_of_prompt
        of = "the excess" if among else "what is left to learn"
        text += f"; {100 * largest.value.estimate / left:.0f} % of {of} is on {largest.name} tokens"
        text += ", a frozen head's floor among it" if among else ""
    return [text]


def mean(rows: Table, metric: str, *, tokens: str) -> Known:
    """Return the mean of a token metric over a token set, with the example as unit."""
    pooled = rows.pooled(metric, tokens)
    if pooled is None:
        return Missing(f"{metric.replace('_', ' ')} was not measured on {tokens} tokens")
    counted = pooled[1] > 0
    return ratio(pooled[0][counted], pooled[1][counted])


def mean_shares(parts: Sequence[Anatomy]) -> dict[str, float]:
    """Return floors, then excess by role, in nats per token: each the mean of the seeds; one name for each addend."""
    named = [
        {ONE_NAME.get(p.name, p.name): p.value.estimate for p in (*part.parts[:-1], *part.roles)} for part in parts
    ]
    return {name: float(np.mean([shares[name] for shares in named])) for name in (named[0] if named else {})}
