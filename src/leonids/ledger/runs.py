"""The run folder ``OUT/RUN/``: ``manifest.json`` and the streams ``steps.jsonl`` and ``reviews.jsonl``.

Each stream's first line quotes the ledger entry that started the run, so the run provably comes after what
that entry follows. The streams' heads go into the ledger at every checkpoint.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, final

from filelock import FileLock, Timeout

from leonids.digest import Json
from leonids.errors import IntegrityError, OutputError, UsageError
from leonids.ledger.chain import Ledger
from leonids.ledger.disk import make_folder, unreadable, unwritable, write_whole
from leonids.ledger.entry import Entry, EntryType
from leonids.ledger.hashing import Checks
from leonids.ledger.lines import (
    FIRST,
    LINE_DOMAIN,
    MANIFEST,
    RUN_NAME,
    STREAMS,
    Broken,
    Head,
    canonical,
    first_record,
    heads_of,
    sha256_hex,
)
from leonids.ledger.manifest import manifest_bytes
from leonids.ledger.streams import RunStream, StreamHead, begin, count_lines, locate, rolled
from leonids.ledger.writers import claim_all

Sealed = tuple[str, str, int]
"""A run, one of its streams, and up to which line at least the stream is checked."""

Watermark = Mapping[str, StreamHead]
"""The head of each stream. A checkpoint carries one: resuming from it cuts the streams back to it."""


@final
class RunWriter:
    """The one writer of a run. At a checkpoint: ``watermark()``, save it with the weights, then ``commit(it)``.

    In that order the ledger never holds more of the run than the last checkpoint can go on from.
    """

    __slots__ = ("_ledger", "_open", "folder", "reviews", "run", "steps")

    def __init__(self, folder: Path, ledger: Ledger, streams: Mapping[str, RunStream], opened: ExitStack) -> None:
        self.folder = folder
        self.run = folder.name
        self.steps = streams["steps"]
        self.reviews = streams["reviews"]
        self._ledger = ledger
        self._open = opened

    @classmethod
    def create(cls, out: Path, run: str, manifest: Mapping[str, Json], ledger: Ledger) -> "RunWriter":
        """Start a run: write its manifest, then its data_start entry, then the streams that quote that entry.

        Raises ``OutputError`` when the run exists, is another writer's, or another process writes it.
        """
        folder = _folder(out, run)
        content = manifest_bytes(manifest)
        with ExitStack() as opened:
            _hold(folder, opened)
            claim_all(out, [run], ledger.writer)
            if run_state(ledger.entries(), run) != "absent" or any((folder / f"{s}.jsonl").exists() for s in STREAMS):
                raise OutputError(
                    f"{folder} holds a run already",
                    rule="a run's data are never written over",
                    way_out="go on with --resume or choose another --out",
                )
            write_whole(folder / MANIFEST, content)
            body: dict[str, Json] = {"run": run, "manifest": hashlib.sha256(content).hexdigest()}
            start = ledger.append("data_start", body)
            streams = {name: _begin(folder, start, name) for name in STREAMS}
            return cls._of(folder, ledger, streams, opened)

    @classmethod
    def resume(cls, out: Path, run: str, ledger: Ledger, watermark: Watermark | None) -> "RunWriter":
        """Go on with a run from a checkpoint's watermark, or from its beginning (None: before any checkpoint).

        Lines after the watermark are removed, to be computed again; a run_head entry says how many there
        were. Raises ``UsageError`` for a run that never started or has ended, ``OutputError`` when another
        process writes it, ``IntegrityError`` when the watermark is not on the streams or the ledger has
        sealed more than it.
        """
        folder = _folder(out, run)
        with ExitStack() as opened:
            _hold(folder, opened)
            claim_all(out, [run], ledger.writer)
            entries = ledger.entries()
            start = _resumable(entries, run)
            _check_manifest(folder, start)
            goal = _goal(folder, entries, watermark)
            if watermark is None:
                _complete_beginning(folder, start)
            cuts = {n: locate(folder / f"{n}.jsonl", records=head[0], sha256=head[1]) for n, head in goal.items()}
            # Said before the lines are gone: a prediction made in between must not count what was seen.
            heads: dict[str, Json] = {name: cut.head() for name, cut in cuts.items()}
            reached: dict[str, Json] = {name: cut.reached for name, cut in cuts.items()}
            ledger.append("run_head", {"run": run, "streams": heads, "reached": reached})
            return cls._of(folder, ledger, {name: cut.go_on() for name, cut in cuts.items()}, opened)

    @classmethod
    def _of(cls, folder: Path, ledger: Ledger, streams: Mapping[str, RunStream], opened: ExitStack) -> "RunWriter":
        for stream in streams.values():
            opened.callback(stream.close)
        return cls(folder, ledger, streams, opened.pop_all())

    def watermark(self) -> dict[str, StreamHead]:
        """Return both streams' heads once their lines are on the disk."""
        for stream in (self.steps, self.reviews):
            stream.sync()
        return {"steps": self.steps.head(), "reviews": self.reviews.head()}

    def commit(self, watermark: Watermark | None = None) -> Entry:
        """Seal the streams up to ``watermark`` (None: up to now) in the ledger, after its checkpoint is saved."""
        return self._seal("run_head", self.watermark() if watermark is None else watermark, {})

    def finish(self) -> Entry:
        """Seal the whole streams as the run's end and let go of the folder."""
        entry = self._seal("run_end", self.watermark(), {})
        self.close()
        return entry

    def close(self) -> None:
        """Let go of the folder; a run that did not finish can be resumed."""
        self._open.close()

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _seal(self, kind: EntryType, heads: Watermark, more: Mapping[str, Json]) -> Entry:
        return self._ledger.append(kind, {"run": self.run, "streams": dict(heads), **more})


def run_state(entries: Sequence[Entry], run: str) -> Literal["absent", "started", "finished"]:
    """Return how far a run has come, as the ledger knows it."""
    types = {entry.type for entry in entries if entry.body.get("run") == run}
    return "finished" if "run_end" in types else "started" if "data_start" in types else "absent"


def intact(out: Path, wanted: Sequence[Sealed], entries: Mapping[str, Sequence[Entry]]) -> Callable[[str, str], bool]:
    """Begin to check whether runs' manifests and streams, up to the first head beyond line ``until``, are as sealed.

    ``entries`` are the ledger's, by the run that they are about. What is returned says it of a run and a stream, once
    it is known. Only hashes are computed: quick enough to be done before every verdict. What is broken and where is
    ``verify``'s to say.
    """
    marks = {one[:2]: _mark(out, one, entries[one[0]]) for one in wanted}
    sealed = {key: mark for key, mark in marks.items() if not isinstance(mark, bool)}
    place, checks = {key: i for i, key in enumerate(sealed)}, Checks(list(sealed.values()))

    def is_intact(run: str, stream: str) -> bool:
        mark = marks[run, stream]
        return mark if isinstance(mark, bool) else checks.of(place[run, stream])

    return is_intact


def _mark(out: Path, wanted: Sealed, sealed: Sequence[Entry]) -> bool | tuple[Path, Head]:
    """Return the head that a stream must have; or at once whether it is intact."""
    run, stream, until = wanted
    folder = out / run
    path, start = folder / f"{stream}.jsonl", next((entry for entry in sealed if entry.type == "data_start"), None)
    if start is not None and not _is_file_of(folder / MANIFEST, start.body["manifest"]):
        return False
    heads = [heads_of(entry.body)[stream] for entry in sealed if entry.type in ("run_head", "run_end")]
    if start is None or not heads:
        return True
    # The first line names the entry that started the run: a ledger whose predictions were locked anew has another one.
    first = canonical(_first(start, stream))
    if rolled(path, 1) != sha256_hex(LINE_DOMAIN, FIRST.encode() + first):
        return False
    return path, next((head for head in heads if head.records > until), heads[-1])


def _is_file_of(path: Path, sha256: Json) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _folder(out: Path, run: str) -> Path:
    if not RUN_NAME.fullmatch(run):
        raise UsageError(
            f"{run!r} is not the name of a run", rule="letters, digits, dot, dash, underscore; 64 at most; no dot first"
        )
    return out / run


def _hold(folder: Path, opened: ExitStack) -> None:
    make_folder(folder)
    lock = FileLock(folder / "run.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"{folder} is being written by another process",
            rule="a run has one writer",
            way_out="wait for it or stop it",
        ) from None
    except OSError as error:
        raise unwritable(folder / "run.lock", error) from None
    opened.callback(lock.release)


def _begin(folder: Path, start: Entry, stream: str) -> RunStream:
    return begin(folder / f"{stream}.jsonl", _first(start, stream))


def _first(start: Entry, stream: str) -> dict[str, Json]:
    return first_record({"body": start.body, "sha256": start.origin.sha256}, start.origin.count, stream)


def _resumable(entries: Sequence[Entry], run: str) -> Entry:
    state = run_state(entries, run)
    if state != "started":
        raise UsageError(
            f"run {run} {'has ended' if state == 'finished' else 'was never started here'}",
            rule="only a started, unfinished run is resumed",
        )
    return next(entry for entry in entries if entry.type == "data_start" and entry.body.get("run") == run)


def _check_manifest(folder: Path, start: Entry) -> None:
    path = folder / MANIFEST
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise unreadable(path, error) from None
    if digest != start.body["manifest"]:
        raise IntegrityError(
            f"{path} is not the file that ledger entry {start.count} sealed",
            rule="a run keeps its manifest",
            way_out="restore it from a copy, or start the run anew under another --out",
        )


def _goal(folder: Path, entries: Sequence[Entry], stated: Watermark | None) -> dict[str, tuple[int, str | None]]:
    """Return the records and hash to go back to in each stream, where the ledger has not sealed more."""
    goal: dict[str, tuple[int, str | None]] = dict.fromkeys(STREAMS, (1, None))
    if stated is not None:
        try:
            goal = {name: head[:2] for name, head in heads_of({"streams": stated}).items()}
        except Broken as error:
            raise IntegrityError(f"the checkpoint's watermark of {folder.name} is none ({error})") from None
    sealed = [entry for entry in entries if entry.type == "run_head" and entry.body.get("run") == folder.name]
    for name, head in heads_of(sealed[-1].body).items() if sealed else ():
        if head.records > goal[name][0]:
            raise IntegrityError(
                f"{folder / name}.jsonl: the checkpoint is at line {goal[name][0]}, the ledger has sealed "
                f"{head.records}",
                rule="sealed lines are not computed again",
                way_out="resume from the last checkpoint, or start the run anew under another --out",
            )
    return goal


def _complete_beginning(folder: Path, start: Entry) -> None:
    """Write the first lines that a crash prevented between the data_start entry and the streams."""
    for name in STREAMS:
        if not count_lines(folder / f"{name}.jsonl"):
            _begin(folder, start, name).close()
