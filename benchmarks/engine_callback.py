"""What LeonidsCallback adds to a step of TRL's SFTTrainer: one training that has it at every other step.

Every step trains on the same 16 rows, so that steps differ by the callback alone, and processor time is compared, on
one thread: two trainings one after another, by the clock on the wall, differ by more than what is looked for. Each
repeat is a training of its own; which steps have the callback changes from one to the next.

    python benchmarks/engine_callback.py [--base nano] [--steps 100] [--repeats 9]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from support.engine import report
from torch.utils.data import SequentialSampler
from transformers import PreTrainedTokenizerFast, TrainerCallback
from trl import SFTConfig, SFTTrainer

from leonids import LeonidsCallback, Universe
from leonids.spec import SEVEN_TARGETS, load_universe
from leonids.train import tap
from leonids.train.bases import load_base

WARM, ROWS = 6, 16


class Clock(TrainerCallback):
    """The processor seconds of each step, from its beginning to the end of all callbacks; who is watched now."""

    def __init__(self, *, first: bool) -> None:
        self.seconds: dict[bool, list[float]] = {True: [], False: []}
        self.watched = first
        self._steps = 0
        self._last = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note when a step begins; the one before has ended."""
        now = time.process_time()
        if self._steps > WARM:
            self.seconds[self.watched].append(now - self._last)
        self._steps, self.watched, self._last = self._steps + 1, not self.watched, time.process_time()


def at_every_other_step(function: Callable[..., Any], clock: Callable[[], Clock]) -> Callable[..., Any]:
    """Return ``function`` as it is at the clock's watched steps, doing nothing at the others."""
    return lambda *given, **more: function(*given, **more) if clock().watched else None


def train(base: str, *, steps: int, rows: Dataset, out: Path, clock: Clock) -> None:
    """Train ``steps`` steps, each on all ``rows``."""
    loaded = load_base(base)
    watcher = LeonidsCallback(out / "runs", run="r")
    end = loaded.tokenizer.id_to_token(loaded.eos_id)
    torch.manual_seed(0)
    trainer = SFTTrainer(
        model=loaded.model,
        args=SFTConfig(
            output_dir=str(out / "trainer"),
            max_steps=steps + WARM + 2,
            per_device_train_batch_size=ROWS,
            learning_rate=1e-3,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            seed=1,
        ),
        train_dataset=rows,
        processing_class=PreTrainedTokenizerFast(tokenizer_object=loaded.tokenizer, eos_token=end, pad_token=end),
        peft_config=LoraConfig(r=128, lora_alpha=128, target_modules=list(SEVEN_TARGETS)),
        callbacks=[watcher, clock],
    )
    trainer.train()
    if watcher.failed:
        raise SystemExit(watcher.failed)


def main() -> None:
    """Measure the callback's share of steps and report it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="nano")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    universe = Universe(load_universe("consistent"))
    texts = [universe.example("train", 0, index) for index in range(ROWS)] * (given.steps + WARM + 2)
    rows = Dataset.from_list([{"prompt": one.prompt, "completion": one.completion} for one in texts])
    clock = Clock(first=True)
    SFTTrainer._get_train_sampler = lambda _, data=None: SequentialSampler(data)
    tap.Tap._look = at_every_other_step(tap.Tap._look, lambda: clock)
    LeonidsCallback.on_step_end = at_every_other_step(LeonidsCallback.on_step_end, lambda: clock)
    ratios, step_ms = [], []
    for number in range(given.repeats):
        clock = Clock(first=number % 2 == 0)
        with tempfile.TemporaryDirectory() as scratch:
            train(given.base, steps=given.steps, rows=rows, out=Path(scratch), clock=clock)
        watched, alone = (statistics.median(clock.seconds[which]) for which in (True, False))
        ratios.append(watched / alone - 1)
        step_ms.append(1000 * alone)
    report(
        __file__,
        ratios,
        promise=f"what the callback adds to a step of SFTTrainer on {given.base}, rank 128, batch 16 (at most)",
        at_least=0.02,
        aim=0.01,
        step_ms=round(statistics.median(step_ms), 1),
    )


if __name__ == "__main__":
    main()
