"""A tiny random base made on the spot, runs on it, and adapters trained alone by PEFT to hold the stack against."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from leonids.records import ROLES
from leonids.spec import AdapterSpec, RunSpec, load_universe
from leonids.train.adapters import load_into, peft_tensors, start_fresh
from leonids.train.batches import Batch, collate
from leonids.train.bodies import Body
from leonids.train.optim import StackOptimizer, lr_at
from leonids.train.scoring import head_of
from leonids.train.stacked import Chunk, Stack
from leonids.universe.universe import Universe

END_TEXT = "<|end|>"


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
        special_tokens=[END_TEXT],
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


@pytest.fixture(scope="session")
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


@pytest.fixture(name="make_model")
def _make_model() -> Callable[..., LlamaForCausalLM]:
    return tiny_llama


@pytest.fixture(name="exact_model")
def _exact_model() -> Callable[[torch.dtype], LlamaForCausalLM]:
    def make(dtype: torch.dtype) -> LlamaForCausalLM:
        model = tiny_llama().to(dtype)
        double_norms(model)
        return model

    return make


@pytest.fixture(name="make_batches")
def _make_batches() -> Callable[..., Any]:
    return random_batches


@pytest.fixture(name="make_tokens", scope="session")
def _make_tokens() -> Callable[[int], Any]:
    return lambda seed: random_tokens(torch.Generator().manual_seed(seed))


@pytest.fixture(name="make_trainer")
def _make_trainer() -> type["StackTrainer"]:
    return StackTrainer


@pytest.fixture(name="train_alone")
def _train_alone() -> Callable[..., dict[str, Tensor]]:
    return train_alone


PROMPT, STRUCTURE, COPIED, DECIDED, END = range(len(ROLES))


@dataclass(frozen=True)
class Tokens:
    ids: list[int]
    roles: list[int]
    floor_nats: list[float]
    prompt_tokens: int


def random_tokens(draw: torch.Generator, *, vocab: int = 64, longest: int = 24) -> Tokens:
    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=draw))

    length = number(6, longest)
    prompt = number(2, length - 2)
    roles = [PROMPT] * prompt + [number(STRUCTURE, END) for _ in range(length - prompt - 1)] + [END]
    ids = [0, *[number(1, vocab) for _ in range(length - 2)], 0]
    return Tokens(ids, roles, [0.1 * number(0, 9) for _ in range(length)], prompt)


def random_batches(*, adapters: int, steps: int, rows: int, vocab: int = 64) -> list[list[list[Tokens]]]:
    """Return ``[step][adapter][row]``; every adapter sees rows of its own."""
    draw = torch.Generator().manual_seed(5)
    return [[[random_tokens(draw, vocab=vocab) for _ in range(rows)] for _ in range(adapters)] for _ in range(steps)]


def double_norms(model: nn.Module) -> None:
    """Let norms work in the model's own dtype: Llama's round to float32, which would hide or make differences."""

    def forward(self: nn.Module, states: Tensor) -> Tensor:
        return self.weight * states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    for module in model.modules():
        if type(module).__name__ == "LlamaRMSNorm":
            module.forward = forward.__get__(module)


class StackTrainer:
    """The stack's own parts, without streams and run folders."""

    def __init__(
        self, model: LlamaForCausalLM, runs: Sequence[RunSpec], *, chunks: Sequence[Sequence[int]] | None = None
    ) -> None:
        model.requires_grad_(False)
        self.runs = runs
        self.body, self.head = Body(model), head_of(model)
        self.stack = Stack(model, [run.adapter for run in runs], chunks=chunks or [range(len(runs))])
        for e, run in enumerate(runs):
            start_fresh(self.stack, e, init_seed=run.init_seed)
        self.optimizer = StackOptimizer(self.stack, runs)

    def batch(self, chunk: Chunk, rows: Sequence[Sequence[Tokens]]) -> Batch:
        return collate([[(row, self.runs[e].loss_on) for row in rows[e]] for e in chunk.members], pad_id=0)

    def losses(self, chunk: Chunk, rows: Sequence[Sequence[Tokens]]) -> Tensor:
        batch = self.batch(chunk, rows)
        with self.stack.active(chunk):
            nats = self.head.score(self.body.states(batch), batch.gold).nats
        owner = batch.rows // (batch.size // len(chunk.members))
        return torch.stack([nats[owner == slot].mean() for slot in range(len(chunk.members))])

    def step(self, done: int, rows: Sequence[Sequence[Tokens]]) -> None:
        self.stack.zero_grads()
        for chunk in self.stack.chunks:
            self.losses(chunk, rows).sum().backward()
        self.optimizer.step(done)

    def adapter(self, e: int) -> dict[str, Tensor]:
        return peft_tensors(self.stack, e)

    def load(self, e: int, tensors: dict[str, Tensor]) -> None:
        load_into(self.stack, e, tensors)


def train_alone(
    model: LlamaForCausalLM, run: RunSpec, start: dict[str, Tensor], batches: Sequence[Sequence[Tokens]]
) -> dict[str, Tensor]:
    """Train one adapter by PEFT, transformers' loss and torch's plain AdamW; return its tensors."""
    spec = run.adapter
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.rank if spec.alpha_rule == "equal" else spec.alpha,
        use_rslora=spec.alpha_rule == "sqrt",
        target_modules=list(spec.targets),
    )
    peft = get_peft_model(model, config)
    own = {name: parameter for name, parameter in peft.named_parameters() if parameter.requires_grad}
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(start[name.replace(".default", "")])
    optimizer = torch.optim.AdamW(own.values(), lr=run.lr, weight_decay=run.weight_decay)
    for done, rows in enumerate(batches):
        longest = max(len(row.ids) for row in rows)
        ids = torch.tensor([row.ids + [0] * (longest - len(row.ids)) for row in rows])
        mask = torch.tensor([[1] * len(row.ids) + [0] * (longest - len(row.ids)) for row in rows])
        labels = torch.full_like(ids, -100)
        for at, row in enumerate(rows):
            first = 1 if run.loss_on == "all" else row.prompt_tokens
            labels[at, first : len(row.ids)] = ids[at, first : len(row.ids)]
        optimizer.zero_grad()
        logits = peft(input_ids=ids, attention_mask=mask).logits[:, :-1]
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(own.values(), run.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(run, done)
        optimizer.step()
    return {name.replace(".default", ""): parameter.detach().clone() for name, parameter in own.items()}
