"""Back ends: what trains runs. They are named by import string, so that naming one loads no torch."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from leonids.errors import UsageError
from leonids.spec import RunSpec


class Backend(Protocol):
    """Trains runs and writes their folders."""

    def check(self, runs: Sequence[RunSpec], *, out: Path) -> None:
        """Refuse runs that could not begin: their bases are loaded, nothing is trained or written.

        Runs of different passes may come together, and those that start from one another. Raises ``LeonidsError``.
        """
        ...

    def fit(self, runs: Sequence[RunSpec], *, out: Path, resume: bool) -> None:
        """Train ``runs`` in one pass, into ``out/<run>/``.

        With ``resume``, what was finished stays, and the rest goes on from its last checkpoint. A first SIGINT
        writes a checkpoint and raises ``KeyboardInterrupt``. Raises ``LeonidsError`` for what a user can mend.
        """
        ...


BACKENDS: Mapping[str, str] = {
    "native": "leonids.train.native:NATIVE",
    "trl": "leonids.train.trl:TRL",
}
"""Back ends by name, as ``module:attribute``."""


def load_backend(name: str) -> Backend:
    """Return the back end ``name``; raises ``UsageError`` for an unknown one."""
    if name not in BACKENDS:
        raise UsageError(f"no back end named {name!r}", rule=f"back ends are {', '.join(BACKENDS)}")
    module, _, attribute = BACKENDS[name].partition(":")
    return cast(Backend, getattr(import_module(module), attribute))
