"""SmolLM2-135M, one rank-128 adapter: this engine, against stock PEFT in float32 with the head at every position.

leonids bases get smollm2-135m && python benchmarks/engine_real_base.py [--repeats 5]
"""

import argparse
import os
import time
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from support.engine import passes, report

from leonids.spec import SEVEN_TARGETS
from leonids.train.bases import load_base


def stock_step(model: Any, optimizer: torch.optim.Optimizer, rows: list[Any]) -> float:
    """Return the seconds of one plain step on ``rows``: padded, full logits, transformers' own loss."""
    longest = max(len(row.tokens.ids) for row in rows)
    ids = torch.tensor([list(row.tokens.ids) + [2] * (longest - len(row.tokens.ids)) for row in rows])
    labels = torch.full_like(ids, -100)
    for at, row in enumerate(rows):
        labels[at, row.tokens.prompt_tokens : len(row.tokens.ids)] = ids[
            at, row.tokens.prompt_tokens : len(row.tokens.ids)
        ]
    begun = time.perf_counter()
    optimizer.zero_grad()
    model(input_ids=ids, attention_mask=(ids != 2).long(), labels=labels).loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    return time.perf_counter() - begun


def main() -> None:
    """Measure both in turns on the same batches and report the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with passes() as make:
        training = make("r", base="smollm2-135m", rank=128, batch_size=8)
        config = LoraConfig(r=128, lora_alpha=128, target_modules=list(SEVEN_TARGETS))
        stock = get_peft_model(load_base("smollm2-135m", dtype="float32").model, config)
        optimizer = torch.optim.AdamW([p for p in stock.parameters() if p.requires_grad], lr=1e-4)
        ratios, ours = [], []
        for step in range(1, given.repeats + 2):
            rows = training._rows(training.streams[0], step=step)
            slow = stock_step(stock, optimizer, rows)
            begun = time.perf_counter()
            training._step()
            ours.append(time.perf_counter() - begun)
            ratios.append(slow / ours[-1])
    report(
        __file__,
        ratios[1:],
        promise="SmolLM2-135M, one rank-128 adapter, batch 8, against stock PEFT in float32 with the full head",
        at_least=1.8,
        aim=2.5,
        threads=given.threads,
        step_s=round(sorted(ours)[len(ours) // 2], 2),
    )


if __name__ == "__main__":
    main()
