"""How well the words of ``transfer:renamed`` equal the names that they replace, in a tokenizer's tokens."""

from collections.abc import Callable, Sequence
from functools import cache

from leonids.floor.tokens import Tokenizer
from leonids.universe.catalog import shipped_names
from leonids.universe.splits import names_like
from leonids.universe.universe import Universe

RENAMING = ("train", "transfer:renamed")


def equal_token_share(universe: Universe, tokenizer: Tokenizer) -> float:
    """Return the share of words that ``transfer:renamed`` replaces by words of as many tokens.

    Raises ``SpecError`` where the universe has no such split.
    """
    names, words = (universe.names(split) for split in RENAMING)
    return _equal_share(names, words, _tokens_of(universe, tokenizer))


def renaming_of_equal_tokens(universe: Universe, tokenizer: Tokenizer) -> tuple[tuple[str, ...], float]:
    """Return the shipped words that come nearest to the universe's names in tokens, then in spelling.

    With them the share of names that they equal in tokens. Raises ``SpecError`` where there are too few words.
    """
    tokens = _tokens_of(universe, tokenizer)
    words = names_like(universe.names(), shipped_names(), tokens=tokens)
    return words, _equal_share(universe.names(), words, tokens)


def _tokens_of(universe: Universe, tokenizer: Tokenizer) -> Callable[[str], int]:
    """Return how many tokens a name has as the universe writes it."""
    return cache(lambda name: len(tokenizer.encode(universe.spec.layout.name.replace("{}", name))[0]))


def _equal_share(names: Sequence[str], words: Sequence[str], tokens: Callable[[str], int]) -> float:
    return sum(tokens(a) == tokens(b) for a, b in zip(names, words, strict=True)) / len(names)
