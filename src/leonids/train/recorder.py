"""What a training by TRL writes down: the lines, reviews and watermarks of a run of ours."""

import json
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, final

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from leonids.ledger.disk import write_whole
from leonids.ledger.runs import RunWriter, run_state
from leonids.ledger.writers import run_ledger
from leonids.spec import RunSpec
from leonids.train.bases import Base
from leonids.train.bodies import Body
from leonids.train.data import Stream
from leonids.train.evaluate import Engine, held_out, review
from leonids.train.manifest import manifest_of
from leonids.train.room import room_for
from leonids.train.scoring import linear_head
from leonids.train.stacked import Chunk
from leonids.train.stopping import Stop
from leonids.train.tap import Tap

WATERMARK = "leonids.json"
"""The file in a checkpoint that says how far the streams had come; written last, so that it marks a whole one."""


@final
class OneAdapter:
    """The adapter that PEFT put on a base: always active."""

    def active(self, chunk: Chunk | None, *, keep: bool = False) -> AbstractContextManager[None]:
        """Change nothing."""
        del chunk, keep
        return nullcontext()


@final
class Recorder(TrainerCallback):  # type: ignore[misc]
    """Writes a run's lines, reviews and watermarks while TRL trains it."""

    def __init__(self, run: RunSpec, base: Base, stream: Stream, *, out: Path, stop: Stop, last: Path | None) -> None:
        self.run, self.base, self.stream, self.out, self.stop, self.last = run, base, stream, out, stop, last
        self.writer: RunWriter | None = None
        self.tap: Tap | None = None
        self._engine: Engine | None = None
        self._clock = self._rate = 0.0

    def open(self, opened: ExitStack, *, resume: bool) -> None:
        """Open the run folder, at the checkpoint that training goes on from."""
        ledger, name = run_ledger(self.out, self.run.run), self.run.run
        if resume and run_state(ledger.entries(), name) == "started":
            mark = None if self.last is None else json.loads((self.last / WATERMARK).read_text(encoding="utf-8"))
            self.writer = RunWriter.resume(self.out, name, ledger, mark)
        else:
            facts = manifest_of(self.run, base=self.base, stream=self.stream, runs=[self.run], streams=[self.stream])
            facts["backend"] = "trl"
            if self.start is not None:
                facts["start_digest"] = self.start.digest
            self.writer = RunWriter.create(self.out, name, facts, ledger)
        opened.callback(self.writer.close)

    def finish(self) -> None:
        """Seal the run's end."""
        if self.writer is not None:
            self.writer.finish()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Hook the model; measure the base where step 0 is a review."""
        self.tap = Tap(more["model"], tokens=self.run.loss_on, fail=_raise)
        inner = self.base.model
        longest = max(len(row.tokens.ids) for row in self.stream.batch(1, self.run.batch_size))
        room = room_for(self.base, batch_size=self.run.batch_size, length=longest)
        self._engine = Engine(self.base, Body(inner), linear_head(inner), OneAdapter(), room.forward_tokens)
        if state.global_step == 0:
            self._review(more["model"], 0)
        self._clock = time.perf_counter()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Note the learning rate before the scheduler moves it on."""
        self._rate = float(more["optimizer"].param_groups[0]["lr"])

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> TrainerControl:
        """Write the line of the step, and its review where one is due; ask for a checkpoint where one is."""
        if self.tap is None:
            return control
        totals, examples, _ = self.tap.take_step()
        step, wall = state.global_step, time.perf_counter() - self._clock
        line: dict[str, Any] = {"kind": "step", "step": step, "split": "train", "lr": self._rate}
        line |= {"wall_s": round(wall, 6), "examples": examples, "metrics": totals}
        if self.writer is not None:
            self.writer.steps.append({**line, "absent": dict(self.tap.absent)} if self.tap.absent else line)
        reviewed = self._review(more["model"], step)
        due = reviewed or step == self.run.steps or step % self.run.checkpoint_every == 0
        control.should_save = control.should_save or due or self.stop.asked
        control.should_training_stop = control.should_training_stop or self.stop.asked
        self._clock = time.perf_counter()
        return control

    def _review(self, model: Any, step: int) -> bool:
        if step not in self.run.reviews:
            return False
        if self.writer is None or self._engine is None:
            return True
        was_training = model.training
        model.eval()
        for split, first, count in self.run.held_out(step):
            held = held_out([self.stream], [self.run.loss_on], split=split, first=first, n=count)
            (lines,) = review(self._engine, None, [self.stream], held, step=step)
            for line in lines:
                self.writer.reviews.append(line)
        model.train(was_training)
        return True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Put the streams' watermark beside the trainer's checkpoint, last of all."""
        if self.writer is not None:
            watermark = self.writer.watermark()
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_whole(folder / WATERMARK, json.dumps(watermark).encode())
            self.writer.commit(watermark)


def _raise(error: Exception) -> None:
    raise error
