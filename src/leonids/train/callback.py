"""The probe inside Hugging Face's Trainer, TRL's SFTTrainer and whatever else calls their callbacks."""

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, final

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from leonids.ledger.chain import Ledger
from leonids.ledger.disk import write_whole
from leonids.ledger.manifest import describe
from leonids.ledger.runs import RunWriter, run_state
from leonids.train.probe import Totals, add_totals
from leonids.train.tap import Tap

P = ParamSpec("P")
WATERMARK = "leonids.json"
PACKAGES = ("accelerate", "leonids", "peft", "torch", "transformers", "trl")
LOSS_TOLERANCE = 1e-3
"""Trainers round what they log to four digits; a wrong scale of gradient accumulation is off by far more."""

LOG = logging.getLogger("leonids")


def guarded(method: Callable[P, None]) -> Callable[P, None]:
    """Let a callback's failure end the callback, never the training."""

    def call(*arguments: P.args, **more: P.kwargs) -> None:
        callback: Any = arguments[0]
        if callback.failed:
            callback.keep_pace(method.__name__)
            return
        try:
            method(*arguments, **more)
        # Whatever goes wrong in here, somebody's training matters more.
        except Exception as error:  # noqa: BLE001
            callback.give_up(error)

    return call


@final
class LeonidsCallback(TrainerCallback):  # type: ignore[misc]
    """Writes a training's losses by role into a run folder that leonids judges, reports and serves.

    ``out`` is the study's folder and ``run`` the run's name in it. ``tokens`` names the labelled tokens where the
    data know no roles: ``answer`` when prompts are masked, else ``all``. It never changes or stops a training;
    when it fails, it warns, lets go and stays away.

    >>> LeonidsCallback("runs/mine", run="first").run
    'first'
    """

    def __init__(self, out: str | Path, *, run: str, tokens: str = "answer", arm: str = "") -> None:
        self.out = Path(out)
        self.run = run
        self.tokens = tokens
        self.arm = arm or run
        self.failed = ""
        self.writer: RunWriter | None = None
        self.tap: Tap | None = None
        self._clock = self._rate = 0.0
        self._losses: list[float] = []
        self._warned = False

    def give_up(self, error: Exception) -> None:
        """Let go of the training and the run folder, with one warning."""
        self.failed = f"{type(error).__name__}: {error}"
        LOG.warning("leonids stops watching this training (%s); the training goes on", self.failed)
        if self.tap is not None:
            self.tap.detach()
        if self.writer is not None:
            with suppress(OSError):
                self.writer.close()

    def keep_pace(self, moment: str) -> None:
        """Meet the other processes where they wait for this one, whatever became of its callback."""
        if self.tap is not None and moment == "on_step_end":
            self.tap.take_step()
        if self.tap is not None and moment == "on_evaluate":
            self.tap.take_held_out()

    @guarded
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Hook the model; start the run folder, or go on where the trainer's checkpoint stood."""
        self.tap = Tap(more["model"], tokens=self.tokens, fail=self.give_up)
        self._clock = time.perf_counter()
        if state.is_world_process_zero:
            self.writer = self._open(args, state)

    def _open(self, args: TrainingArguments, state: TrainerState) -> RunWriter:
        ledger = Ledger.open(self.out)
        if state.global_step == 0 and run_state(ledger.entries(), self.run) == "absent":
            device = torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else str(args.device)
            config = {"arm": self.arm, "steps": state.max_steps, "trainer": _plain(args.to_sanitized_dict())}
            facts = describe(config, universe_digest="unknown", device=device, packages=PACKAGES)
            return RunWriter.create(self.out, self.run, {**facts, "backend": "callback"}, ledger)
        mark = Path(args.output_dir) / f"checkpoint-{state.global_step}" / WATERMARK
        watermark = json.loads(mark.read_text(encoding="utf-8")) if state.global_step else None
        return RunWriter.resume(self.out, self.run, ledger, watermark)

    @guarded
    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Note the learning rate before the scheduler moves it on."""
        self._rate = float(more["optimizer"].param_groups[0]["lr"])

    @guarded
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Write the line of the step."""
        if self.tap is None:
            return
        totals, examples = self.tap.take_step()
        now, before = time.perf_counter(), self._clock
        self._clock = now
        if "loss" in totals:
            self._losses.append(mean_loss(totals))
        if self.writer is None:
            return
        line: dict[str, Any] = {"kind": "step", "step": state.global_step, "split": "train", "examples": examples}
        line |= {"lr": self._rate, "wall_s": round(now - before, 6), "metrics": totals}
        if self.tap.absent:
            line["absent"] = dict(self.tap.absent)
        self.writer.steps.append(line)

    @guarded
    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Hold the trainer's own loss against the probe's: scaling faults of gradient accumulation are real."""
        logged = (more.get("logs") or {}).get("loss")
        if logged is None or not self._losses:
            return
        ours, self._losses = sum(self._losses) / len(self._losses), []
        if abs(float(logged) - ours) > LOSS_TOLERANCE * max(1.0, abs(ours)) and not self._warned:
            self._warned = True
            LOG.warning(
                "step %d: the trainer logs a loss of %.4f, its tokens say %.4f", state.global_step, logged, ours
            )
            if self.writer is not None:
                note = {"kind": "note", "step": state.global_step, "about": "trainer loss differs"}
                self.writer.reviews.append({**note, "logged": float(logged), "measured": ours})

    @guarded
    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Write an observation for each evaluated row: token-weighted, so the batch size changes nothing."""
        rows = self.tap.take_held_out() if self.tap is not None else []
        if self.writer is None or not rows:
            return
        head = {"step": state.global_step, "split": "validation"}
        lines: list[dict[str, Any]] = [
            {"kind": "observation", **head, "index": index, "tags": {}, "metrics": totals}
            for index, totals in enumerate(rows)
        ]
        lines.append({"kind": "review", **head, "n": len(rows), "metrics": add_totals(rows), "audit": {}})
        for line in lines:
            self.writer.reviews.append(line)
        self._clock = time.perf_counter()

    @guarded
    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Put the streams' watermark beside the trainer's checkpoint."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if self.writer is not None and folder.is_dir():
            watermark = self.writer.watermark()
            write_whole(folder / WATERMARK, json.dumps(watermark).encode())
            self.writer.commit(watermark)

    @guarded
    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Close the run; one that was stopped before its last step can be resumed."""
        if self.tap is not None:
            self.tap.detach()
        if self.writer is not None and state.global_step >= state.max_steps:
            self.writer.finish()
        elif self.writer is not None:
            self.writer.close()


def mean_loss(totals: Totals) -> float:
    """Return the mean loss of a step over the tokens of its totals, in nats a token."""
    cells = totals["loss"].values()
    return sum(cell[0] for cell in cells) / sum(cell[1] for cell in cells)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
