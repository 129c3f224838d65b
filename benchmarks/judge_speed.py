"""How long `leonids judge` takes, and how much memory, on a large study: 8 arms x 5 seeds x 40,000 steps.

The promise is under 5 s and 1 GB, reading the streams included. The study is `consistent-universe` with eight of
its arms; its streams are written by the ledger's own writer, with drawn values in place of trained ones. Each
`judge` is a process of its own, so that starting Python and importing scipy count as well.

    python benchmarks/judge_speed.py [--steps 40000] [--seeds 5] [--repeats 3] [--keep DIR]
"""

import argparse
import json
import math
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from leonids.claims.prediction import Hypothesis
from leonids.ledger.runs import RunWriter
from leonids.spec import RunSpec, find_study, load_study
from leonids.study.conduct import register
from leonids.study.plan import Choices, make_plan

ARMS = (
    "consistent-r128",
    "consistent-r64",
    "consistent-r32",
    "consistent-r8",
    "constant-r128",
    "disorder-r128",
    "prompt-r128",
    "prompt-r32",
)
COUNTS = {"copied": 5, "decided": 43, "end": 16, "structure": 47}
COMMIT_EVERY = 500


def metrics(progress: float, *, rng: random.Random, scale: int) -> dict[str, dict[str, list[float]]]:
    """Return totals and counts as the probe writes them, of ``scale`` times the tokens of one example."""
    loss = 0.2 + math.exp(-4 * progress) + 0.05 * rng.gauss(0, 1)
    sure = min(0.99, 0.5 + 0.45 * progress)
    found: dict[str, dict[str, list[float]]] = {}
    for role, whole in COUNTS.items():
        count = max(1, whole * scale // 16)
        right = round(sure * count)
        rows = {
            "loss": [abs(loss) * count, count],
            "floor": [0.0, count],
            "confidence": [sure * count, count],
            "gold_confidence": [sure * count * 0.99, count],
            "confidence_right": [sure * right, right],
            "confidence_wrong": [0.4 * (count - right), count - right],
            "token_accuracy": [right, count],
        }
        for metric, (total, n) in rows.items():
            if n:
                found.setdefault(metric, {})[role] = [round(total + 1e-6 * rng.random(), 9), n]
    matched = sum(rng.random() < sure for _ in range(scale))
    found["match"] = {"example": [matched, scale]}
    return found


def write_run(out: Path, run: RunSpec, ledger: object) -> None:
    """Write one run's folder: every step, and every review with its examples."""
    rng = random.Random(f"{run.run}")
    with RunWriter.create(out, run.run, {"run": run.run}, ledger) as writer:  # type: ignore[arg-type]
        for step in range(run.steps + 1):
            if step:
                progress = step / run.steps
                record = {"examples": 16, "kind": "step", "lr": 1e-3 * (1 - progress), "split": "train", "step": step}
                writer.steps.append({**record, "wall_s": 0.1, "metrics": metrics(progress, rng=rng, scale=16)})
            if step in run.reviews:
                for split in ("validation", "test") if step == run.steps else ("validation",):
                    n = run.test_examples if split == "test" else run.review_examples
                    for index in range(n):
                        measured = metrics(step / run.steps, rng=rng, scale=1)
                        line = {"index": index, "kind": "observation", "split": split, "step": step}
                        writer.reviews.append({**line, "metrics": measured, "tags": {"depth": 2, "skill": "count"}})
                    writer.reviews.append({"kind": "review", "split": split, "step": step, "metrics": {}, "audit": {}})
            if step % COMMIT_EVERY == 0 and step:
                writer.commit()
        writer.finish()


def fitted(family: Hypothesis, *, seeds: int) -> Hypothesis:
    """Return a hypothesis without rivals of arms that are left out; of one seed, its claims speak of that run alone."""
    claims = [replace(p, rivals=tuple(r for r in p.rivals if not r.arm or r.arm in ARMS)) for p in family.predictions]
    if seeds == 1:
        claims = [replace(p, scope="run", measure=replace(p.measure, seed=0)) for p in claims]
    return replace(family, predictions=tuple(claims))


def write_study(out: Path, *, steps: int, seeds: int) -> int:
    """Write the study's folder and return how many predictions it has."""
    path = find_study("consistent-universe")
    study = load_study(path)
    said = {name: fitted(family, seeds=seeds) for name, family in study.hypotheses.items()}
    study = study.model_copy(update={"seeds": tuple(range(seeds)), "hypotheses": said})
    plan = make_plan(study, Choices(arms=ARMS, steps=steps), beside=path.parent)
    ledger = register(plan, out)
    for run in plan.runs:
        write_run(out, run, ledger)
    return len(plan.predictions)


def judge(out: Path) -> tuple[float, float, float, int]:
    """Return seconds on the wall and of CPU, the largest resident set in MB, the verdicts of one `leonids judge`."""
    before, spent = time.perf_counter(), os.times()
    script = (
        "import resource, sys; sys.argv = ['leonids', 'judge', sys.argv[1], '--json']\n"
        "from leonids.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    sys.stderr.write(f'peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}')\n"
    )
    # Python keeps what it has compiled, unless it is told not to: then every start compiles the program anew.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", script, str(out)]
    done = subprocess.run(command, env=kept, capture_output=True, text=True, check=True)
    seconds, now = time.perf_counter() - before, os.times()
    cpu = now.children_user + now.children_system - spent.children_user - spent.children_system
    return seconds, cpu, int(done.stderr.rsplit(" ", 1)[1]) / 1024, len(json.loads(done.stdout))


def main() -> None:
    """Write the study, judge it a few times, print the figures and write them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="write the study here and keep it; one that is there is judged again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = given.keep or Path(scratch) / "study"
        begun = time.perf_counter()
        if not out.is_dir():
            write_study(out, steps=given.steps, seeds=given.seeds)
            print(f"written in {time.perf_counter() - begun:.0f} s")
        size = sum(path.stat().st_size for path in out.rglob("*.jsonl")) / 1e6
        found = [judge(out) for _ in range(given.repeats)]
    result = {
        "arms": len(ARMS),
        "seeds": given.seeds,
        "steps": given.steps,
        "verdicts": found[0][3],
        "streams_mb": round(size),
        "seconds": [round(one[0], 2) for one in found],
        "cpu_seconds": [round(one[1], 2) for one in found],
        "peak_mb": round(max(one[2] for one in found)),
        "promise": {"seconds": 5, "peak_mb": 1000},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "scipy": version("scipy"),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
