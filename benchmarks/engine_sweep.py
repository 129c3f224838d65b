"""Eight rank-128 arms on nano in two stacked processes, against TRL and PEFT one after another on all cores.

Only training steps are timed: loading torch and the base, which a sweep through TRL would pay eight times, is not.

    python benchmarks/engine_sweep.py [--steps 14] [--repeats 5]
"""

import argparse
import os
import tempfile
from pathlib import Path

from support.engine import finish, report, run_spec, start_worker, step_seconds

ARMS, WARM = 8, 4


def stacked(out: Path, *, steps: int) -> float:
    """Return the seconds of one step of all arms, in as many one-thread processes as there are cores."""
    cores = min(ARMS, os.cpu_count() or 1)
    parts = [
        [run_spec(f"s{core}-{arm}", base="nano", rank=128, steps=steps, init_seed=arm) for arm in range(ARMS // cores)]
        for core in range(cores)
    ]
    finish([start_worker(part, out / str(core), backend="native", threads=1) for core, part in enumerate(parts)])
    return max(step_seconds(out / str(core), part[0].run, skip=WARM) for core, part in enumerate(parts))


def one_by_one(out: Path, *, steps: int) -> float:
    """Return the seconds that one step of each arm would take one after another."""
    run = run_spec("t", base="nano", rank=128, steps=steps)
    finish([start_worker([run], out, backend="trl", threads=os.cpu_count() or 1)])
    return ARMS * step_seconds(out, "t", skip=WARM)


def main() -> None:
    """Measure in turns and report the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    ratios, ours = [], []
    for _ in range(given.repeats):
        with tempfile.TemporaryDirectory() as scratch:
            slow = one_by_one(Path(scratch) / "trl", steps=given.steps)
            ours.append(stacked(Path(scratch) / "native", steps=given.steps))
            ratios.append(slow / ours[-1])
    report(
        __file__,
        ratios,
        promise="8-arm rank-128 sweep on nano, batch 16, against TRL + PEFT one after another",
        at_least=2.5,
        aim=4.0,
        adapter_examples_per_s=round(16 * ARMS / sorted(ours)[len(ours) // 2]),
    )


if __name__ == "__main__":
    main()
