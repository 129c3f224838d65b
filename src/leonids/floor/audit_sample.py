"""What is measured on a bounded sample of a file: tokens, lengths, compressed size, near duplicates."""

import bz2
import hashlib
import heapq
import lzma
import math
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from leonids.floor.audit_formats import normal
from leonids.floor.audit_index import hash_of
from leonids.floor.audit_rows import Row

MOST_ROWS = 4_000
MOST_CHARS = 32 << 20
LONGEST = 4
COMPRESSED_BYTES = 4 << 20
ANSWER_CHARS = 16 << 20
NEAR_ROWS = 100_000
VALUES, BANDS, ALIKE = 32, 8, 0.8
SHINGLE_WORDS, MOST_SHINGLES = 3, 4_096
BATCH = 256


@final
class Sample:
    """Examples chosen by the hash of their line number, so that the order of a file decides nothing.

    At most ``MOST_ROWS`` examples and ``MOST_CHARS`` characters are held, and the ``LONGEST`` besides.
    """

    def __init__(self) -> None:
        self._chosen: list[tuple[int, int, Row]] = []
        self._longest: list[tuple[int, int, Row]] = []
        self._chars = 0

    def add(self, row: Row) -> None:
        """Offer one example to the sample."""
        key = int.from_bytes(hashlib.blake2b(row.line.to_bytes(8, "big"), digest_size=8).digest(), "big")
        length = len(row.text)
        heapq.heappush(self._chosen, (-key, row.line, row))
        self._chars += length
        while len(self._chosen) > 1 and (len(self._chosen) > MOST_ROWS or self._chars > MOST_CHARS):
            self._chars -= len(heapq.heappop(self._chosen)[2].text)
        heapq.heappush(self._longest, (length, -row.line, row))
        if len(self._longest) > LONGEST:
            heapq.heappop(self._longest)

    @property
    def rows(self) -> list[Row]:
        """The sample, in the order of the file."""
        return [row for _, _, row in sorted(self._chosen, key=lambda item: item[1])]

    @property
    def longest(self) -> list[Row]:
        """The examples with the most characters of the whole file."""
        return [row for _, _, row in self._longest]


@final
@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of sampled examples without a chat template's: of prompts, of answers with their end tokens, of each.

    ``examples`` and ``longest`` hold (line, tokens).
    """

    prompt: int
    answer: int
    examples: tuple[tuple[int, int], ...]
    longest: tuple[int, int]


def lengths(sample: Sample, tokenizer: Tokenizer) -> Lengths:
    """Return the lengths of a sample in a tokenizer's tokens."""
    rows, longest = sample.rows, sample.longest
    prompts = _counts(tokenizer, [row.prompt for row in rows])
    answers = _counts(tokenizer, [row.answer or "" for row in rows])
    ends = [1] * len(rows)
    whole = [sum(parts) for parts in zip(prompts, answers, ends, strict=True)]
    top = [n + 1 for n in _counts(tokenizer, [row.text for row in longest])]
    known = list(zip([row.line for row in rows], whole, strict=True))
    most = max([*known, *zip([row.line for row in longest], top, strict=True)], key=lambda item: item[1])
    return Lengths(sum(prompts), sum(answers) + len(rows), tuple(known), most)


def _counts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    found: list[int] = []
    for start in range(0, len(texts), BATCH):
        encoded = tokenizer.encode_batch(list(texts[start : start + BATCH]), add_special_tokens=False)
        found += [len(one.ids) for one in encoded]
    return found


@final
class AnswerTokens:
    """How often each token occurs in the answers, until ``ANSWER_CHARS`` characters of them were read.

    Special tokens are looked for in what comes after as well, by their text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = {
            added.content: token for token, added in tokenizer.get_added_tokens_decoder().items() if added.content
        }
        self._waiting: list[str] = []
        self._chars = 0
        self.counts: Counter[int] = Counter()
        self.answers = 0
        self.whole = True

    def add(self, answer: str) -> None:
        """Take one answer in."""
        if self._chars > ANSWER_CHARS:
            self.whole = False
            self.counts.update(token for text, token in self._special.items() if text in answer)
            return
        self._chars += len(answer)
        self.answers += 1
        self._waiting.append(answer)
        if len(self._waiting) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Count what is waiting; needed before ``counts`` is read."""
        for encoded in self._tokenizer.encode_batch(self._waiting, add_special_tokens=False):
            self.counts.update(encoded.ids)
        self._waiting.clear()


def compressed_nats(texts: Sequence[str]) -> tuple[float, int, str]:
    """Return the nats per text that the best of some compressors needs, over how many texts, and its name.

    A lossless code's mean length is an upper bound of the entropy per text, in expectation (Shannon's source
    coding theorem). At most ``COMPRESSED_BYTES`` are compressed.
    """
    taken, size = list[bytes](), 0
    for text in texts:
        data = text.encode() + b"\n"
        if taken and size + len(data) > COMPRESSED_BYTES:
            break
        taken.append(data)
        size += len(data)
    data = b"".join(taken)
    codes = (("lzma", lzma.compress(data)), ("bzip2", bz2.compress(data)), ("zlib", zlib.compress(data, 9)))
    name, code = min(codes, key=lambda item: len(item[1]))
    return 8 * math.log(2) * len(code) / max(len(taken), 1), len(taken), name


@final
class NearDuplicates:
    """MinHash of the words of each text: 32 values of 3-word shingles, 8 bands to find candidates by.

    Broder (1997). Two texts count as near duplicates where at least 80 % of the values agree, which estimates a
    Jaccard similarity of their shingles of 0.8. Examined are the first ``NEAR_ROWS`` texts that differ.
    """

    def __init__(self) -> None:
        stream = hashlib.shake_256(b"leonids near duplicates").digest(16 * VALUES)
        numbers = np.frombuffer(stream, dtype="<u8").reshape(2, VALUES, 1)
        self._factors, self._shifts = numbers[0] | np.uint64(1), numbers[1]
        self._seen: set[int] = set()
        self._values: list[NDArray[np.uint32]] = []

    def add(self, text: str) -> None:
        """Take one text in, unless it was seen before up to case and white space."""
        if len(self._values) >= NEAR_ROWS:
            return
        words = normal(text).split()
        key = hash_of(" ".join(words))
        if key in self._seen:
            return
        self._seen.add(key)
        last = max(1, min(len(words) - SHINGLE_WORDS + 1, MOST_SHINGLES))
        shingles = {zlib.crc32(" ".join(words[i : i + SHINGLE_WORDS]).encode()) for i in range(last)}
        hashed = np.fromiter(shingles, dtype=np.uint64)[None, :] * self._factors + self._shifts
        self._values.append((hashed >> np.uint64(32)).min(axis=1).astype(np.uint32))

    def count(self) -> tuple[int, int]:
        """Return how many texts resemble an earlier one, and how many different texts were examined."""
        if not self._values:
            return 0, 0
        values = np.stack(self._values)
        near = np.zeros(len(values), dtype=bool)
        for band in np.split(values, BANDS, axis=1):
            _, first, group = np.unique(band, axis=0, return_index=True, return_inverse=True)
            earliest = first[group.ravel()]
            alike = (values == values[earliest]).mean(axis=1) >= ALIKE
            near |= alike & (earliest != np.arange(len(values)))
        return int(near.sum()), len(values)
