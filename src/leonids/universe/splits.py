"""Train, validation and test: bins of the hash of an example's meaning.

A held-out example can never be a reworded or reformatted training example, for any seed, size or worker,
because its meaning lies in another bin. Restricting a split to its bins changes the probability of a text by
the factor 1 / share, which no model can use without the hash: floors do not count it (docs/floor.md).
"""

from hashlib import blake2b

from leonids.errors import UsageError

SHARES: tuple[tuple[str, int], ...] = (("train", 80), ("validation", 10), ("test", 10))
"""Splits and their shares of all meanings, in percent."""

SPLITS: tuple[str, ...] = tuple(name for name, _ in SHARES)

_BINS: dict[str, range] = {}
_first = 0
for _name, _share in SHARES:
    _BINS[_name] = range(_first, _first + _share)
    _first += _share


def bin_of(meaning: str) -> int:
    """Return the bin, 0 to 99, of a meaning."""
    return int.from_bytes(blake2b(meaning.encode(), digest_size=8).digest(), "big") % 100


def belongs(meaning: str, split: str) -> bool:
    """Return whether ``meaning`` lies in ``split``. Raises ``UsageError`` for a split that does not exist."""
    if split not in _BINS:
        raise UsageError(f"unknown split {split!r}", rule=f"splits are {', '.join(SPLITS)}")
    return bin_of(meaning) in _BINS[split]
