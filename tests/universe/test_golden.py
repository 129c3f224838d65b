"""A universe's version is a promise: the same bytes under any hash seed, in any number of processes, on any Python."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from leonids.spec import load_universe, shipped_universes

GOLDEN = Path(__file__).parents[1] / "golden"
FEW, ALL = 20, 1000
SPECS = pickle.dumps([load_universe(name) for name in shipped_universes()])
SETTINGS = [(seed, workers) for seed in ("0", "1", "random") for workers in (1, 4)]
VERSIONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with leonids and the one package that a universe needs, for Pythons that have neither."""
    folder = tmp_path_factory.mktemp("library")
    for name in ("leonids", "rfc8785"):
        found = find_spec(name)
        assert found is not None
        assert found.origin is not None
        (folder / name).symlink_to(Path(found.origin).parent)
    return folder


def stored(examples: int) -> dict[str, str]:
    """The digests on disk, of that many examples a split."""
    golden = json.loads((GOLDEN / "universes.json").read_text())
    return {name: digest for name, digest in golden.items() if name.endswith(f"/{FEW}") == (examples == FEW)}


def digests(library: Path, python: str = sys.executable, *, examples: int, seed: str = "0", workers: int = 1) -> object:
    """What a fresh process finds, which reads no site packages."""
    command = [python, "-S", str(GOLDEN / "make.py"), f"--examples={examples}", f"--workers={workers}"]
    quiet = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(library), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, input=SPECS, env={**os.environ, **quiet}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def interpreters() -> list[str]:
    """This Python, and those on PATH that really start and are what their names say."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    for version in VERSIONS:
        for folder in os.environ["PATH"].split(os.pathsep):
            python = shutil.which(f"python{version}", path=folder)
            if python and version not in found:
                done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
                if done.stdout.strip() == version:
                    found[version] = python
    return list(found.values())


@pytest.mark.parametrize(("seed", "workers"), [("0", 1), ("1", 4), ("random", 1)])
def test_every_split_has_its_bytes_under_any_hash_seed_and_number_of_workers(
    library: Path, seed: str, workers: int
) -> None:
    assert digests(library, examples=FEW, seed=seed, workers=workers) == stored(FEW)


def test_every_python_that_is_here_writes_the_same_bytes(library: Path) -> None:
    for python in interpreters():
        assert digests(library, python, examples=FEW) == stored(FEW), python


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "workers"), SETTINGS)
def test_a_thousand_examples_of_every_split_have_their_bytes_under_any_hash_seed_and_number_of_workers(
    library: Path, seed: str, workers: int
) -> None:
    assert digests(library, examples=ALL, seed=seed, workers=workers) == stored(ALL)


@pytest.mark.slow
@pytest.mark.parametrize("python", interpreters())
def test_a_thousand_examples_of_every_split_have_their_bytes_on_every_python_that_is_here(
    library: Path, python: str
) -> None:
    assert digests(library, python, examples=ALL) == stored(ALL)
