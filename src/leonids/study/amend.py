"""Changing what is predicted after the lock: a new version beside the old one, one more claim, a withdrawal."""

from dataclasses import replace
from pathlib import Path
from typing import cast

from leonids.claims.metrics import metric_versions
from leonids.claims.prediction import Hypothesis, Prediction, check_study, resolved
from leonids.digest import Json
from leonids.errors import LateError, UsageError
from leonids.ledger.chain import Ledger
from leonids.ledger.entry import Entry
from leonids.ledger.registered import check_reason
from leonids.spec import read_text, read_yaml, validate
from leonids.study.folder import StudyFolder
from leonids.study.forecast import with_band


def amend(out: Path, file: Path, *, reason: str) -> tuple[Entry, str]:
    """Lock the prediction in a YAML file; return the entry and the id under which it is judged.

    A registered id gets a new version, and the old one is judged as well; a new id is one more prediction. Either
    is a family of its own, and of runs that have begun only what comes after the lock counts for it. Raises
    ``UsageError`` and ``SpecError`` for a claim that does not fit the study.
    """
    folder = StudyFolder.open(out)
    claim = validate(Prediction, read_yaml(read_text(file), name=str(file)), name=str(file))
    for arm in claim.arms:
        if arm not in folder.study.arms:
            raise UsageError(f"{claim.id} speaks of arm {arm!r}", rule=f"arms are {', '.join(folder.study.arms)}")
    versions = folder.registered.get(claim.id, ())
    name = f"{claim.id}.v{len(versions) + 1}" if versions else claim.id
    if name in folder.locks:
        raise UsageError(f"{name} is another prediction's id", way_out="give the claim an id of its own")
    check_study({"": Hypothesis(claim="", predictions=(*folder.study.predictions, replace(claim, id=name)))})
    locked = cast("dict[str, Json]", resolved(with_band(claim, folder.study, folder.runs)))
    ledger, more = Ledger.open(out), {"metrics": metric_versions()}
    if versions:
        return ledger.amend(locked, reason=reason, more=more), name
    check_reason(name, reason)
    return ledger.register([locked], more={**more, "reason": reason})[0], name


def withdraw(out: Path, prediction_id: str, *, reason: str) -> Entry:
    """Withdraw a prediction: it stays visible, counts in its family, and is void with the reason.

    Raises ``LateError`` for one that was judged already, ``UsageError`` for one that is not there.
    """
    folder = StudyFolder.open(out)
    for verdict in folder.verdicts:
        name = folder.locks.get(str(verdict["prediction"]), ("", 0))[0]
        if name == prediction_id and verdict["word"] != "not_due":
            raise LateError(
                f"{verdict['prediction']} was judged: {verdict['word']}",
                rule="a prediction is withdrawn before its verdict, never after it",
                way_out="amend it; both versions are then judged",
            )
    return Ledger.open(out).withdraw(prediction_id, reason=reason)
