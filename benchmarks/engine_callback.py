"""What LeonidsCallback adds to a step of TRL's SFTTrainer: the same loop with and without it, in turns.

Each pair trains the same steps twice, in alternating order; the ratio compares the median step of each. What is spent
inside the callback's own hooks is counted besides, since two loops differ by more than 1 % on a machine that does
something else.

    python benchmarks/engine_callback.py [--base nano] [--steps 60] [--repeats 9]
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
from transformers import PreTrainedTokenizerFast, TrainerCallback
from trl import SFTConfig, SFTTrainer

from leonids import LeonidsCallback, Universe
from leonids.spec import SEVEN_TARGETS, load_universe
from leonids.train import tap
from leonids.train.bases import load_base

WARM = 5


class Clock(TrainerCallback):
    """The seconds of each step, from its beginning to the end of all callbacks."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self._last = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note when a step begins; the one before has ended."""
        now = time.perf_counter()
        if self._last:
            self.steps.append(now - self._last)
        self._last = now


def around(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """Return ``function`` with its seconds added to ``spent``."""

    def timed(*arguments: Any, **more: Any) -> Any:
        begun = time.perf_counter()
        found = function(*arguments, **more)
        spent[0] += time.perf_counter() - begun
        return found

    return timed


def median_step(base: str, *, steps: int, rows: Dataset, out: Path, watched: bool) -> float:
    """Train ``steps`` steps and return the median seconds of one."""
    loaded = load_base(base)
    clock = Clock()
    watchers: list[TrainerCallback] = [LeonidsCallback(out / "runs", run="r")] if watched else []
    end = loaded.tokenizer.id_to_token(loaded.eos_id)
    torch.manual_seed(0)
    trainer = SFTTrainer(
        model=loaded.model,
        args=SFTConfig(
            output_dir=str(out / "trainer"),
            max_steps=steps + WARM + 1,
            per_device_train_batch_size=16,
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
        callbacks=[*watchers, clock],
    )
    trainer.train()
    return statistics.median(clock.steps[WARM:])


def main() -> None:
    """Measure the callback's share of steps and report it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="nano")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    universe = Universe(load_universe("consistent"))
    texts = [universe.example("train", 0, index) for index in range(16 * (given.steps + WARM + 1))]
    rows = Dataset.from_list([{"prompt": one.prompt, "completion": one.completion} for one in texts])
    spent = [0.0]
    tap.Tap._look = around(tap.Tap._look, spent)
    LeonidsCallback.on_step_end = around(LeonidsCallback.on_step_end, spent)
    ratios, inside = [], []
    for number in range(given.repeats):
        seconds = {}
        for watched in (number % 2 == 0, number % 2 == 1):
            with tempfile.TemporaryDirectory() as scratch:
                spent[0] = 0.0
                seconds[watched] = median_step(
                    given.base, steps=given.steps, rows=rows, out=Path(scratch), watched=watched
                )
            if watched:
                inside.append(spent[0] / (given.steps + WARM + 1) / seconds[True])
        ratios.append(seconds[True] / seconds[False] - 1)
    report(
        __file__,
        ratios,
        promise=f"what the callback adds to a step of SFTTrainer on {given.base}, rank 128, batch 16 (at most)",
        at_least=0.02,
        aim=0.01,
        inside_its_hooks=[round(statistics.median(inside), 4), round(min(inside), 4), round(max(inside), 4)],
    )


if __name__ == "__main__":
    main()
