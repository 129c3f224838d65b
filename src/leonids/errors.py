"""Every exception of leonids.

Each message is one line with three parts: what was wrong (with the value), the rule it broke,
and the way out. Commands print that line to stderr and exit with the class's ``exit_code``.
"""

from typing import final


class LeonidsError(Exception):
    """Base of all errors that a user can meet; catch it to catch them all."""

    exit_code = 1

    def __init__(self, problem: str, *, rule: str = "", way_out: str = "") -> None:
        self.problem = problem
        self.rule = rule
        self.way_out = way_out
        super().__init__(": ".join(part for part in (problem, "; ".join(p for p in (rule, way_out) if p)) if part))


@final
class UsageError(LeonidsError):
    """A command or function was given something it cannot accept (exit 2).

    Common causes: an argument that names nothing, a value outside its range.
    """

    exit_code = 2


@final
class SpecError(LeonidsError):
    """A study, universe or run file breaks its schema (exit 2).

    Common causes: a misspelt key, a text where a number belongs, weights that do not sum to 1.
    """

    exit_code = 2


@final
class FloorError(LeonidsError):
    """A floor cannot be computed exactly for this universe and tokenizer (exit 2).

    Common causes: a tokenizer that does not round-trip, or one that merges characters across two choices.
    """

    exit_code = 2


@final
class OutputError(LeonidsError):
    """Something could not be written (exit 1). What was written before it is intact.

    Common causes: no permission, a full disk, an output folder that holds another study.
    """


@final
class BaseError(LeonidsError):
    """A base model cannot be loaded or does not fit the run (exit 1).

    Common causes: a name that is neither shipped, nor a folder, nor in the local cache while offline.
    """


@final
class IntegrityError(LeonidsError):
    """The ledger or a run stream is not what was written (exit 3)."""

    exit_code = 3


@final
class LateError(LeonidsError):
    """A prediction came after the data it speaks of (exit 2). Register a new one; the old one stays."""

    exit_code = 2


@final
class MissingDependency(LeonidsError):
    """An optional package is needed and absent (exit 4). The message names the extra to install."""

    exit_code = 4


EXTRAS = {
    **dict.fromkeys(("matplotlib", "markdown_it"), "report"),
    **dict.fromkeys(("starlette", "uvicorn", "jinja2"), "web"),
    "reasoning_gym": "reasoning-gym",
}
"""Which extra brings an optional package; every other one is of ``train``."""


def missing_dependency(error: ModuleNotFoundError) -> MissingDependency:
    """Return the error that names the extra which brings the package that was not found."""
    extra = EXTRAS.get((error.name or "").split(".")[0], "train")
    return MissingDependency(f"the package {error.name!r} is not installed", way_out=f"pip install 'leonids[{extra}]'")


@final
class RunFailed(LeonidsError):
    """A run's process ended before its time. The message is its own; the run's folder can be resumed from."""

    def __init__(self, problem: str, *, exit_code: int = 1) -> None:
        super().__init__(problem)
        self.exit_code = exit_code
