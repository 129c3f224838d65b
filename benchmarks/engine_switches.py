"""Each switch of the engine alone: the same training step with it off, against with it on.

leonids bases get smollm2-135m && python benchmarks/engine_switches.py [--repeats 5]
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from support.engine import (
    Maker,
    finish,
    five_million,
    passes,
    report_rows,
    run_spec,
    start_worker,
    step_seconds,
    steps_of,
)

from leonids.train import native, stacked

ARMS, WARM, STEPS = 4, 2, 6


def one_chunk(room: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``room_for`` without its limit of adapters that go through the base together."""
    return lambda *given, **more: replace(room(*given, **more), adapters=10**6, mixed=True)


def in_turns(off: Callable[[], float], on: Callable[[], float], *, repeats: int) -> list[float]:
    """Return the ratios off / on of runs that take turns."""
    return [off() / on() for _ in range(repeats)]


def switches(make: Maker, *, five: str, real: str) -> Iterator[tuple[str, Callable[[], float], Callable[[], float]]]:
    """Yield each switch's name, and the seconds without and with it."""
    alone = make("alone", base="nano", rank=128)
    together = make("together", base="nano", arms=ARMS, rank=128)
    yield (
        f"stacking: {ARMS} rank-128 adapters on nano in one pass, against one after another",
        lambda: ARMS * steps_of(alone, 2),
        lambda: steps_of(together, 2),
    )

    def products() -> float:
        with patch.object(stacked, "writes_down", lambda **_: False):
            return steps_of(together, 2)

    yield (
        "weights written down where cheaper: nano, rank 128, against two products",
        products,
        lambda: steps_of(together, 2),
    )

    def padded() -> float:
        with patch.object(together.engine.body, attribute="ragged", new=False):
            return steps_of(together, 2)

    yield "no padding: nano, rank 128, against padded rows", padded, lambda: steps_of(together, 2)
    chunked = make("chunked", base=five, arms=8, rank=32)
    with patch.object(native, "room_for", one_chunk(native.room_for)):
        whole = make("whole", base=five, arms=8, rank=32)
    members = len(chunked.stack.chunks[0].members)
    yield (
        f"chunks: 8 rank-32 adapters on 5M parameters in chunks of {members}, against all at once",
        lambda: steps_of(whole, 1),
        lambda: steps_of(chunked, 1),
    )
    wide = make("wide", base=real, rank=128, batch_size=8, dtype="float32")
    narrow = make("narrow", base=real, rank=128, batch_size=8, dtype="bfloat16")
    yield (
        "bfloat16 base: SmolLM2-135M, rank 128, against float32",
        lambda: steps_of(wide, 1),
        lambda: steps_of(narrow, 1),
    )
    every = make("every", base=real, rank=128, batch_size=8, dtype="float32", loss_on="all")
    yield (
        "head and end of the last block at answer tokens alone: SmolLM2-135M, float32, against every token",
        lambda: steps_of(every, 1),
        lambda: steps_of(wide, 1),
    )


def processes(scratch: Path, *, count: int) -> float:
    """Return the seconds of one step of 8 arms on nano in ``count`` processes that share the cores."""
    cores = os.cpu_count() or 1
    parts = [
        [
            run_spec(f"p{part}-{arm}", base="nano", rank=128, steps=WARM + STEPS, init_seed=arm)
            for arm in range(8 // count)
        ]
        for part in range(count)
    ]
    folders = [scratch / f"{count}-{part}" for part in range(count)]
    finish(
        [
            start_worker(part, out, backend="native", threads=max(1, cores // count))
            for part, out in zip(parts, folders, strict=True)
        ]
    )
    return max(step_seconds(out, part[0].run, skip=WARM) for part, out in zip(parts, folders, strict=True))


def main() -> None:
    """Measure each switch in turns and report the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[float]] = {}
    with passes() as make:
        five = str(five_million(make.scratch / "base"))
        for name, off, on in switches(make, five=five, real="smollm2-135m"):
            rows[name] = in_turns(off, on, repeats=given.repeats)
    cores = os.cpu_count() or 1
    ratios = []
    for _ in range(given.repeats):
        with tempfile.TemporaryDirectory() as scratch:
            ratios.append(processes(Path(scratch), count=1) / processes(Path(scratch), count=cores))
    rows[f"a process a core: 8 rank-128 adapters on nano, {cores} processes of one thread, against one of {cores}"] = (
        ratios
    )
    report_rows(__file__, rows, unit="seconds of a step without / with it")


if __name__ == "__main__":
    main()
