"""Where the questions come from: the package reasoning-gym, in the one version whose items are known.

A data set of reasoning-gym draws its item i from the generator of seed + i, so neighbouring seeds share nearly all of
their items. Streams here begin ``SPACING`` or more apart, further than anyone draws.
"""

from functools import cache
from importlib import metadata
from typing import Any, Protocol, final

from leonids.digest import stream_key
from leonids.errors import MissingDependency

PACKAGE, VERSION = "reasoning-gym", "0.1.25"

SPACING = 10**9


class Source(Protocol):
    """Whoever has questions with answers: a pure function of task, seed and index."""

    version: str

    def draw(self, task: str, *, seed: int, index: int) -> tuple[str, object]:
        """Return a question and its answer, as the source gives them."""
        ...


def stream_seed(task: str, seed: int) -> int:
    """Return the seed of a task's stream: a multiple of ``SPACING``, by a hash of the pair of 64 bits."""
    return SPACING * (1 + stream_key("gym", task, seed) % 2**64)


def check_installed() -> None:
    """Raise ``MissingDependency`` where the package is absent, or of a version that draws other items."""
    try:
        found = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        raise _missing(f"the package {PACKAGE!r} is not installed", rule="transfer:gym asks its tasks") from None
    if found != VERSION:
        raise _missing(f"{PACKAGE} {found} is installed", rule=f"the items of transfer:gym are those of {VERSION}")


def _missing(problem: str, *, rule: str) -> MissingDependency:
    return MissingDependency(problem, rule=rule, way_out="pip install 'leonids[reasoning-gym]'")


@final
class ReasoningGym:
    """The installed package. Raises ``MissingDependency`` as ``check_installed`` does, and where a part is absent."""

    version = VERSION

    def __init__(self) -> None:
        check_installed()
        try:
            # Only now: an extra, which loads more than any other command needs.
            from reasoning_gym.factory import create_dataset  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise _missing(f"the package {error.name!r} is not installed", rule=f"{PACKAGE} needs it") from error
        self._stream: Any = cache(lambda task, seed: create_dataset(task, seed=stream_seed(task, seed)))

    def draw(self, task: str, *, seed: int, index: int) -> tuple[str, object]:
        """Return item ``index`` of a task's stream: its question, and its answer, which is text or None."""
        item = self._stream(task, seed)[index]
        return item["question"], item["answer"]
