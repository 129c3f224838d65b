"""What is refused before anything is loaded or trained."""

from collections.abc import Sequence

from leonids.errors import UsageError
from leonids.spec import RunSpec
from leonids.train.passes import pass_key


def check_pass(runs: Sequence[RunSpec]) -> None:
    """Refuse runs that cannot share a pass. Raises ``UsageError``."""
    if not runs:
        raise UsageError("no runs to train", rule="a pass has at least one")
    names = [run.run for run in runs]
    if len(set(names)) < len(names):
        raise UsageError(f"runs {', '.join(names)} share a name", rule="each run has a folder of its own")
    odd = [run.run for run in runs if pass_key(run) != pass_key(runs[0])]
    if odd:
        raise UsageError(
            f"{', '.join(odd)} cannot train in one pass with {runs[0].run}",
            rule="a pass shares base, dtype, batch size, steps, reviews, targets, and has no dropout",
            way_out="train them apart: plan_passes() groups them",
        )
    full = [run.run for run in runs if run.adapter.method == "full"]
    if full:
        raise UsageError(
            f"{full[0]} trains every weight", rule="a stack trains adapters", way_out="use the back end trl"
        )
    check_reviews(runs)


def check_reviews(runs: Sequence[RunSpec]) -> None:
    """Refuse a review after the last step. Raises ``UsageError``."""
    late = [(step, run.steps) for run in runs for step in run.reviews if step > run.steps]
    if late:
        raise UsageError(
            f"a review at step {late[0][0]} of {late[0][1]}", rule="a review is at or before the last step"
        )
