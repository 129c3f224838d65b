"""Which runs can train in one pass, and how many passes a machine's processes want. No torch here."""

from collections.abc import Sequence
from typing import TypeAlias

from leonids.spec import RunSpec

PassKey: TypeAlias = tuple[object, ...]


def pass_key(spec: RunSpec) -> PassKey:
    """Return what runs must have in common to share a pass.

    Rank, alpha, learning rate, schedule, weight decay, clip, seeds, universe and loss scope are an adapter's own.
    Dropout draws from a run's own generator, so such a run trains alone, and so does one that trains every weight.
    """
    return (
        spec.base,
        spec.start_from,
        spec.adapter.method,
        spec.dtype,
        spec.batch_size,
        spec.steps,
        spec.reviews,
        spec.review_examples,
        spec.test_examples,
        spec.transfer,
        spec.checkpoint_every,
        tuple(sorted(spec.adapter.targets)),
        spec.run if spec.adapter.dropout or spec.adapter.method == "full" else "",
    )


def plan_passes(specs: Sequence[RunSpec], *, workers: int) -> tuple[tuple[RunSpec, ...], ...]:
    """Group runs into passes: as few as the keys allow, but none with more than a worker's fair share of the work.

    Within a key the dearer runs (loss on all tokens, high rank) are dealt out evenly. A pass comes after those that
    train what it starts from; ``needs`` says which these are. Of those that can begin together the longest comes first,
    so that the short ones fill the time that is left.
    """
    groups: dict[PassKey, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(pass_key(spec), []).append(spec)
    depths = {key: depth_of(group[0], specs) for key, group in groups.items()}
    beside = {depth: sum(work_of(groups[key]) for key in groups if depths[key] == depth) for depth in depths.values()}
    passes: list[tuple[RunSpec, ...]] = []
    for key, group in groups.items():
        share = -(-work_of(group) * workers // beside[depths[key]])
        ordered = sorted(group, key=lambda spec: (spec.loss_on == "answer", -spec.adapter.rank, spec.run))
        count = min(share, len(ordered))
        passes += [tuple(ordered[start::count]) for start in range(count)]
    return tuple(sorted(passes, key=lambda one: (depth_of(one[0], specs), -work_of(one))))


def work_of(runs: Sequence[RunSpec]) -> int:
    """Return how many examples ``runs`` train on, all together."""
    return sum(run.steps * run.batch_size for run in runs)


def needs(one: Sequence[RunSpec]) -> frozenset[str]:
    """Return the names that the runs of a pass start from: these must be finished first."""
    return frozenset(spec.start_from for spec in one if spec.start_from)


def depth_of(spec: RunSpec, specs: Sequence[RunSpec]) -> int:
    """Return how many of ``specs`` must be finished, one after another, before a run can begin."""
    by_name, depth = {one.run: one for one in specs}, 0
    while spec.start_from in by_name and depth < len(by_name):
        spec, depth = by_name[spec.start_from], depth + 1
    return depth
