"""The probe inside Hugging Face's Trainer, TRL's SFTTrainer and whatever else calls their callbacks."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any, ParamSpec, Protocol, final

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from leonids.claims.metrics import metric_versions
from leonids.errors import OutputError, UsageError
from leonids.ledger.chain import Ledger
from leonids.ledger.lines import STREAMS
from leonids.ledger.manifest import describe
from leonids.ledger.runs import RunWriter, run_state
from leonids.ledger.streams import StreamHead, locate, read_stream
from leonids.records import LossScope
from leonids.spec import AdapterSpec, RunSpec
from leonids.train.probe import Totals, add_totals
from leonids.train.tap import Tap

P = ParamSpec("P")
HOST = "leonids.study.guest:Guest"
"""Named and not imported: a trainer calls this callback from outside, and the judge lives above this room."""

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


class Host(Protocol):
    """The study that a training belongs to (``study.guest.Guest``)."""

    arm: str
    seed: int
    run: str

    def reviews(self, steps: int) -> tuple[int, ...]:
        """Return the steps after which predictions fall due."""
        ...

    def begin(self, run: RunSpec) -> RunSpec:
        """Lock the study, or go on with it; return the run as planned."""
        ...

    def judge(self) -> tuple[str, ...]:
        """Judge what fell due on sealed lines; return the refuted predictions that end this training."""
        ...


@final
class LeonidsCallback(TrainerCallback):  # type: ignore[misc]
    """Writes a training's losses by role into a run folder that leonids judges, reports and serves.

    ``out`` is the folder. With ``study``, a name or a file, its predictions are locked there before the first step and
    judged at its reviews; ``arm`` and ``seed`` say which of its runs this is. Without one, ``run`` is the run's name.
    ``tokens`` names the labelled tokens of data without roles: ``answer`` when prompts are masked, else ``all``.

    At a review it asks for an evaluation and a checkpoint, where the trainer makes any. Only a refuted prediction
    marked ``kill`` ends a training, after the next step. When the callback fails, it warns, lets go and stays away.
    Raises ``SpecError`` or ``UsageError`` for a study, an arm, a seed or a run that is wrong or not named.

    >>> LeonidsCallback("runs/mine", run="first").run
    'first'
    """

    def __init__(
        self,
        out: str | Path,
        *,
        study: str | Path | None = None,
        arm: str = "",
        seed: int | None = None,
        run: str = "",
        tokens: LossScope = "answer",
    ) -> None:
        if tokens not in ("answer", "all"):
            raise UsageError(f"tokens is {tokens!r}", rule="labels are of the answer or of all tokens")
        module, name = HOST.split(":")
        self.out = Path(out)
        self.host: Host = getattr(import_module(module), name)(self.out, study=study, arm=arm, seed=seed, run=run)
        self.run = self.host.run
        self.tokens = tokens
        self.failed = ""
        self.writer: RunWriter | None = None
        self.tap: Tap | None = None
        self._clock = self._rate = 0.0
        self._losses: list[float] = []
        self._warned = False
        self._reviews: tuple[int, ...] = ()
        self._measured: set[tuple[int, str]] = set()
        self._due = False
        self._stop = False

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
        """Hook the model; lock the study; start the run folder, or go on where the trainer's checkpoint stood."""
        self.tap = Tap(more["model"], tokens=self.tokens, fail=self.give_up)
        self._reviews = self.host.reviews(state.max_steps)
        if state.is_world_process_zero:
            self.writer = self._open(args, state, more["model"])
        self._clock = time.perf_counter()

    def _open(self, args: TrainingArguments, state: TrainerState, model: Any) -> RunWriter:
        doing = self._doing(args, state, model)
        planned = self.host.begin(doing)
        ledger = Ledger.open(self.out)
        if state.global_step == 0 and run_state(ledger.entries(), self.run) == "absent":
            device = torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else str(args.device)
            config = {**doing.model_dump(mode="json"), "trainer": _plain(args.to_sanitized_dict())}
            facts = describe(config, universe_digest="unknown", device=device, packages=PACKAGES)
            facts |= {"metrics": metric_versions(), "backend": "callback"}
            writer = RunWriter.create(self.out, self.run, facts, ledger)
        else:
            at = watermark_at(self.out / self.run, state.global_step) if state.global_step else None
            writer = RunWriter.resume(self.out, self.run, ledger, at)
        if unlike := differences(planned, doing):
            LOG.warning("%s is not trained as its arm says: %s", self.run, "; ".join(unlike))
            note = {"kind": "note", "step": state.global_step, "about": "unlike the arm", "differs": unlike}
            writer.reviews.append(note)
        return writer

    def _doing(self, args: TrainingArguments, state: TrainerState, model: Any) -> RunSpec:
        """Return what the trainer is about to do, as far as a run's specification can say it."""
        peft: Any = getattr(model, "peft_config", {}).get("default")
        adapter = AdapterSpec(method="full")
        if getattr(peft, "r", None):
            targets = peft.target_modules
            adapter = AdapterSpec(
                rank=peft.r,
                alpha=float(peft.lora_alpha),
                alpha_rule="sqrt" if peft.use_rslora else "fixed",
                dropout=float(peft.lora_dropout),
                targets=tuple(sorted(targets)) if isinstance(targets, set | list | tuple) else (str(targets),),
            )
        rows = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        return RunSpec(
            run=self.run,
            arm=self.host.arm,
            universe=None,
            base=str(getattr(model.config, "_name_or_path", "") or "unnamed"),
            adapter=adapter,
            loss_on=self.tokens,
            steps=state.max_steps,
            batch_size=rows,
            lr=args.learning_rate,
            data_seed=self.host.seed,
            init_seed=self.host.seed,
            reviews=self._reviews,
        )

    @guarded
    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Judge the review that the step before passed: all that belongs to it has been written."""
        if self._due:
            self._judge(sealed=args.save_strategy != "no")

    def _judge(self, *, sealed: bool) -> None:
        self._due = False
        if self.writer is None:
            return
        if not sealed:
            # Nothing can be resumed, so no line is taken back.
            self.writer.commit()
        refuted = self.host.judge()
        if refuted:
            self._stop = True
            LOG.warning("prediction %s, marked kill, is refuted: the training ends", ", ".join(refuted))

    @guarded
    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Note the learning rate before the scheduler moves it on."""
        self._rate = float(more["optimizer"].param_groups[0]["lr"])

    @guarded
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Write the line of the step; at a review, ask for what belongs to it."""
        if self.tap is None:
            return
        step = state.global_step
        wish = {"review": step in self._reviews, "stop": self._stop} if self.writer is not None else {}
        totals, examples, agreed = self.tap.take_step(wish)
        # What the writing process wishes, all do: a process that evaluated alone would wait for ever.
        control.should_training_stop = control.should_training_stop or agreed.get("stop", False)
        if agreed.get("review", False):
            self._due = True
            control.should_evaluate = control.should_evaluate or args.eval_strategy != "no"
            control.should_save = control.should_save or args.save_strategy != "no"
        now, before = time.perf_counter(), self._clock
        self._clock = now
        if not totals and not self.tap.sampled:
            raise UsageError(
                "this trainer shows nothing to read",
                rule="a model is called with labels, and gives logits or log_probs",
                way_out="leave label smoothing and a loss function of your own out, or pass labels to the model",
            )
        if totals and not self.tap.sampled:
            self._losses.append(mean_loss(totals))
        if self.writer is None:
            return
        line: dict[str, Any] = {"kind": "step", "step": step, "split": "train", "examples": examples}
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
        """Write an observation for each evaluated row: token-weighted, so the batch size changes nothing.

        A dictionary of evaluation sets gives splits by name: validation, test, or ``transfer:NAME``.
        """
        rows = self.tap.take_held_out() if self.tap is not None else []
        split, step = split_of(more.get("metrics") or {}), state.global_step
        if self.writer is None or not rows or (step, split) in self._measured:
            return
        self._measured.add((step, split))
        # Processes fill their last batches up with rows that were evaluated already.
        with suppress(TypeError, AttributeError):
            rows = rows[: len(more["eval_dataloader"].dataset)]
        head = {"step": step, "split": split}
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
        """Seal the streams up to the trainer's checkpoint, from which they can be gone on with."""
        if self.writer is not None:
            self.writer.commit()

    @guarded
    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Close the run and judge what is left; one that was stopped before its last step can be resumed."""
        if self.tap is not None:
            self.tap.detach()
        if self.writer is not None and state.global_step >= state.max_steps:
            self.writer.finish()
            self._judge(sealed=True)
        elif self.writer is not None:
            if self._due:
                self._judge(sealed=args.save_strategy != "no")
            self.writer.close()


def watermark_at(folder: Path, step: int) -> dict[str, StreamHead]:
    """Return the heads that a run's streams had when the trainer saved its checkpoint of ``step``."""
    heads: dict[str, StreamHead] = {}
    for name in STREAMS:
        path = folder / f"{name}.jsonl"
        steps = takewhile(lambda reached: reached <= step, (line.get("step", 0) for line in read_stream(path)))
        heads[name] = locate(path, records=sum(1 for _ in steps), sha256=None).head()
    if heads["steps"]["records"] != step + 1:
        raise OutputError(
            f"{folder} does not hold the {step} steps of this checkpoint",
            rule="a run is watched from its first step on",
            way_out="choose another out= and train from the beginning",
        )
    return heads


def differences(planned: RunSpec, doing: RunSpec) -> list[str]:
    """Return in words where a training is not what its arm says."""
    said: dict[str, tuple[Any, Any]] = {"method": (planned.adapter.method, doing.adapter.method)}
    if planned.adapter.method == doing.adapter.method == "lora":
        said |= {
            "rank": (planned.adapter.rank, doing.adapter.rank),
            "scale": (planned.adapter.scale, doing.adapter.scale),
        }
    fields = ("loss_on", "batch_size", "lr")
    said |= {name: (getattr(planned, name), getattr(doing, name)) for name in fields}
    return [f"{name} is {now}, the arm says {then}" for name, (then, now) in said.items() if then != now]


def split_of(metrics: Mapping[str, float]) -> str:
    """Return the split of an evaluation from the prefix of its metrics.

    >>> split_of({"eval_loss": 1.0}), split_of({"eval_test_loss": 1.0}), split_of({"eval_far_loss": 1.0})
    ('validation', 'test', 'transfer:far')
    """
    named = next((key for key in metrics if key.startswith("eval_") and key.endswith("_loss")), "eval_loss")
    name = named.removeprefix("eval_").removesuffix("loss").removesuffix("_")
    return name if name in ("validation", "test") else f"transfer:{name}" if name else "validation"


def mean_loss(totals: Totals) -> float:
    """Return the mean loss of a step over the tokens of its totals, in nats a token."""
    cells = totals["loss"].values()
    return sum(cell[0] for cell in cells) / sum(cell[1] for cell in cells)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
