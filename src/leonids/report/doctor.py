"""What is installed and what the machine has: what `leonids doctor` prints."""

import os
import platform
from importlib import metadata, util

from leonids import __version__
from leonids.errors import BaseError
from leonids.floor.base_files import BASES, cache_folder, find_base
from leonids.ledger.hashing import cores

PACKAGES: tuple[tuple[str, str, str, str], ...] = (
    ("torch", "torch", "train", "training"),
    ("transformers", "transformers", "train", "training"),
    ("peft", "peft", "train", "adapters in PEFT's format"),
    ("gguf", "gguf", "train", "fetching smollm2-135m"),
    ("matplotlib", "matplotlib", "report", "figures"),
    ("markdown_it", "markdown-it-py", "report", "HTML reports"),
    ("reasoning_gym", "reasoning-gym", "reasoning-gym", "transfer:gym"),
)
"""Module, distribution, the extra that brings it, and what it is for."""


def _base_line(name: str) -> str:
    try:
        return f"base {name}: {find_base(name)}"
    except BaseError as error:
        return f"base {name}: not here; {error.way_out}"


def report_lines() -> list[str]:
    """Return the lines of the report. Looks packages up without importing them."""
    lines = [
        f"leonids {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        f"{cores()} cores, cache {cache_folder()}, LEONIDS_HOME {os.environ.get('LEONIDS_HOME', 'not set')}",
    ]
    for module, distribution, extra, use in PACKAGES:
        if util.find_spec(module) is None:
            lines.append(f"{distribution}: missing, needed for {use}; pip install 'leonids[{extra}]'")
        else:
            lines.append(f"{distribution} {metadata.version(distribution)}")
    return lines + [_base_line(row.name) for row in BASES]
