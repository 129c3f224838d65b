"""Train, validation and test are bins of the hash of an example's meaning; transfer families are other programs.

A held-out example can never be a reworded or reformatted training example, for any seed, size or worker,
because its meaning lies in another bin. Restricting a split to its bins changes the probability of a text by
the factor 1 / share, which no model can use without the hash: floors do not count it (docs/floor.md).

A transfer family asks what training cannot ask: no meaning of one is a meaning of the training program.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import final

from leonids.errors import SpecError, UsageError
from leonids.universe.blueprint import UniverseSpec
from leonids.universe.catalog import LEXICAL, shipped_names
from leonids.universe.program import PairRule
from leonids.universe.skills import ASKS, ENDS, SKILLS

SHARES: tuple[tuple[str, int], ...] = (("train", 80), ("validation", 10), ("test", 10))
"""Splits and their shares of all meanings, in percent."""

SPLITS: tuple[str, ...] = tuple(name for name, _ in SHARES)

FAMILIES: tuple[str, ...] = ("composition", "deeper", "longer", "renamed", "related")
"""What ``transfer:FAMILY`` can be."""

TRANSFER: tuple[str, ...] = tuple(f"transfer:{family}" for family in FAMILIES)

GYM = "transfer:gym"
"""The transfer split that no universe writes: tasks of other people (the room ``gym``), the same for every universe."""


@final
@dataclass(frozen=True, slots=True)
class Family:
    """The program of a split: its spec, what it does about held-out pairs, and how many steps it has at least."""

    spec: UniverseSpec
    pairs: PairRule
    least_depth: int = 1


_BINS: dict[str, range] = {}
_first = 0
for _name, _share in SHARES:
    _BINS[_name] = range(_first, _first + _share)
    _first += _share


def bin_of(meaning: str) -> int:
    """Return the bin, 0 to 99, of a meaning."""
    return int.from_bytes(blake2b(meaning.encode(), digest_size=8).digest(), "big") % 100


def share_of(split: str) -> float:
    """Return the share of its program's meanings that a split holds. Raises ``UsageError`` for an unknown split."""
    belongs("", split)
    return 1.0 if split in TRANSFER else len(_BINS[split]) / 100


def belongs(meaning: str, split: str) -> bool:
    """Return whether ``meaning``, of the split's own program, lies in ``split``.

    Raises ``UsageError`` for a split that does not exist.
    """
    if split in TRANSFER:
        return True
    if split == GYM:
        raise UsageError(
            f"{GYM} is not drawn from a universe",
            rule="its tasks are reasoning-gym's, whose probabilities nobody knows",
            way_out=f"`leonids sample --split {GYM}` draws them, studies and `leonids eval` measure on them",
        )
    if split not in _BINS:
        raise UsageError(f"unknown split {split!r}", rule=f"splits are {', '.join((*SPLITS, *TRANSFER, GYM))}")
    return bin_of(meaning) in _BINS[split]


def check_transfer(spec: UniverseSpec, splits: Sequence[str]) -> None:
    """Refuse transfer splits that ``spec`` does not have. Raises ``SpecError``."""
    check_names(splits)
    for split in splits:
        if split != GYM:
            family_of(spec, split)


def check_names(splits: Sequence[str]) -> None:
    """Refuse what is no transfer split, or named twice. Raises ``SpecError``."""
    for split in splits:
        if split not in (*TRANSFER, GYM) or splits.count(split) > 1:
            raise SpecError(f"transfer names {split!r}", rule=f"each once, of {', '.join((*TRANSFER, GYM))}")


def family_of(spec: UniverseSpec, split: str) -> Family:
    """Return the program that writes a split. Raises ``SpecError`` where the universe has no such family."""
    training = Family(spec, "without" if spec.transfer.hold_out else "any")
    transfer = spec.transfer
    if split == "transfer:composition":
        return _composition(spec)
    if split == "transfer:deeper":
        first = max(spec.depths) + 1
        deeper = replace(spec, depths={first + i: 1 / transfer.deeper for i in range(transfer.deeper)})
        return replace(training, spec=deeper, least_depth=first)
    if split == "transfer:longer":
        first = max(spec.items) + 1
        longer = {first + i: 1 / transfer.longer for i in range(transfer.longer)}
        return replace(training, spec=replace(spec, items=longer))
    if split == "transfer:renamed":
        return replace(training, spec=_renamed(spec))
    if split == "transfer:related":
        return replace(training, spec=_related(spec))
    return training


def _composition(spec: UniverseSpec) -> Family:
    if not spec.transfer.hold_out:
        raise SpecError(
            f"universe {spec.universe!r} holds no pair of skills out",
            rule="transfer:composition asks for pairs that training never shows",
            way_out='add transfer: {hold_out: ["filter>sum"]}, under a new version',
        )
    return Family(spec, "with")


def _related(spec: UniverseSpec) -> UniverseSpec:
    """New skills ask; what leads to them is known. So every pipeline has one skill that training never shows."""
    asking = {skill.name for skill in SKILLS if skill.gives in ASKS}
    ends = {skill.name for skill in SKILLS if skill.gives in ENDS}
    related = spec.transfer.related
    wrong = [name for name in related if spec.skills.get(name, 0) > 0 or name not in asking]
    if not related or wrong:
        raise SpecError(
            f"universe {spec.universe!r} has {wrong[0] if wrong else 'nothing'} as related skill",
            rule="transfer:related asks with skills that give an answer and that training never shows",
            way_out="add transfer: {related: {max: 1}} and its wording",
        )
    return replace(spec, skills={name: w for name, w in spec.skills.items() if name not in ends} | {**related})


def names_like(
    names: Sequence[str], pool: Sequence[str], *, tokens: Callable[[str], int] = lambda _word: 0
) -> tuple[str, ...]:
    """Return for each name another word of ``pool``, none twice: of as many ``tokens``, then the most alike.

    Alike are words with the same lexical properties; among these it is the one nearest in length, the earliest of the
    pool on a tie. Raises ``SpecError`` where the pool is too small.
    """
    left = [word for word in pool if word not in set(names)]
    if len(left) < len(names):
        raise SpecError(f"{len(names)} names need as many other words", rule=f"only {len(left)} are left")
    chosen = []
    for name in names:
        size = tokens(name)
        unlike = [(abs(tokens(word) - size), *_unlike(word, name)) for word in left]
        chosen.append(left.pop(unlike.index(min(unlike))))
    return tuple(chosen)


def _unlike(word: str, name: str) -> tuple[int, int]:
    return sum(test(word) != test(name) for _, test in LEXICAL), abs(len(word) - len(name))


def _renamed(spec: UniverseSpec) -> UniverseSpec:
    catalog = spec.catalog
    if catalog.stored:
        raise SpecError(
            f"universe {spec.universe!r} has stored properties",
            rule="nobody can know the facts of new words",
            way_out="use a universe without them for transfer:renamed",
        )
    names = catalog.names or shipped_names()[slice(*(catalog.shipped_names or ()))]
    words = spec.transfer.renamed or names_like(names, shipped_names())
    known = [word for word in words if word in set(names)]
    if known or len(words) != len(names):
        raise SpecError(
            f"transfer: renamed has {len(words)} words{f', {known[0]!r} among them' if known else ''}",
            rule=f"transfer:renamed needs other words for the catalog's {len(names)} names, one for each",
            way_out="leave the key away, or take renamed_words from `leonids floor UNIVERSE --tokenizer T --json`",
        )
    return replace(spec, catalog=replace(catalog, names=words, shipped_names=None))
