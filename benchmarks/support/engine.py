"""What the engine's benchmarks share: runs to time, the machine in words, ratios with their spread."""

import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM

from leonids.floor.base_files import find_base
from leonids.spec import AdapterSpec, RunSpec, load_universe
from leonids.train.native import Training, deterministic

PACKAGES = ("torch", "transformers", "peft", "trl")


def run_spec(name: str, *, base: str, rank: int, steps: int, **more: Any) -> RunSpec:
    """Return a run without reviews, of the universe ``consistent`` unless another is given."""
    settings: dict[str, Any] = {"batch_size": 16, "lr": 1e-3, "reviews": (), "checkpoint_every": steps}
    settings["universe"] = load_universe("consistent")
    return RunSpec(
        run=name,
        arm=name,
        base=base,
        adapter=AdapterSpec(rank=rank, alpha_rule="equal"),
        steps=steps,
        **{**settings, **more},
    )


@dataclass(frozen=True)
class Maker:
    """Makes passes inside one scratch folder."""

    scratch: Path
    opened: ExitStack

    def __call__(self, name: str, *, base: str, rank: int, arms: int = 1, **more: Any) -> Training:
        """Return a pass of ``arms`` runs, warmed by one step."""
        settings = {"steps": 1000, **more}
        runs = [run_spec(f"r{arm}", base=base, rank=rank, init_seed=arm, **settings) for arm in range(arms)]
        training = Training(runs, out=self.scratch / name, resume=False, opened=self.opened)
        steps_of(training, 1)
        return training


@contextmanager
def passes() -> Iterator[Maker]:
    """Give a maker of passes, and put away what they wrote."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as opened, deterministic():
        yield Maker(Path(scratch), opened)


def start_worker(runs: Sequence[RunSpec], out: Path, *, backend: str, threads: int) -> subprocess.Popen[bytes]:
    """Start a worker process on a pass."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "pass.json"
    body = {
        "backend": backend,
        "out": str(out),
        "threads": threads,
        "runs": [run.model_dump(mode="json") for run in runs],
    }
    path.write_text(json.dumps(body), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        [sys.executable, "-m", "leonids.train.worker", str(path)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(workers: Sequence[subprocess.Popen[bytes]]) -> float:
    """Wait for workers and return the largest resident set of any child so far, in MB."""
    for worker in workers:
        _, said = worker.communicate()
        if worker.returncode:
            raise SystemExit(said.decode()[-2000:])
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def step_seconds(out: Path, run: str, *, skip: int) -> float:
    """Return the mean seconds of a run's steps after the first ``skip``, which warm caches."""
    lines = [json.loads(line) for line in (out / run / "steps.jsonl").read_text("utf-8").splitlines()]
    walls = [line["wall_s"] for line in lines if line.get("kind") == "step"]
    return statistics.fmean(walls[skip:])


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


def steps_of(training: Training, count: int) -> float:
    """Return the processor seconds of ``count`` steps of a pass in this process, which other work disturbs least."""
    begun = time.process_time()
    for _ in range(count):
        training._step()
    return time.process_time() - begun


def report(script: str, ratios: Sequence[float], *, promise: str, at_least: float, aim: float, **more: Any) -> None:
    """Print the median ratio with its spread, and write it beside the script with the machine and versions."""
    _write(script, {"promise": promise, "at_least": at_least, "aim": aim, **_summary(ratios), **more})


def report_rows(script: str, rows: Mapping[str, Sequence[float]], *, unit: str, **more: Any) -> None:
    """Print and write the median and spread of several ratios that one script measured."""
    _write(script, {"unit": unit, "rows": {name: _summary(ratios) for name, ratios in rows.items()}, **more})


def _summary(ratios: Sequence[float]) -> dict[str, Any]:
    return {
        "ratio": round(statistics.median(ratios), 3),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "repeats": len(ratios),
    }


def _write(script: str, found: Mapping[str, Any]) -> None:
    result = {
        **found,
        "machine": f"{_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }
    Path(script).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
