"""Base models made ready for training: frozen weights, tokenizer, head, digest."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from leonids.errors import BaseError
from leonids.floor.base_files import base_digest, find_base, read_facts, read_tokenizer
from leonids.train.fetch import get_base

__all__ = ["DTYPES", "Base", "get_base", "in_float32", "load_base", "output_layer", "pick_device", "pick_dtype"]

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}
"""The dtypes of a frozen base. float16 is not among them: its gradient scaler lets one adapter skip another's step."""

CPU_ROOM = 8 << 30
"""Bytes that weights in float32 may take on a CPU while a review computes in it."""

NARROW_PARAMETERS = 20_000_000
"""Bases below this size stay in float32 on a CPU: their products are too small to gain from bfloat16."""


@final
@dataclass(frozen=True, slots=True)
class Base:
    """A frozen base model with its tokenizer. ``digest`` is over the files it was read from."""

    name: str
    folder: Path
    model: PreTrainedModel
    tokenizer: Tokenizer
    bos_id: int
    eos_id: int
    vocab: int
    context_tokens: int
    digest: str

    def encode(self, text: str) -> list[int]:
        """Return the token ids of ``text``, without special tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        """Return the text of ``ids``, special tokens left out."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(self.model.device)

    @property
    def head_weight(self) -> Tensor:
        """The output matrix ``[V, d]``."""
        return output_layer(self.model).weight


def load_base(name: str, *, dtype: str = "auto", device: str = "auto") -> Base:
    """Load a base by known name, folder or Hugging Face id; no code from the folder is ever run.

    Raises ``BaseError`` when there is no such base, when it cannot be read, or for a dtype that cannot train.
    """
    folder = find_base(name)
    facts = read_facts(folder)
    place = pick_device(device)
    tokenizer = read_tokenizer(folder)
    kind = pick_dtype(dtype, folder=folder, device=place)
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=kind, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BaseError(f"base {name!r} cannot be loaded ({line})", rule="a causal language model is needed") from error
    model.requires_grad_(requires_grad=False)
    model.eval()
    model.to(place)
    if tokenizer.get_vocab_size(with_added_tokens=True) > output_layer(model).weight.shape[0]:
        raise BaseError(
            f"the tokenizer of {name!r} has {tokenizer.get_vocab_size()} tokens, its output matrix "
            f"{output_layer(model).weight.shape[0]} rows",
            rule="every token needs a row",
            way_out="take the tokenizer that belongs to these weights",
        )
    return Base(
        name=name,
        folder=folder,
        model=model,
        tokenizer=tokenizer,
        bos_id=facts.bos_id,
        eos_id=facts.eos_id,
        vocab=facts.vocab,
        context_tokens=facts.context_tokens,
        digest=base_digest(folder),
    )


def pick_device(device: str) -> torch.device:
    """Return the device: ``auto`` takes a GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def pick_dtype(dtype: str, *, folder: Path, device: torch.device) -> torch.dtype:
    """Return the dtype of the frozen weights: ``auto`` is bfloat16 where it is fast, else float32."""
    if dtype == "auto":
        small = sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 2 * NARROW_PARAMETERS
        fast = device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        return torch.bfloat16 if fast and not (small and device.type == "cpu") else torch.float32
    if dtype not in DTYPES:
        raise BaseError(
            f"dtype {dtype!r} cannot train",
            rule=f"a base is loaded as auto, {', '.join(DTYPES)}",
            way_out="use bfloat16 in place of float16",
        )
    return DTYPES[dtype]


@contextmanager
def in_float32(model: PreTrainedModel) -> Iterator[bool]:
    """Let a bfloat16 model compute in float32 for a while, where memory holds it; yield whether it does.

    In bfloat16 the order of a sum decides close calls between tokens: one pass over an answer and its generation
    then disagree on several answers in a hundred. Afterwards the parameters have their own storage again: a
    trainer may hold views of it.
    """
    narrow = [(p, p.data) for p in model.parameters() if p.dtype == torch.bfloat16]
    wide = bool(narrow) and _fits(model.device, 4 * sum(p.numel() for p, _ in narrow))
    try:
        # Buffers keep their own dtype: rotary frequencies are float32 and would lose digits on the way back.
        for parameter, own in narrow if wide else ():
            parameter.data = own.float()
        yield wide or not narrow
    finally:
        for parameter, own in narrow:
            parameter.data = own


def _fits(device: torch.device, size: int) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.mem_get_info(device)[0] > 2 * size)
    return size < CPU_ROOM


def output_layer(model: PreTrainedModel) -> nn.Linear:
    """Return the output layer of a causal language model."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise BaseError(
            f"the output layer of {type(model).__name__} is {type(head).__name__}",
            rule="it must be one linear layer",
            way_out="use the back end trl",
        )
    return head
