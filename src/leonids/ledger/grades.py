"""How much a verdict's evidence can prove: which came first, the prediction or the data."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

from leonids.errors import UsageError
from leonids.ledger.entry import Entry
from leonids.ledger.lines import TIMESTAMP, heads_of
from leonids.ledger.registered import Registered, registered
from leonids.records import Grade

Versions: TypeAlias = Mapping[str, Sequence[Registered]]


def grade(
    entries: Sequence[Entry],
    run: str,
    prediction_id: str,
    *,
    version: int | None = None,
    left_out: Mapping[str, int] | None = None,
    known: Versions | None = None,
) -> Grade:
    """Return what the order in the ledger says of a prediction (None: its last version) and a run's data.

    ``sealed``: locked before the run's data began, or ``left_out``, the number of first lines of each stream
    that were not counted, covers all that may have existed. ``anchored``: sealed, and something outside dates
    a ledger head with the lock in it before the data. ``late``: data existed. ``unverifiable``: an imported
    run that does not say in the ledger's form when it ``started``; one that does is compared by that clock.
    ``broken`` is ``verify``'s to say. ``known`` is ``registered(entries)``, where it is at hand.

    Raises ``UsageError`` for a prediction or a run that is not in the ledger.
    """
    lock = _lock(entries, prediction_id, version, known)
    start = _start(entries, run)
    if start.type == "import":
        return _imported(lock, start)
    if lock.seq < start.known_before:
        return "anchored" if _anchored(entries, lock, start) else "sealed"
    existed = watermark_of(entries, prediction_id, run, version=version, known=known)
    counted_fresh = (
        existed is not None and left_out is not None and all(left_out.get(s, 0) >= n for s, n in existed.items())
    )
    return "sealed" if counted_fresh else "late"


def watermark_of(
    entries: Sequence[Entry],
    prediction_id: str,
    run: str,
    *,
    version: int | None = None,
    known: Versions | None = None,
) -> Mapping[str, int] | None:
    """Return how many first lines of each of a run's streams may have existed when a prediction was locked.

    Only the lines after them can count for it. Empty: the lock came before the run's data. None: the run
    has sealed nothing since the lock, so no line is known to be later. The number is the one of the first
    head that the ledger has *after* the lock: lines between two heads have no order to an entry between them.
    A resume states how far the run had come before it was cut back, which counts as seen.
    """
    lock = _lock(entries, prediction_id, version, known)
    start = _start(entries, run)
    if lock.seq < start.known_before:
        return {}
    for entry in entries[lock.seq + 1 :]:
        # What another writer had sealed before it saw the lock came maybe before it, whenever it was taken over.
        later = lock.seq < entry.known_before
        if later and entry.type in ("run_head", "run_end") and entry.body.get("run") == run:
            reached = cast("Mapping[str, int]", entry.body.get("reached", {}))
            return {stream: max(head.records, reached.get(stream, 0)) for stream, head in heads_of(entry.body).items()}
    return None


def _lock(entries: Sequence[Entry], prediction_id: str, version: int | None, known: Versions | None) -> Entry:
    versions = (registered(entries) if known is None else known).get(prediction_id, ())
    number = len(versions) if version is None else version
    if not 1 <= number <= len(versions):
        raise UsageError(
            f"prediction {prediction_id} {f'has no version {number}' if versions else 'is not registered'}",
            rule="only registered predictions are judged",
        )
    return entries[versions[number - 1].seq]


def _start(entries: Sequence[Entry], run: str) -> Entry:
    for entry in entries:
        if entry.type in ("data_start", "import") and entry.body.get("run") == run:
            return entry
    raise UsageError(f"run {run} is not in the ledger", rule="evidence comes from recorded or imported runs")


def _imported(lock: Entry, start: Entry) -> Grade:
    if lock.seq > start.seq:
        return "late"
    stated = start.body.get("started")
    if not isinstance(stated, str) or not TIMESTAMP.fullmatch(stated):
        return "unverifiable"
    return "sealed" if lock.ts < stated else "late"


def _anchored(entries: Sequence[Entry], lock: Entry, start: Entry) -> bool:
    return any(
        entry.type == "anchor"
        and entry.body.get("status") != "owed"
        and lock.count <= cast("Mapping[str, int]", entry.body["head"])["count"]
        for entry in entries[lock.seq + 1 : start.known_before]
    )
