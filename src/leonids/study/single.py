"""One run without predictions, and the measuring of an adapter."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from pydantic import ValidationError

from leonids.errors import SpecError, UsageError
from leonids.launch import launch
from leonids.ledger.chain import Ledger
from leonids.spec import RunSpec, describe, load_universe, read_text, read_yaml
from leonids.stats.intervals import binomial_interval


def load_run(path: Path) -> RunSpec:
    """Return the run in a YAML file, whose ``universe`` may be a shipped name or a file beside it."""
    data = read_yaml(read_text(path), name=str(path))
    if not isinstance(data, dict):
        raise SpecError(f"{path} holds {type(data).__name__}", rule="a run is a mapping of keys")
    if isinstance(data.get("universe"), str):
        from pydantic import TypeAdapter  # noqa: PLC0415

        spec = load_universe(data["universe"], beside=path.parent)
        data["universe"] = TypeAdapter(type(spec)).dump_python(spec, mode="json")
    try:
        return RunSpec.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise SpecError(f"{path}: {describe(error)}") from error


def train_single(path: Path, *, out: Path, resume: bool) -> Path:
    """Train the run of a file into ``out`` and return the adapter's folder."""
    run = load_run(path)
    Ledger.open(out)
    launch([run], out=out, resume=resume, tick=lambda: None)
    return out / run.run / "adapter"


@final
@dataclass(frozen=True, slots=True)
class Measured:
    """An adapter's held-out figures. ``match`` counts whole answers; losses are nats per answer token."""

    universe: str
    split: str
    n: int
    matches: int
    loss_nats: float
    floor_nats: float

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON, with the exact 95 % interval of the match."""
        interval = binomial_interval(self.matches, self.n, level=0.95)
        return {
            "universe": self.universe,
            "split": self.split,
            "n": self.n,
            "match": self.matches / self.n,
            "match_low": interval.low,
            "match_high": interval.high,
            "loss_nats": self.loss_nats,
            "floor_nats": self.floor_nats,
        }

    def lines(self) -> list[str]:
        """Return the figures as text."""
        found = self.to_json()
        return [
            f"{self.universe}, {self.split}, {self.n} examples",
            f"match {found['match']:.1%} ({self.matches} of {self.n}, "
            f"95 % CI {found['match_low']:.1%}-{found['match_high']:.1%})",
            f"answer loss {self.loss_nats:.4f} nats/token = {self.floor_nats:.4f} floor "
            f"+ {self.loss_nats - self.floor_nats:.4f} excess and head",
        ]


def evaluate_adapter(adapter: Path, *, universe: str, split: str, n: int, base: str | None) -> Measured:
    """Return an adapter's match and answer loss on the first ``n`` examples of a held-out split, seed 0.

    ``adapter`` may also be the name of a base, which is then measured bare. Raises ``UsageError`` for the
    split ``train`` and ``BaseError`` for an adapter that does not fit.
    """
    if split == "train":
        raise UsageError("--split is 'train'", rule="an adapter is measured on validation or test")
    from leonids.train.measure import measure  # noqa: PLC0415

    spec = load_universe(universe)
    totals = measure(adapter, spec, split=split, n=n, base=base)
    return Measured(spec.universe, split, n, totals.matches, totals.loss_nats, totals.floor_nats)
