"""A ledger's predictions in the formats of other registries: ``preregister`` (prereg.yaml) and PRML (``falsify``).

Neither format has windows, curves, scopes of one run or premises. A prediction that it cannot hold without
changing what would refute it is left out, with the reason: a weaker claim under the same name is worse than none.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, cast, final

from leonids.digest import canonical_json, sha256_hex
from leonids.errors import UsageError
from leonids.ledger.entry import Entry
from leonids.ledger.registered import registered

PRODUCER = "leonids"
Body: TypeAlias = Mapping[str, Any]


@final
@dataclass(frozen=True, slots=True)
class Exported:
    """Files by name, and the predictions that the format cannot hold, each with the reason."""

    files: Mapping[str, bytes]
    left_out: Mapping[str, str]


@final
@dataclass(frozen=True, slots=True)
class Locked:
    """A prediction as it was locked last, with what the study's plan says of its arms."""

    body: Body
    family: str
    entry: Entry
    runs: Mapping[str, Sequence[Body]]

    @property
    def expect(self) -> tuple[str, Any]:
        """The predicate and its numbers."""
        return cast("tuple[str, Any]", next(iter(self.body["expect"].items())))

    @property
    def seeds(self) -> list[int]:
        """The seeds that count: those that all its arms have."""
        measure = self.body["measure"]
        arms = [arm for arm in (measure["arm"], measure.get("versus")) if arm]
        planned = [{int(run["data_seed"]) for run in self.runs.get(arm, ())} for arm in arms]
        shared = set.intersection(*planned) if planned else set()
        return sorted(shared if measure.get("seed") is None else shared & {measure["seed"]})

    @property
    def metric(self) -> str:
        """The measure in one name, such as ``loss of answer tokens on validation at 60%``."""
        measure = self.body["measure"]
        points = measure["over"] if measure.get("over") else [measure["at"]]
        when = " to ".join(f"{100 * point:g}%" for point in points)
        of = "" if measure["tokens"] == "example" else f" of {measure['tokens']} tokens"
        return f"{measure['metric']}{of} on {measure['split']} at {when}"


def locked_predictions(entries: Sequence[Entry]) -> list[Locked]:
    """Return the last version of every prediction that was not withdrawn. Raises ``UsageError`` without a plan."""
    plan = next((e.body for e in entries if e.type == "note" and e.body.get("about") == "plan"), None)
    if plan is None:
        raise UsageError("the ledger holds no plan", rule="predictions are exported with the arms they speak of")
    hypotheses = cast("Mapping[str, Body]", plan["hypotheses"])
    family = {p["id"]: name for name, hypothesis in hypotheses.items() for p in hypothesis["predictions"]}
    runs: dict[str, list[Body]] = {}
    for run in cast("Sequence[Body]", plan["runs"]):
        runs.setdefault(run["arm"], []).append(run)
    return [
        Locked(versions[-1].prediction, family.get(name, "added"), entries[versions[-1].seq], runs)
        for name, versions in registered(entries).items()
        if not versions[-1].withdrawn
    ]


def to_preregister(entries: Sequence[Entry]) -> Exported:
    """Return a ``prereg.yaml`` (its JSON is YAML) for ``preregister`` 0.1, whose unit is one final number a seed."""
    predictions: list[Body] = []
    metrics: dict[str, Body] = {}
    conditions: dict[str, Body] = {}
    left_out: dict[str, str] = {}
    for locked in locked_predictions(entries):
        name = str(locked.body["id"])
        try:
            claim, metric, size = _comparison(locked)
        except _Inexpressible as error:
            left_out[name] = str(error)
            continue
        metrics[metric] = {"version": PRODUCER}
        for arm in filter(None, (locked.body["measure"]["arm"], locked.body["measure"].get("versus"))):
            recipe = [{k: v for k, v in run.items() if k not in ("run", "data_seed", "init_seed")}
                      for run in locked.runs.get(arm, ())][:1]  # fmt: skip
            conditions[_word(arm)] = {"role": "other", "config": {"arm": arm, "recipe": recipe}}
        plan = {"test": "welch", "alpha": locked.body["alpha"], "n_seeds": len(locked.seeds), "seeds": locked.seeds,
                "correction": "holm", "family": locked.family}  # fmt: skip
        predictions.append(
            {
                "id": name,
                "hypothesis": locked.body["says"],
                "metric": metric,
                "comparison": claim,
                "min_effect": size,
                "analysis": plan,
                "notes": f"locked by entry {locked.entry.count}, {locked.entry.sha256}",
            }
        )
    study = {"study": entries[0].sha256[:16], "conditions": conditions, "metrics": metrics, "predictions": predictions}
    text = json.dumps(study, ensure_ascii=False, indent=1) + "\n"
    return Exported({"prereg.yaml": text.encode()} if predictions else {}, left_out)


class _Inexpressible(Exception):
    """The format cannot hold this prediction."""


def _comparison(locked: Locked) -> tuple[str, str, float]:
    """Return the comparison, the metric and the smallest effect of interest; raise ``_Inexpressible``."""
    predicate, value = locked.expect
    measure = locked.body["measure"]
    if locked.body["scope"] != "seeds" or len(locked.seeds) < 2:
        raise _Inexpressible("it speaks of one run, and the format of seeds")
    arm, versus = _word(measure["arm"]), _word(measure["versus"]) if measure.get("versus") else None
    left = f"{arm} - {versus}" if versus else arm
    metric = locked.metric
    if predicate in ("above", "below"):
        return f"{left} {'>' if predicate == 'above' else '<'} {_number(value)}", metric, _size(value)
    if predicate == "between" and versus is None:
        if "refutes" not in locked.body["beyond"].values() or "supports" in locked.body["beyond"].values():
            raise _Inexpressible("a miss on one side supports it, and an interval has two ends")
        return f"{arm} in [{_number(value[0])}, {_number(value[1])}]", metric, _size((value[1] - value[0]) / 2)
    if predicate == "coincide" and not measure.get("over"):
        return f"{arm} in [{_number(-value)}, {_number(value)}]", f"{metric} minus that of {measure['versus']}", value
    if predicate == "plateaus":
        return f"{arm} in [{_number(-value)}, {_number(value)}]", f"fall of {metric}", value
    if predicate == "falls_after":
        bend = f"fall of {metric} after {100 * value['progress']:g}% beyond that before it"
        return f"{arm} > {_number(value['by'])}", bend, _size(value["by"])
    if predicate == "ratio" and "between" not in value:
        ((side, bound),) = value.items()
        return f"{arm} / {versus} {'>' if side == 'above' else '<'} {_number(bound)}", metric, _size(bound)
    raise _Inexpressible(f"it has no form for {predicate}{' of curves' if measure.get('over') else ''}")


def _size(value: float) -> float:
    if value == 0:
        raise _Inexpressible("it asks for a smallest effect, and the claim is about zero")
    return abs(float(value))


def _word(arm: str) -> str:
    word = re.sub(r"\W", "_", arm)
    return word if word[0].isalpha() else f"arm_{word}"


def _number(value: float) -> str:
    return repr(float(value))


def to_prml(entries: Sequence[Entry]) -> Exported:
    """Return PRML 0.2 manifests: one number against one threshold each, two for a range; ``.json`` is accepted."""
    files: dict[str, bytes] = {}
    left_out: dict[str, str] = {}
    for locked in locked_predictions(entries):
        name = str(locked.body["id"])
        rows = list(_thresholds(locked))
        if not rows:
            left_out[name] = f"it has no form for {locked.expect[0]}: a manifest is one number against a threshold"
        for suffix, comparator, threshold in rows:
            manifest = _manifest(locked, comparator, threshold)
            text = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
            files[f"{name}{suffix}.prml.json"] = text.encode()
    return Exported(files, left_out)


def _thresholds(locked: Locked) -> Iterator[tuple[str, str, float]]:
    predicate, value = locked.expect
    if predicate in ("above", "below"):
        yield "", ">" if predicate == "above" else "<", float(value)
    elif predicate == "between":
        beyond = locked.body["beyond"]
        if beyond["below"] == "refutes":
            yield ".low", ">=", float(value[0])
        if beyond["above"] == "refutes":
            yield ".high", "<=", float(value[1])


def _manifest(locked: Locked, comparator: str, threshold: float) -> dict[str, Any]:
    measure = locked.body["measure"]
    run = next(iter(locked.runs.get(measure["arm"], ())), {"universe": {"universe": measure["arm"]}})
    # Data that LEO did not make have no universe in the plan.
    universe = run["universe"] or {"universe": "foreign", "arm": measure["arm"]}
    seeds = locked.seeds
    minus = f" minus that of {measure['versus']}" if measure.get("versus") else ""
    return {
        "version": "prml/0.2",
        "claim_id": _uuid7(locked.entry, f"{locked.body['id']} {comparator}"),
        "created_at": locked.entry.ts,
        "metric": f"{locked.metric}{minus}"[:256],
        "comparator": comparator,
        "threshold": threshold,
        "dataset": {"id": str(universe["universe"]), "hash": sha256_hex("leonids/export/1", canonical_json(universe))},
        "seed": seeds[0] if len(seeds) == 1 else None,
        "producer": {"id": PRODUCER},
        "notes": _clean(f"{locked.body['says']} Entry {locked.entry.count}, {locked.entry.sha256}"),
    }


def _clean(text: str) -> str:
    return " ".join(text.split())


def _uuid7(entry: Entry, name: str) -> str:
    """Return a UUID of version 7 with the entry's time: the same one whenever it is exported."""
    ms = int(datetime.fromisoformat(entry.ts).timestamp() * 1000)
    bits = bytearray(ms.to_bytes(6, "big") + hashlib.sha256(f"{entry.sha256} {name}".encode()).digest()[:10])
    bits[6], bits[8] = 0x70 | bits[6] & 0x0F, 0x80 | bits[8] & 0x3F
    text = bits.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


FORMS: tuple[tuple[str, Callable[[Sequence[Entry]], Exported]], ...] = (
    ("preregister", to_preregister),
    ("prml", to_prml),
)
"""One row a format of predictions."""
