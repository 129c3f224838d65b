"""The back end ``native``: many runs in one pass over one frozen base."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from leonids.digest import Json
from leonids.errors import UsageError
from leonids.ledger.runs import RunWriter, run_state
from leonids.ledger.streams import StreamHead
from leonids.ledger.writers import run_ledger
from leonids.spec import RunSpec
from leonids.train.adapters import load_into, peft_tensors, start_fresh, write_adapter
from leonids.train.bases import load_base
from leonids.train.batches import bucketed, collate, on_device
from leonids.train.bodies import Body
from leonids.train.checkpoints import (
    Checkpoint,
    common_step,
    drop_after,
    prune,
    read_checkpoint,
    write_checkpoint,
    write_whole,
)
from leonids.train.checks import check_pass
from leonids.train.data import Row, Stream, open_streams
from leonids.train.evaluate import Engine, held_out, review
from leonids.train.manifest import manifest_of
from leonids.train.optim import StackOptimizer
from leonids.train.passes import plan_passes
from leonids.train.probe import observe, totals_of
from leonids.train.room import Room, check_memory, room_for
from leonids.train.scoring import head_of
from leonids.train.stacked import Chunk, Stack, plan_chunks
from leonids.train.starts import Start, find_start, merge, on_top
from leonids.train.stopping import Stop, stop_requests


@contextmanager
def deterministic() -> Iterator[None]:
    """Ask torch for the same bits every time; where a GPU has no such kernel, torch warns."""
    was, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # Filling fresh memory guards against reading it; nothing here does, and it would cost a pass over every tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=was, warn_only=warn)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


@contextmanager
def enough_memory(runs: Sequence[RunSpec]) -> Iterator[None]:
    """Turn an exhausted memory into one line that says what would help."""
    try:
        yield
    except RuntimeError as error:
        # A GPU's error is a class of its own; a CPU's allocator has only words.
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise UsageError(
            f"the memory does not hold {len(runs)} adapters at batch size {runs[0].batch_size}",
            rule="what was written before is intact",
            way_out="train fewer runs in a pass, or with a smaller batch, rank or dtype; then resume",
        ) from error


@final
@dataclass(frozen=True, slots=True)
class Ready:
    """A pass before its first step: the adapters on their base, where they start, and what goes through at once."""

    engine: Engine
    stack: Stack
    streams: tuple[Stream, ...]
    room: Room


def prepare(runs: Sequence[RunSpec], start: Start | None) -> Ready:
    """Load a pass; whatever a base cannot do is refused here. Writes nothing."""
    base = load_base(runs[0].base, dtype=runs[0].dtype)
    if start is not None:
        merge(base.model, start)
    body, head = Body(base.model), head_of(base.model)
    streams = open_streams(runs, base)
    size = runs[0].batch_size
    longest = max(len(row.tokens.ids) for stream in set(streams) for row in stream.batch(1, size))
    check_memory(base, runs, length=longest)
    room = room_for(base, batch_size=size, length=longest)
    ranks, scopes = [run.adapter.rank for run in runs], [run.loss_on for run in runs]
    chunks = plan_chunks(ranks, scopes=scopes, limit=room.adapters, mixed=room.mixed)
    stack = Stack(base.model, [run.adapter for run in runs], chunks=chunks)
    for e, run in enumerate(runs):
        start_fresh(stack, e, init_seed=run.init_seed)
    return Ready(Engine(base, body, head, stack, room.forward_tokens), stack, streams, room)


@final
class Native:
    """Trains the runs of a pass as one stack."""

    def check(self, runs: Sequence[RunSpec], *, out: Path) -> None:
        """Refuse runs that could not begin; see ``Backend.check``."""
        names = {run.run for run in runs}
        with enough_memory(runs):
            for one in plan_passes(runs, workers=1):
                check_pass(one)
                later = one[0].start_from in names
                prepare(one, None if later else find_start(one[0], out=out))

    def fit(self, runs: Sequence[RunSpec], *, out: Path, resume: bool) -> None:
        """Train ``runs`` into ``out``; see ``Backend.fit``."""
        check_pass(runs)
        if resume and all(run_state(run_ledger(out, run.run).entries(), run.run) == "finished" for run in runs):
            return
        with ExitStack() as opened, stop_requests() as stop, deterministic(), enough_memory(runs):
            Training(runs, out=out, resume=resume, opened=opened).train(stop)


NATIVE = Native()


@final
class Training:
    """One pass: its base, stack, optimizer, streams and writers, and the number of steps done."""

    def __init__(self, runs: Sequence[RunSpec], *, out: Path, resume: bool, opened: ExitStack) -> None:
        self.runs = tuple(runs)
        self.out = out
        self.done = 0
        self.start = find_start(runs[0], out=out)
        ready = prepare(runs, self.start)
        self.engine, self.stack, self.streams, self.room = ready.engine, ready.stack, ready.streams, ready.room
        self.optimizer = StackOptimizer(self.stack, runs)
        self.writers = self._open_writers(opened, resume=resume)

    def _rows(self, stream: Stream, *, step: int) -> list[Row]:
        return stream.batch(step, self.runs[0].batch_size)

    def _folder(self, run: RunSpec) -> Path:
        return self.out / run.run

    def _open_writers(self, opened: ExitStack, *, resume: bool) -> list[RunWriter | None]:
        """Open the run folders, at the last step that every run has a checkpoint of; None for a finished run."""
        # Runs of one pass are one writer's: they were claimed together.
        ledger = run_ledger(self.out, self.runs[0].run)
        states = [run_state(ledger.entries(), run.run) if resume else "absent" for run in self.runs]
        at = common_step([self._folder(run) for run in self.runs]) if resume else None
        writers: list[RunWriter | None] = []
        for e, (run, state) in enumerate(zip(self.runs, states, strict=True)):
            watermark = None if at is None else self._load(e, at)
            if state == "finished":
                writers.append(None)
                continue
            if state == "started":
                writer = RunWriter.resume(self.out, run.run, ledger, watermark)
            else:
                writer = RunWriter.create(self.out, run.run, self._manifest(e), ledger)
            opened.callback(writer.close)
            writers.append(writer)
        self.done = at or 0
        return writers

    def _manifest(self, e: int) -> dict[str, Json]:
        facts = manifest_of(
            self.runs[e], base=self.engine.base, stream=self.streams[e], runs=self.runs, streams=self.streams
        )
        (chunk, _), size = self.stack.home[e], self.runs[e].batch_size
        tokens = sum(len(row.tokens.ids) for row in self._rows(self.streams[e], step=1)[: self.room.rows])
        facts["stacked"] = {
            "with": [self.runs[other].run for other in chunk.members if other != e],
            "rows_at_once": min(size, self.room.rows),
            "written_down": list(self.stack.written_down(chunk, rows=bucketed(tokens))),
        }
        return facts if self.start is None else {**facts, "start_digest": self.start.digest}

    def _load(self, e: int, step: int) -> dict[str, Any]:
        folder = self._folder(self.runs[e])
        checkpoint = read_checkpoint(folder, step)
        load_into(self.stack, e, checkpoint.adapter)
        self.optimizer.load_state(e, dict(checkpoint.optimizer))
        drop_after(folder, step)
        return dict(checkpoint.watermark)

    @property
    def _writing(self) -> list[tuple[int, RunSpec, RunWriter]]:
        return [(e, self.runs[e], writer) for e, writer in enumerate(self.writers) if writer is not None]

    def train(self, stop: Stop) -> None:
        """Train to the end, or to a checkpoint when asked to stop."""
        first = self.runs[0]
        if self.done == 0:
            self._review()
            self._checkpoint()
        while self.done < first.steps:
            self._step()
            reviewed = self._review()
            if stop.asked or reviewed or self.done == first.steps or self.done % first.checkpoint_every == 0:
                self._checkpoint()
            if stop.asked:
                raise KeyboardInterrupt
        for e, run, writer in self._writing:
            spec, tensors = run.adapter, peft_tensors(self.stack, e)
            if self.start is not None:
                spec, tensors = on_top(self.start, spec, tensors)
            fill = partial(write_adapter, tensors=tensors, spec=spec, base=run.base)
            write_whole(self._folder(run) / "adapter", fill)
            # A death between the last checkpoint and its pruning would leave one too many.
            prune(self._folder(run))
            writer.finish()

    def _step(self) -> None:
        started = time.perf_counter()
        number = self.done + 1
        batches = {stream: self._rows(stream, step=number) for stream in set(self.streams)}
        self.stack.zero_grads()
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for chunk in self.stack.chunks:
            found |= self._forward_backward(chunk, [batches[self.streams[e]] for e in chunk.members])
        rates = self.optimizer.step(self.done)
        # The only moment of a step at which the host waits for the device.
        table = torch.stack([torch.cat(found[e]) for e in range(len(self.runs))]).tolist()
        self.done = number
        wall = time.perf_counter() - started
        for e, run, writer in self._writing:
            *columns, (matched, *_) = table[e]
            line: dict[str, Any] = {
                "kind": "step",
                "step": number,
                "split": "train",
                "lr": rates[e],
                "wall_s": round(wall, 6),
                "examples": run.batch_size,
                "metrics": totals_of(columns, matched=matched, examples=run.batch_size),
            }
            writer.steps.append(line)

    def _forward_backward(self, chunk: Chunk, rows: list[list[Row]]) -> dict[int, tuple[Tensor, Tensor]]:
        """Add the gradients of one chunk; return each adapter's column sums, and a row full of its matched rows."""
        scopes = [self.runs[e].loss_on for e in chunk.members]
        device, size = self.engine.base.device, len(rows[0])
        sums: Tensor | None = None
        matches: Tensor | None = None
        shares = on_device([1 / scored(own, scope) for own, scope in zip(rows, scopes, strict=True)], device)
        for start in range(0, size, self.room.rows):
            parts = [own[start : start + self.room.rows] for own in rows]
            batch = collate(
                [[(row.tokens, scope) for row in own] for own, scope in zip(parts, scopes, strict=True)],
                pad_id=self.engine.base.eos_id,
                device=device,
                # Each row has a dropout of its own.
                share=not any(self.runs[e].adapter.dropout for e in chunk.members),
            )
            groups = torch.arange(len(parts), device=device).repeat_interleave(len(parts[0]))
            with self.stack.active(chunk):
                scores = self.engine.head.score(self.engine.body.states(batch), batch.gold)
                # The sum over adapters of each adapter's own token mean: no adapter's gradient knows of another.
                (scores.nats * shares.to(scores.nats.dtype)[groups[batch.rows]]).sum().backward()
            part = observe(scores, batch, groups=groups, count=len(parts))
            matched = part.matched.view(len(parts), -1).sum(dim=1)
            sums = part.columns if sums is None else sums + part.columns
            matches = matched if matches is None else matches + matched
        if sums is None or matches is None:
            raise AssertionError("a batch has rows")
        width = sums.shape[-1]
        return {e: (sums[slot], matches[slot].expand(1, width)) for slot, e in enumerate(chunk.members)}

    def _review(self) -> bool:
        plans = self.runs[0].held_out(self.done)
        for split, start, count in plans:
            for chunk, alike in self._measured():
                streams = [self.streams[group[0]] for group in alike]
                scopes = [self.runs[group[0]].loss_on for group in alike]
                held = held_out(streams, scopes, split=split, first=start, n=count)
                found = review(self.engine, chunk, streams, held, step=self.done)
                lines_of = {e: lines for group, lines in zip(alike, found, strict=True) for e in group}
                for e, _, writer in self._writing:
                    for line in lines_of.get(e, ()):
                        writer.reviews.append(line)
        return bool(plans)

    def _measured(self) -> list[tuple[Chunk | None, list[list[int]]]]:
        """Return what goes through the base together at a review, and the runs that each of its rows speaks for."""
        if self.done:
            return [(chunk, [[e] for e in chunk.members]) for chunk in self.stack.chunks]
        # An untrained adapter adds nothing: the bare base is measured, once for all that are shown the same examples.
        alike: dict[str, dict[Stream, list[int]]] = {}
        for e, run in enumerate(self.runs):
            alike.setdefault(run.loss_on, {}).setdefault(self.streams[e], []).append(e)
        return [(None, list(of_scope.values())) for of_scope in alike.values()]

    def _checkpoint(self) -> None:
        # Every run's checkpoint stands before the ledger hears of any: a kill in between finds a common step.
        heads: list[dict[str, StreamHead]] = []
        for e, run, writer in self._writing:
            heads.append(writer.watermark())
            tensors, state = peft_tensors(self.stack, e), self.optimizer.state_of(e)
            write_checkpoint(self._folder(run), Checkpoint(self.done, tensors, state, heads[-1]), spec=run)
        for (_, run, writer), head in zip(self._writing, heads, strict=True):
            writer.commit(head)
            prune(self._folder(run))


def scored(rows: Sequence[Row], scope: str) -> int:
    """Return the number of tokens in the loss of ``rows``."""
    if scope == "all":
        return sum(len(row.tokens.ids) - 1 for row in rows)
    return sum(len(row.tokens.ids) - row.tokens.prompt_tokens for row in rows)
