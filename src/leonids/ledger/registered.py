"""The predictions in a ledger, version by version: registered once, amended with a reason, withdrawn in view."""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast, final

import rfc8785

from leonids.digest import Json, canonical_json
from leonids.errors import IntegrityError, UsageError
from leonids.ledger.entry import Entry

Prediction = Mapping[str, Json]


@final
@dataclass(frozen=True, slots=True)
class Registered:
    """One version of a prediction. ``seq`` is the entry that locked it; ``reason`` says why it was locked later.

    ``withdrawn`` is the reason why it was withdrawn, or empty. A withdrawn prediction stays visible.
    """

    id: str
    version: int
    prediction: Prediction
    seq: int
    reason: str = ""
    withdrawn: str = ""

    @property
    def judged_as(self) -> str:
        """The id under which it is judged: its own, with ``.v2`` and so on if amended."""
        return self.id if self.version == 1 else f"{self.id}.v{self.version}"


def registered(entries: Iterable[Entry]) -> dict[str, tuple[Registered, ...]]:
    """Return every prediction's versions, oldest first, in the order of registration.

    An amendment does not replace what it amends: all versions are judged. Raises ``IntegrityError`` for
    entries that ``Ledger`` does not write: a second registration, an amendment of what was never registered.
    """
    found: dict[str, tuple[Registered, ...]] = {}
    for entry in entries:
        if entry.type in CHANGES:
            try:
                CHANGES[entry.type](found, entry)
            except (KeyError, TypeError, ValueError) as error:
                raise IntegrityError(
                    f"ledger entry {entry.count} is no {entry.type} of a prediction ({error})",
                    rule="predictions are registered once, then amended or withdrawn with a reason",
                ) from None
    return found


def _register(found: dict[str, tuple[Registered, ...]], entry: Entry) -> None:
    for prediction in cast("Sequence[Prediction]", entry.body["predictions"]):
        name = str(prediction["id"])
        if name in found:
            raise ValueError(f"{name} is registered already")
        found[name] = (Registered(name, 1, prediction, entry.seq, str(entry.body.get("reason", ""))),)


def _amend(found: dict[str, tuple[Registered, ...]], entry: Entry) -> None:
    prediction = cast("Prediction", entry.body["prediction"])
    name = str(prediction["id"])
    found[name] += (Registered(name, len(found[name]) + 1, prediction, entry.seq, str(entry.body["reason"])),)


def _withdraw(found: dict[str, tuple[Registered, ...]], entry: Entry) -> None:
    name, reason = str(entry.body["prediction"]), str(entry.body["reason"])
    found[name] = tuple(replace(version, withdrawn=reason) for version in found[name])


CHANGES: Mapping[str, Callable[[dict[str, tuple[Registered, ...]], Entry], None]] = {
    "register": _register,
    "amend": _amend,
    "withdraw": _withdraw,
}
"""The types of entries that change what is predicted."""


def unregistered(entries: Iterable[Entry], predictions: Sequence[Prediction]) -> list[Prediction]:
    """Return those of ``predictions`` that the ledger does not have yet, in Unicode form NFC.

    Raises ``UsageError`` for one without an id, one given twice, and one that reads differently from every
    version in the ledger: a registered prediction is never edited.
    """
    known = registered(entries)
    fresh: list[Prediction] = []
    for prediction in map(normal, predictions):
        name = identity(prediction)
        if name in known:
            _refuse_edit(known[name], prediction)
        elif any(name == other["id"] for other in fresh):
            raise UsageError(f"prediction {name} is given twice", rule="an id names one prediction")
        else:
            fresh.append(prediction)
    return fresh


def check_reason(name: str, reason: str) -> None:
    """Raise ``UsageError`` where a change of what is predicted states no reason."""
    if not reason.strip():
        raise UsageError(f"no reason is given for changing {name}", rule="a change states its reason")


def identity(prediction: Prediction) -> str:
    """Return the prediction's id. Raises ``UsageError`` when it has none."""
    name = prediction.get("id")
    if not isinstance(name, str) or not name:
        raise UsageError(f"a prediction has the id {name!r}", rule="every prediction has a text as its id")
    return name


def normal(prediction: Prediction) -> Prediction:
    """Return the prediction with all text in Unicode form NFC, so that one text has one hash.

    Raises ``UsageError`` for what JSON cannot hold exactly, such as NaN.
    """
    form = _normal(dict(prediction))
    try:
        canonical_json(form)
    except rfc8785.CanonicalizationError as error:
        raise UsageError(
            f"prediction {prediction.get('id')} cannot be locked ({error})", rule="predictions state finite numbers"
        ) from None
    return cast("Prediction", form)


def same(one: Prediction, other: Prediction) -> bool:
    """Whether two predictions are the same JSON value (Python alone takes true for 1)."""
    return canonical_json(one) == canonical_json(other)


def _normal(value: Json) -> Json:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, Mapping):
        return {unicodedata.normalize("NFC", name): _normal(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(item) for item in value]
    return value


def _refuse_edit(versions: Sequence[Registered], prediction: Prediction) -> None:
    if any(same(prediction, version.prediction) for version in versions):
        return
    last = versions[-1]
    old, new = ({key: canonical_json(p[key]).decode() for key in p} for p in (last.prediction, prediction))
    key = next(key for key in sorted({*old, *new}) if old.get(key) != new.get(key))
    raise UsageError(
        f"prediction {last.id} was locked by ledger entry {last.seq + 1} with {key} {old.get(key, 'absent')}"
        f" and now has {new.get(key, 'absent')}",
        rule="a registered prediction is never edited",
        way_out="amend it with a reason (both versions are then judged), or give the new claim its own id",
    )
