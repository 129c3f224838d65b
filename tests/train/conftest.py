"""A tiny random base with a tokenizer of its own, made on the spot; runs on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from leonids.spec import AdapterSpec, RunSpec, load_universe
from leonids.universe.universe import Universe

END = "<|end|>"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def universe() -> Universe:
    return Universe(load_universe("consistent"))


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory, universe: Universe) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    examples = [universe.example("train", 7, index) for index in range(200)]
    tokenizer.train_from_iterator((e.prompt + e.completion for e in examples), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    tiny_llama(vocab=tokenizer.get_vocab_size()).save_pretrained(folder)
    return folder


def tiny_llama(*, vocab: int = 64, **more: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    settings = {
        "vocab_size": vocab,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "initializer_range": 0.2,
        **more,
    }
    return LlamaForCausalLM(LlamaConfig(**settings)).eval()


@pytest.fixture
def run_spec(base_folder: Path, universe: Universe) -> Callable[..., RunSpec]:

    def make(run: str = "r", *, rank: int = 4, alpha: float = 8.0, **more: Any) -> RunSpec:
        settings: dict[str, Any] = {
            "arm": "a",
            "universe": universe.spec,
            "base": str(base_folder),
            "steps": 6,
            "batch_size": 4,
            "lr": 3e-3,
            "reviews": (3, 6),
            "review_examples": 6,
            "test_examples": 5,
            "checkpoint_every": 2,
            "dtype": "float32",
        }
        return RunSpec(run=run, adapter=AdapterSpec(rank=rank, alpha=alpha), **{**settings, **more})

    return make
