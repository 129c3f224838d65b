"""Four rank-32 adapters in one stack on a base of 5M parameters, against the same engine one adapter at a time.

python benchmarks/engine_stacked.py [--repeats 5]
"""

import argparse
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import torch
from support.engine import report, run_spec
from transformers import LlamaConfig, LlamaForCausalLM

from leonids.floor.base_files import find_base
from leonids.train.native import Training, deterministic

ARMS = 4


def five_million(folder: Path) -> Path:
    """Write a random Llama of 5M parameters with nano's tokenizer."""
    config = LlamaConfig(
        vocab_size=1024,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    shutil.copy(find_base("nano") / "tokenizer.json", folder)
    return folder


def seconds(training: Training, *, steps: int) -> float:
    """Return the seconds of ``steps`` steps."""
    begun = time.perf_counter()
    for _ in range(steps):
        training._step()
    return time.perf_counter() - begun


def main() -> None:
    """Measure both in turns in one process and report the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as opened, deterministic():
        base = str(five_million(Path(scratch) / "base"))
        runs = [run_spec(f"r{arm}", base=base, rank=32, steps=1000, init_seed=arm) for arm in range(ARMS)]
        together = Training(runs, out=Path(scratch) / "stack", resume=False, opened=opened)
        alone = Training(runs[:1], out=Path(scratch) / "alone", resume=False, opened=opened)
        seconds(together, steps=1), seconds(alone, steps=ARMS)
        ratios = []
        for _ in range(given.repeats):
            one = seconds(alone, steps=2 * ARMS)
            ratios.append(one / seconds(together, steps=2))
    chunks = [len(chunk.members) for chunk in together.stack.chunks]
    report(
        __file__,
        ratios,
        promise="5M parameters, 4 rank-32 adapters stacked, against one at a time, one thread",
        at_least=0.95,
        aim=1.1,
        chunks=chunks,
    )


if __name__ == "__main__":
    main()
