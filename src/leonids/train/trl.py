"""The back end ``trl``: the same runs through TRL's SFTTrainer and PEFT, one after another.

For what the stack is not for: models spread over processes by accelerate, targets that are no linear layers,
experts, dropout. Lines, reviews, seeds and examples are those of ``native``.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, final

import torch
from datasets import IterableDataset
from peft import LoraConfig
from torch import Tensor
from transformers import PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from leonids.errors import UsageError
from leonids.ledger.runs import run_state
from leonids.ledger.writers import run_ledger
from leonids.spec import AdapterSpec, RunSpec
from leonids.train.adapters import PREFIX, fresh_a, write_adapter
from leonids.train.bases import Base, load_base
from leonids.train.batches import PROMPT
from leonids.train.checkpoints import KEPT, checkpoint_folder, write_whole
from leonids.train.checks import check_reviews
from leonids.train.data import Stream, open_streams
from leonids.train.recorder import WATERMARK, Recorder
from leonids.train.starts import Start, find_start, merge, on_top
from leonids.train.stopping import Stop, stop_requests
from leonids.train.tap import FLOOR_KEY, IGNORED, ROLES_KEY

SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


@final
class Trl:
    """Trains runs one after another through TRL."""

    def check(self, runs: Sequence[RunSpec], *, out: Path) -> None:
        """Refuse runs that could not begin; see ``Backend.check``."""
        del out
        check_reviews(runs)
        alike = {(run.base, run.dtype, run.adapter.method): run for run in runs}
        for key, first in alike.items():
            base = _base(first)
            open_streams([run for run in runs if (run.base, run.dtype, run.adapter.method) == key], base)

    def fit(self, runs: Sequence[RunSpec], *, out: Path, resume: bool) -> None:
        """Train ``runs`` into ``out``; see ``Backend.fit``. Under ``accelerate launch`` every process calls this."""
        check_reviews(runs)
        with stop_requests() as stop:
            for run in runs:
                if not (resume and run_state(run_ledger(out, run.run).entries(), run.run) == "finished"):
                    _train(run, out=out, resume=resume, stop=stop)


TRL = Trl()


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
    base = _base(run)
    start = find_start(run, out=out)
    if start is not None:
        merge(base.model, start)
    (stream,) = open_streams([run], base)
    last = _last_checkpoint(checkpoint_folder(folder)) if resume else None
    done = 0 if last is None else int(last.name.removeprefix("checkpoint-"))
    recorder = Recorder(run, base, stream, out=out, stop=stop, last=last)
    recorder.start = start
    data = IterableDataset.from_generator(partial(rows_from, stream, done * run.batch_size))
    trainer = _trainer(run, base, data, folder=folder, recorder=recorder)
    if trainer.is_fsdp_enabled:
        raise UsageError(
            f"{run.run} is to be trained with sharded weights",
            rule="reviews are measured by the first process alone, which then has only a part of them",
            way_out="leave FSDP out, or use a trainer of yours with LeonidsCallback",
        )
    for layer, a in _halves(trainer.model, "lora_A").items():
        a.data.copy_(fresh_a(layer, rank=a.shape[0], inputs=a.shape[1], init_seed=run.init_seed))
    with ExitStack() as opened:
        if trainer.is_world_process_zero():
            recorder.open(opened, resume=resume)
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
        if stop.asked and trainer.state.global_step < run.steps:
            raise KeyboardInterrupt
        if trainer.is_world_process_zero():
            _save(run, base, trainer.model, start, folder=folder)
            recorder.finish()


def _base(run: RunSpec) -> Base:
    if run.adapter.method == "lora":
        return load_base(run.base, dtype=run.dtype)
    # Every weight is trained: in bfloat16 most updates would vanish in rounding.
    base = load_base(run.base, dtype="float32" if run.dtype == "auto" else run.dtype)
    base.model.requires_grad_(requires_grad=True)
    return base


def _save(run: RunSpec, base: Base, model: Any, start: Start | None, *, folder: Path) -> None:
    """Write ``adapter/`` as PEFT loads it on the bare base; or ``model/``, a base of its own, where all was trained."""
    if run.adapter.method == "full":

        def fill(target: Path) -> None:
            model.save_pretrained(target)
            base.tokenizer.save(str(target / "tokenizer.json"))

        write_whole(folder / "model", fill)
        return
    spec, tensors = (
        run.adapter,
        {
            f"{PREFIX}{layer}.{half}.weight": value.detach().float().cpu().contiguous()
            for half in ("lora_A", "lora_B")
            for layer, value in _halves(model, half).items()
        },
    )
    if start is not None:
        spec, tensors = on_top(start, spec, tensors)
    write_whole(folder / "adapter", partial(write_adapter, tensors=tensors, spec=spec, base=run.base))


def _halves(model: Any, half: str) -> dict[str, Tensor]:
    """Return the parameters of one half of every adapter, by layer."""
    suffix = f".{half}.default.weight"
    return {
        name.removeprefix(PREFIX).removesuffix(suffix): parameter
        for name, parameter in model.named_parameters()
        if name.endswith(suffix)
    }


def _last_checkpoint(folder: Path) -> Path | None:
    # The watermark is written after everything else of a checkpoint: without it, it is not whole.
    steps = [int(path.parent.name.removeprefix("checkpoint-")) for path in folder.glob(f"checkpoint-*/{WATERMARK}")]
    return folder / f"checkpoint-{max(steps)}" if steps else None


def _trainer(run: RunSpec, base: Base, data: IterableDataset, *, folder: Path, recorder: Recorder) -> SFTTrainer:
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
        peft_config=_lora(run.adapter),
        callbacks=[recorder],
    )


def _lora(spec: AdapterSpec) -> LoraConfig | None:
    if spec.method == "full":
        return None
    return LoraConfig(
        r=spec.rank,
        lora_alpha=spec.rank if spec.alpha_rule == "equal" else spec.alpha,
        use_rslora=spec.alpha_rule == "sqrt",
        lora_dropout=spec.dropout,
        target_modules=list(spec.targets),
        task_type="CAUSAL_LM",
    )
