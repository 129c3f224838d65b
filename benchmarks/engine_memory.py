"""Peak memory of eight rank-128 arms on nano in one stack, against eight processes with one arm each.

The resident set of one process is measured and taken eight times; libraries that processes share count each time.

    python benchmarks/engine_memory.py [--steps 4]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from support.engine import finish, report, run_spec, start_worker

ARMS = 8
ONE = "--arms"


def peak_mb(arms: int, *, steps: int) -> float:
    """Return the peak resident set of one process with ``arms`` arms. Runs in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        runs = [run_spec(f"r{arm}", base="nano", rank=128, steps=steps, init_seed=arm) for arm in range(arms)]
        return finish([start_worker(runs, Path(scratch), backend="native", threads=1)])


def main() -> None:
    """Measure both in processes of their own and report the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument(ONE, type=int, default=0, help="only print the peak of one process with so many arms")
    given = parser.parse_args()
    if given.arms:
        print(json.dumps(peak_mb(given.arms, steps=given.steps)))
        return
    peaks = {}
    for arms in (1, ARMS):
        command = [sys.executable, __file__, ONE, str(arms), "--steps", str(given.steps)]
        peaks[arms] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    report(
        __file__,
        [peaks[ARMS] / (ARMS * peaks[1])],
        promise="peak memory of 8 arms in one stack, against 8 processes (at most)",
        at_least=0.4,
        aim=0.4,
        stack_mb=round(peaks[ARMS]),
        process_mb=round(peaks[1]),
    )


if __name__ == "__main__":
    main()
