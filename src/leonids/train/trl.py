"""The back end ``trl``: the same runs through TRL's SFTTrainer and PEFT, one after another.

For what the stack is not for: models spread over processes by accelerate, targets that are no linear layers,
experts, dropout. Lines, reviews, seeds and examples are those of ``native``.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, final

import torch
from datasets import IterableDataset
from peft import LoraConfig
from torch import Tensor
from transformers import PreTrainedTokenizerFast, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTConfig, SFTTrainer

from leonids.errors import UsageError
from leonids.ledger.chain import Ledger
from leonids.ledger.disk import write_whole as write_file
from leonids.ledger.runs import RunWriter, run_state
from leonids.spec import RunSpec
from leonids.train.adapters import fresh_a, write_adapter
from leonids.train.bases import Base, load_base
from leonids.train.batches import PROMPT
from leonids.train.bodies import Body
from leonids.train.callback import WATERMARK
from leonids.train.checkpoints import KEPT, checkpoint_folder, write_whole
from leonids.train.checks import check_reviews
from leonids.train.data import Stream, open_streams
from leonids.train.evaluate import Engine, held_out, review
from leonids.train.manifest import manifest_of
from leonids.train.room import room_for
from leonids.train.scoring import linear_head
from leonids.train.stacked import Chunk
from leonids.train.stopping import Stop, stop_requests
from leonids.train.tap import FLOOR_KEY, IGNORED, ROLES_KEY, Tap

SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


@final
class Trl:
    """Trains runs one after another through TRL."""

    def fit(self, runs: Sequence[RunSpec], *, out: Path, resume: bool) -> None:
        """Train ``runs`` into ``out``; see ``Backend.fit``. Under ``accelerate launch`` every process calls this."""
        check_reviews(runs)
        with stop_requests() as stop:
            for run in runs:
                if not (resume and run_state(Ledger.open(out).entries(), run.run) == "finished"):
                    _train(run, out=out, resume=resume, stop=stop)


TRL = Trl()


@final
class OneAdapter:
    """The adapter that PEFT put on a base: always active."""

    def active(self, chunk: Chunk | None, *, keep: bool = False) -> AbstractContextManager[None]:
        """Change nothing."""
        del chunk, keep
        return nullcontext()


def rows_from(stream: Stream, first: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a stream's training split from example ``first`` on, without end."""
    index = first
    while True:
        tokens = stream.row("train", index).tokens
        yield {"input_ids": tokens.ids, "roles": tokens.roles, "floor_nats": tokens.floor_nats}
        index += 1


def collate(rows: Sequence[Mapping[str, Any]], *, scope: str, pad_id: int) -> dict[str, Tensor]:
    """Return padded inputs ``[B, T]`` with labels of the loss scope, and roles and floors for the tap."""
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, filler: float) -> Tensor:
        return torch.tensor([list(row[name]) + [filler] * (longest - len(row[name])) for row in rows])

    ids, roles = padded("input_ids", pad_id), padded("roles", PROMPT)
    lengths = torch.tensor([len(row["input_ids"]) for row in rows]).unsqueeze(1)
    places = torch.arange(longest).unsqueeze(0)
    scored = (places < lengths) & (places > 0) & ((roles != PROMPT) if scope == "answer" else True)
    return {
        "input_ids": ids,
        "attention_mask": (places < lengths).long(),
        "labels": torch.where(scored, ids, IGNORED),
        ROLES_KEY: roles,
        FLOOR_KEY: padded("floor_nats", 0.0),
    }


def _train(run: RunSpec, *, out: Path, resume: bool, stop: Stop) -> None:
    folder = out / run.run
    base = load_base(run.base, dtype=run.dtype)
    (stream,) = open_streams([run], base)
    last = _last_checkpoint(checkpoint_folder(folder)) if resume else None
    done = 0 if last is None else int(last.name.removeprefix("checkpoint-"))
    recorder = Recorder(run, base, stream, out=out, stop=stop, last=last)
    data = IterableDataset.from_generator(partial(rows_from, stream, done * run.batch_size))
    trainer = _trainer(run, base, data, folder=folder, recorder=recorder)
    for layer, a in _halves(trainer.model, "lora_A").items():
        fresh = fresh_a(layer, rank=a.shape[0], inputs=a.shape[1], init_seed=run.init_seed)
        a.data.copy_(fresh)
    with ExitStack() as opened:
        if trainer.is_world_process_zero():
            recorder.open(opened, resume=resume)
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
        if stop.asked and trainer.state.global_step < run.steps:
            raise KeyboardInterrupt
        if trainer.is_world_process_zero():
            tensors = {
                f"base_model.model.{layer}.{half}.weight": value.detach().float().cpu().contiguous()
                for half in ("lora_A", "lora_B")
                for layer, value in _halves(trainer.model, half).items()
            }
            write_whole(folder / "adapter", partial(write_adapter, tensors=tensors, spec=run.adapter, base=run.base))
            recorder.finish()


def _halves(model: Any, half: str) -> dict[str, Tensor]:
    """Return the parameters of one half of every adapter, by layer."""
    prefix, suffix = "base_model.model.", f".{half}.default.weight"
    return {
        name.removeprefix(prefix).removesuffix(suffix): parameter
        for name, parameter in model.named_parameters()
        if name.endswith(suffix)
    }


def _last_checkpoint(folder: Path) -> Path | None:
    # The watermark is written after everything else of a checkpoint: without it, it is not whole.
    steps = [int(path.parent.name.removeprefix("checkpoint-")) for path in folder.glob(f"checkpoint-*/{WATERMARK}")]
    return folder / f"checkpoint-{max(steps)}" if steps else None


def _trainer(run: RunSpec, base: Base, data: IterableDataset, *, folder: Path, recorder: "Recorder") -> SFTTrainer:
    adapter = run.adapter
    arguments = SFTConfig(
        output_dir=str(checkpoint_folder(folder)),
        max_steps=run.steps,
        learning_rate=run.lr,
        lr_scheduler_type=SCHEDULES[run.schedule],
        warmup_steps=run.warmup_steps,
        weight_decay=run.weight_decay,
        max_grad_norm=run.clip_norm,
        optim="adamw_torch",
        logging_strategy="no",
        save_strategy="no",
        save_total_limit=KEPT,
        report_to="none",
        disable_tqdm=True,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=base.device.type == "cpu",
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        ignore_data_skip=True,
        seed=run.init_seed,
    )
    if run.batch_size % arguments.world_size:
        raise UsageError(
            f"batch size {run.batch_size} on {arguments.world_size} processes",
            rule="each process takes the same number of rows",
            way_out="use a multiple",
        )
    arguments.per_device_train_batch_size = run.batch_size // arguments.world_size
    return SFTTrainer(
        model=base.model,
        args=arguments,
        train_dataset=data,
        data_collator=partial(collate, scope=run.loss_on, pad_id=base.eos_id),
        processing_class=PreTrainedTokenizerFast(
            tokenizer_object=base.tokenizer, eos_token=base.tokenizer.id_to_token(base.eos_id)
        ),
        peft_config=LoraConfig(
            r=adapter.rank,
            lora_alpha=adapter.rank if adapter.alpha_rule == "equal" else adapter.alpha,
            use_rslora=adapter.alpha_rule == "sqrt",
            lora_dropout=adapter.dropout,
            target_modules=list(adapter.targets),
            task_type="CAUSAL_LM",
        ),
        callbacks=[recorder],
    )


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
        ledger, name = Ledger.open(self.out), self.run.run
        if resume and run_state(ledger.entries(), name) == "started":
            mark = None if self.last is None else json.loads((self.last / WATERMARK).read_text(encoding="utf-8"))
            self.writer = RunWriter.resume(self.out, name, ledger, mark)
        else:
            facts = manifest_of(self.run, base=self.base, stream=self.stream, runs=[self.run], streams=[self.stream])
            self.writer = RunWriter.create(self.out, name, {**facts, "backend": "trl"}, ledger)
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
        totals, examples = self.tap.take_step()
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
        number, n = sorted(self.run.reviews).index(step), self.run.review_examples
        plans = [("validation", number * n, n)]
        if step == max(self.run.reviews):
            plans.append(("test", 0, self.run.test_examples))
        for split, first, count in plans:
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
            write_file(folder / WATERMARK, json.dumps(watermark).encode())
            self.writer.commit(watermark)


def _raise(error: Exception) -> None:
    raise error
