"""Measuring a finished adapter, or a bare base, on held-out examples of a universe."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from leonids.errors import BaseError
from leonids.records import ANSWER_ROLES
from leonids.spec import AdapterSpec
from leonids.train.adapters import CONFIG, load_into, read_adapter
from leonids.train.bases import in_float32, load_base
from leonids.train.bodies import Body
from leonids.train.data import Stream
from leonids.train.evaluate import Engine, held_out, teacher_forced
from leonids.train.probe import add_totals
from leonids.train.room import room_for
from leonids.train.scoring import head_of
from leonids.train.stacked import Stack
from leonids.universe.blueprint import UniverseSpec
from leonids.universe.universe import Universe


@final
@dataclass(frozen=True, slots=True)
class Answers:
    """Each example's tags and whether its whole answer was right; mean loss and floor of answer tokens in nats.

    The floor is None where nobody knows it; ``passed_over`` counts items that could not be asked, by reason.
    """

    examples: tuple[tuple[Mapping[str, str | int], bool], ...]
    loss_nats: float
    floor_nats: float | None
    passed_over: Mapping[str, int]


def base_of(adapter: Path) -> str:
    """Return the base that an adapter's configuration names. Raises ``BaseError`` where it names none."""
    config: dict[str, Any] = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
    name = config.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise BaseError(f"the adapter in {adapter} names no base", way_out="name it with --base")
    return name


def measure(adapter: Path, universe: UniverseSpec, *, split: str, n: int, base: str | None) -> Answers:
    """Return what an adapter does on the first ``n`` examples of a split, seed 0.

    Where ``adapter`` is no adapter folder it is taken as the name of a base. Raises ``BaseError``.
    """
    is_adapter = (adapter / CONFIG).is_file()
    if not is_adapter and adapter.is_dir() and not (adapter / "config.json").is_file():
        raise BaseError(f"{adapter} holds no adapter", rule=f"an adapter folder has {CONFIG}", way_out="or name a base")
    spec, tensors = read_adapter(adapter) if is_adapter else (AdapterSpec(rank=1), {})
    loaded = load_base(base or (base_of(adapter) if is_adapter else str(adapter)))
    stream = Stream(Universe(universe), loaded, seed=0)
    body, head = Body(loaded.model), head_of(loaded.model)
    stack = Stack(loaded.model, [spec], chunks=[[0]])
    if tensors:
        load_into(stack, 0, tensors)
    longest = max(len(stream.row(split, index).tokens.ids) for index in range(min(n, 64)))
    room = room_for(loaded, batch_size=1, length=longest)
    engine = Engine(loaded, body, head, stack, room.forward_tokens)
    held = held_out([stream], ["answer"], split=split, first=0, n=n)
    with in_float32(loaded.model):
        (found,) = teacher_forced(engine, stack.chunks[0], held)
    totals = add_totals([one.totals for one in found])
    count = sum(totals["loss"][role][1] for role in ANSWER_ROLES if role in totals["loss"])
    examples = tuple((one.row.example.tags, one.totals["match"]["example"][0] > 0) for one in found)
    loss, floor = (
        sum(totals.get(m, {}).get(role, [0.0])[0] for role in ANSWER_ROLES) / count for m in ("loss", "floor")
    )
    return Answers(examples, loss, floor if "floor" in totals else None, stream.passed_over(split, n))
