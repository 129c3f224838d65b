"""Canonical JSON, SHA-256 with domain separation, and the keyed random stream."""

import hashlib
import random
from collections.abc import Mapping
from typing import TypeAlias, Union

import rfc8785

Json: TypeAlias = Union[bool, int, float, str, list["Json"], tuple["Json", ...], Mapping[str, "Json"], None]


def canonical_json(value: Json) -> bytes:
    r"""Return ``value`` as RFC 8785 JSON: one byte string for one value.

    Raises ``rfc8785.CanonicalizationError`` for NaN, infinities and integers beyond 2**53.

    >>> canonical_json({"b": 1.0, "a": "é"})
    b'{"a":"\xc3\xa9","b":1}'
    """
    return rfc8785.dumps(value)


def sha256_hex(domain: str, data: bytes) -> str:
    """Return the SHA-256 of ``domain``, a zero byte and ``data``; the domain keeps kinds of objects apart."""
    return hashlib.sha256(domain.encode() + b"\0" + data).hexdigest()


def digest_of(domain: str, value: Json) -> str:
    """Return the SHA-256 hex digest of ``value``'s canonical JSON under ``domain``."""
    return sha256_hex(domain, canonical_json(value))


def stream_key(*parts: str | int) -> int:
    """Return a 128-bit key for ``parts``: a hash of all of them, never a sum of any of them.

    Sums such as ``seed + index`` make neighbouring seeds share almost all of their examples.
    """
    text = "\x1f".join([str(part) for part in parts])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


def keyed_random(*parts: str | int) -> random.Random:
    """Return a random generator of its own for ``parts``.

    Only ``random()`` is used downstream: its sequence is the same on every platform and Python version.

    >>> keyed_random("u", "train", 1, 2).random() == keyed_random("u", "train", 1, 2).random()
    True
    >>> keyed_random("u", "train", 1, 2).random() == keyed_random("u", "train", 12, "").random()
    False
    """
    return random.Random(stream_key(*parts))
