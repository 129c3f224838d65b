"""False verdicts of leonids, preregister and newlife on the same simulated nulls.

Two nulls, each at 2, 3, 5 and 10 seeds, looked at once and at five reviews:

- *no difference*: two arms whose true means are equal. Claimed: the first lies above the second. Any "supported"
  (or its peer's word for it) at any look is false.
- *at the margin*: two arms whose true means differ by one standard deviation between seeds, the margin. Claimed:
  they are similar. Any "supported" at any look is false.

A seed's five values share what is the seed's own (its variance is 0.7) beside what is new at each review (0.3).
A rate may exceed 5 % by no more than the noise of the simulation. Each program runs as its documents have
it; `preregister` also at its most careful (Welch, Holm).

    python benchmarks/false_verdicts.py [--draws 1000] [--preregister PYTHON] [--newlife PYTHON]

`--preregister` and `--newlife` name interpreters that have these packages (0.1.0 and 0.1.5; the latter needs Python
3.12). Without them virtual environments are made in a temporary folder, with pip. What cannot be had is said so.
"""

import argparse
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

import numpy as np

from leonids.claims.evidence import RunFacts, Units, Window
from leonids.claims.judge import judge
from leonids.claims.measure import Measure
from leonids.claims.prediction import Expect, Hypothesis, Prediction

SEEDS = (2, 3, 5, 10)
LOOKS = (1, 5)
REVIEWS = (0.15, 0.3, 0.5, 0.6, 1.0)
MARGIN = 1.0
PLANNED = 100
NULLS = ("no difference", "at the margin")
PROMISED = 0.05

PREREGISTER = """
import json, sys
import numpy as np
from preregister.analysis import adjust_p_values, evaluate_claim
from preregister.registry import AnalysisPlan, Comparison
asked = json.load(sys.stdin)
rng = np.random.default_rng(0)
plan = AnalysisPlan(test=asked["test"], n_seeds=len(asked["draws"][0][0][0]))
claim = Comparison.parse("a - b > 0" if asked["null"] == "no difference" else "d in [-1, 1]")
wrong = 0
for draw in asked["draws"]:
    ps = []
    for a, b in draw:
        a, b = np.array(a), np.array(b)
        samples = {"a": a, "b": b, "d": a - b}
        ps.append(evaluate_claim(claim, samples, plan, rng).p_confirm)
    wrong += bool((adjust_p_values(np.array(ps), asked["correction"]) < 0.05).any())
print(wrong)
"""

NEWLIFE = """
import json, sys
from newlife.stochastic.equivalence import equivalent
asked = json.load(sys.stdin)
wrong = 0
for number, draw in enumerate(asked["draws"]):
    wrong += any(equivalent({0: a}, {0: b}, level=0.95, resamples=300, seed=number)[0] for a, b in draw)
print(wrong)
"""


@final
@dataclass(frozen=True)
class Drawn:
    """Evidence of one drawn world: ``values[arm]`` is ``[looks, seeds]``."""

    values: dict[str, Any]
    reviews: tuple[int, ...]

    def runs(self, arm: str, *, prediction: str) -> tuple[RunFacts, ...]:
        """Return the runs of an arm."""
        seeds = range(len(self.values[arm][0]))
        return tuple(RunFacts(f"{arm}{seed}", arm, seed, PLANNED, PLANNED, "sealed") for seed in seeds)

    def units(self, run: str, *, metric: str, tokens: str, split: str, window: Window) -> Units | None:
        """Return the one value of a run at a review."""
        value = self.values[run[0]][self.reviews.index(window.last_step)][int(run[1:])]
        step = np.array([window.last_step])
        return Units(np.array([value]), np.ones(1), step, np.zeros(1, dtype=np.int64), "examples")

    def last_step(self, run: str, *, split: str, by: int) -> int | None:
        """Return the last review up to a step."""
        return max((step for step in self.reviews if step <= by), default=None)


def draws(null: str, *, seeds: int, looks: int, number: int) -> Any:
    """Return drawn worlds ``[number, looks, 2, seeds]``; the standard deviation between differences of seeds is 1."""
    rng = np.random.default_rng([NULLS.index(null), seeds, looks])
    own = rng.normal(size=(number, 1, 2, seeds)) * math.sqrt(0.7)
    new = rng.normal(size=(number, looks, 2, seeds)) * math.sqrt(0.3)
    values = (own + new) / math.sqrt(2)
    if null == "at the margin":
        values[:, :, 0] += MARGIN
    return values


def hypothesis(null: str, looks: int) -> dict[str, Hypothesis]:
    """Return the claim at each of the looks: one hypothesis, so one family."""
    expect = Expect(above=0.0) if null == "no difference" else Expect(coincide=MARGIN)
    measures = [Measure(metric="loss", arm="a", versus="b", at=at) for at in REVIEWS[-looks:]]
    claims = [Prediction(id=f"P{i}", says="so", measure=m, expect=expect) for i, m in enumerate(measures)]
    return {"H": Hypothesis(claim="c", predictions=tuple(claims))}


def ours(null: str, drawn: Any) -> int:
    """Return in how many worlds leonids supports a false claim."""
    looks = drawn.shape[1]
    claims = hypothesis(null, looks)
    reviews = tuple(round(PLANNED * at) for at in REVIEWS[-looks:])
    worlds = (Drawn({"a": world[:, 0], "b": world[:, 1]}, reviews) for world in drawn)
    return sum(any(verdict.word == "supported" for verdict in judge(claims, world, at=None)) for world in worlds)


def asking(python: str, script: str, **settings: str) -> Callable[[str, Any], int]:
    """Return what asks a peer, in its own interpreter."""

    def ask(null: str, drawn: Any) -> int:
        question = json.dumps({"null": null, "draws": drawn.tolist(), **settings})
        done = subprocess.run([python, "-c", script], input=question, capture_output=True, text=True, check=True)
        return int(done.stdout)

    return ask


def interpreter(package: str, given: str | None, candidates: Sequence[str], scratch: Path) -> tuple[str | None, str]:
    """Return an interpreter that has a package, and where it is from; None with the reason where none can be had."""
    if given is not None:
        return given, "given"
    found = next(filter(None, map(shutil.which, candidates)), None)
    if found is None:
        return None, f"none of {', '.join(candidates)} is on this machine"
    folder = scratch / package.split("=")[0]
    for command in ([found, "-m", "venv", str(folder)], [str(folder / "bin/pip"), "install", "--quiet", package]):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None, f"{package} could not be installed for {found}"
    return str(folder / "bin/python"), found


def contestants(
    given: argparse.Namespace, scratch: Path
) -> tuple[dict[str, Callable[[str, Any], int]], dict[str, str]]:
    """Return the programs by name, and why others are absent."""
    programs: dict[str, Callable[[str, Any], int]] = {"leonids": ours}
    absent = {}
    python, why = interpreter("preregister==0.1.0", given.preregister, [sys.executable], scratch)
    if python is None:
        absent["preregister"] = why
    else:
        programs["preregister"] = asking(python, PREREGISTER, test="bootstrap", correction="none")
        programs["preregister (welch, holm)"] = asking(python, PREREGISTER, test="welch", correction="holm")
    names = [f"python3.{minor}" for minor in range(12, 16)]
    python, why = interpreter("newlife==0.1.5", given.newlife, names, scratch)
    if python is None:
        absent["newlife"] = why
    else:
        programs["newlife"] = asking(python, NEWLIFE)
    return programs, absent


def main() -> None:
    """Simulate, print the table, write the result beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--preregister", help="an interpreter with preregister 0.1.0")
    parser.add_argument("--newlife", help="an interpreter with newlife 0.1.5")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        programs, absent = contestants(given, Path(scratch))
        for null in NULLS:
            for looks in LOOKS:
                for seeds in SEEDS:
                    drawn = draws(null, seeds=seeds, looks=looks, number=given.draws)
                    # newlife has no claim of a difference; it says equivalent, or not.
                    asked = [name for name in programs if name != "newlife" or null == "at the margin"]
                    rates = {name: programs[name](null, drawn) / given.draws for name in asked}
                    rows.append({"null": null, "looks": looks, "seeds": seeds, "false": rates})
                    shown = "  ".join(f"{name} {100 * rate:.1f} %" for name, rate in rates.items())
                    print(f"{null:14s} looks {looks}  seeds {seeds:2d}  {shown}", flush=True)
    for name, why in absent.items():
        print(f"{name} is absent: {why}")
    result = {
        "promised": PROMISED,
        "draws": given.draws,
        "standard_error_at_promised": round(math.sqrt(PROMISED * (1 - PROMISED) / given.draws), 4),
        "rows": rows,
        "absent": absent,
        "versions": {"leonids": version_of("leonids"), "preregister": "0.1.0", "newlife": "0.1.5"}
        | {"numpy": version("numpy"), "scipy": version("scipy"), "python": platform.python_version()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def version_of(name: str) -> str:
    """Return the version of the code that runs, installed or not."""
    return str(__import__(name).__version__)


if __name__ == "__main__":
    main()
