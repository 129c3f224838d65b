"""The recipe of ``nano``, the shipped base: its tokenizer, its training, its log.

A sequence is three examples in a row of one universe that was never used before, each with its answer. The
loss is the mean over all tokens with prompt tokens weighing ``PROMPT_WEIGHT``: answers are what the base is
for, prompts teach it the words that studies put into the loss.
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.utils.data import DataLoader, IterableDataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from leonids.digest import keyed_random
from leonids.universe.others import other_universe
from leonids.universe.universe import Universe

END = "<|end|>"
PROMPT_WEIGHT = 0.1
EXAMPLES_A_SEQUENCE = 3
BATCHES_A_BUCKET = 8
EMBEDDING_STD = 0.1
ROUND_TOKENS = 16
OWN_SEQUENCES = 500
TOKENIZER_NAMES_WEIGHT = 2.0
"""The tokenizer was made when naming weighed less; changing it would change nano's bytes."""


@final
@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides nano's bytes, besides the code and the machine's rounding."""

    steps: int = 3000
    batch_size: int = 32
    lr: float = 2e-3
    warmup_steps: int = 200
    decay_frac: float = 0.4
    seed: int = 0
    vocabulary: int = 1024
    width: int = 128
    layers: int = 5
    heads: int = 4
    feed_forward: int = 320
    context_tokens: int = 512


def episode(seed: int, index: int, *, names_weight: float = 3.0) -> list[tuple[str, str]]:
    """Return (prompt, answer) texts of one sequence: several examples of one universe."""
    universe = Universe(other_universe(seed, index, names_weight=names_weight))
    examples = [universe.example("train", seed, i) for i in range(EXAMPLES_A_SEQUENCE)]
    return [(example.prompt, example.completion) for example in examples]


def make_tokenizer(recipe: Recipe, *, sequences: int) -> Tokenizer:
    """Train a byte-level BPE on ``sequences`` episodes of another seed than the training's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (
        "".join(p + a for p, a in episode(recipe.seed + 1, i, names_weight=TOKENIZER_NAMES_WEIGHT))
        for i in range(sequences)
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@final
class Episodes(IterableDataset):  # type: ignore[type-arg]
    """Batches of encoded episodes from batch ``start`` on: ids ``[B, T]`` and weights ``[B, T]``.

    Episodes are sorted by length within ``BATCHES_A_BUCKET`` batches, so that little is padding.
    """

    def __init__(self, recipe: Recipe, tokenizer_json: str, start: int) -> None:
        self._recipe = recipe
        self._tokenizer_json = tokenizer_json
        self._start = start

    def _row(self, tokenizer: Tokenizer, index: int) -> tuple[list[int], list[float]]:
        end = int(tokenizer.token_to_id(END) or 0)
        ids, weights = [end], [0.0]
        for prompt, answer in episode(self._recipe.seed, index):
            prompt_ids, answer_ids = tokenizer.encode(prompt).ids, [*tokenizer.encode(answer).ids, end]
            ids += prompt_ids + answer_ids
            weights += [PROMPT_WEIGHT] * len(prompt_ids) + [1.0] * len(answer_ids)
        return ids[: self._recipe.context_tokens], weights[: self._recipe.context_tokens]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        tokenizer = Tokenizer.from_str(self._tokenizer_json)
        size = self._recipe.batch_size
        bucket, skip = divmod(self._start, BATCHES_A_BUCKET)
        while True:
            first = bucket * BATCHES_A_BUCKET * size
            rows = [self._row(tokenizer, first + i) for i in range(BATCHES_A_BUCKET * size)]
            rows.sort(key=lambda row: len(row[0]))
            order = list(range(BATCHES_A_BUCKET))
            draw = keyed_random("pretrain order", self._recipe.seed, bucket)
            order.sort(key=lambda _: draw.random())
            for batch in order[skip:]:
                yield collate(rows[batch * size : (batch + 1) * size])
            bucket, skip = bucket + 1, 0


def collate(rows: list[tuple[list[int], list[float]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids ``[B, T]`` and weights ``[B, T]``, padded on the right with weight 0."""
    length = -(-max(len(ids) for ids, _ in rows) // ROUND_TOKENS) * ROUND_TOKENS
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    weights = torch.zeros(len(rows), length)
    for row, (row_ids, row_weights) in enumerate(rows):
        ids[row, : len(row_ids)] = torch.tensor(row_ids)
        weights[row, : len(row_weights)] = torch.tensor(row_weights)
    return ids, weights


def lr_factor(step: int, recipe: Recipe) -> float:
    """Return the learning rate's factor: linear warm-up, constant, then linear decay over the last share."""
    decay_steps = max(1, round(recipe.decay_frac * recipe.steps))
    return min(1.0, (step + 1) / recipe.warmup_steps, max(0.0, (recipe.steps - step) / decay_steps))


def step_losses(model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted mean loss and, detached, ``[answer nats, answer tokens, answer tokens right]``."""
    keep = weights[:, 1:] > 0
    hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state[keep]
    logits = model.lm_head(hidden)
    gold, weight = ids[:, 1:][keep], weights[:, 1:][keep]
    nats = torch.nn.functional.cross_entropy(logits, gold, reduction="none")
    answer = weight == 1.0
    right = (logits.detach().argmax(-1) == gold)[answer].sum()
    facts = torch.stack([nats.detach()[answer].sum(), answer.sum().to(nats.dtype), right.to(nats.dtype)])
    return (nats * weight).sum() / weight.sum(), facts


def own_match(model: LlamaForCausalLM, tokenizer: Tokenizer, *, seed: int, sequences: int) -> list[tuple[int, int]]:
    """Return ``(whole answers right, answers)`` for the first, second and third example of fresh sequences.

    The first example shows no format beforehand, so its match is that of a guess; the others follow a shown one.
    """
    end = int(tokenizer.token_to_id(END) or 0)
    right = [0] * EXAMPLES_A_SEQUENCE
    with torch.no_grad():
        for index in range(sequences):
            ids, answers = [end], []
            for prompt, answer in episode(seed, index):
                ids += tokenizer.encode(prompt).ids
                answers.append(range(len(ids), len(ids) + len(tokenizer.encode(answer).ids) + 1))
                ids += [*tokenizer.encode(answer).ids, end]
            best = model(input_ids=torch.tensor([ids])).logits[0].argmax(-1).tolist()
            for place, answer_at in enumerate(answers):
                right[place] += all(best[at - 1] == ids[at] for at in answer_at)
    return [(count, sequences) for count in right]


def make_model(recipe: Recipe, vocabulary: int) -> LlamaForCausalLM:
    """Return a fresh model: Llama with tied embeddings, the end token first in the vocabulary."""
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=recipe.width,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context_tokens,
        rope_theta=10_000.0,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config)
    # Llama's own 0.02 is too short for a narrow tied matrix: words that are seldom told apart then share one
    # direction for ever, and the head cannot say them (floor/head.py).
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=EMBEDDING_STD)
    return model


def save(model: LlamaForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a Hugging Face folder with bfloat16 weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {n: t.to(torch.bfloat16) for n, t in model.state_dict().items() if n != "lm_head.weight"}
    model.save_pretrained(folder, state_dict=tensors)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=END).save_pretrained(
        folder
    )


def optimizer_of(model: LlamaForCausalLM, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW with weight decay on matrices of the layers only: decayed embeddings drift together."""
    decayed = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    kept = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": 0.05}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98))


def pretrain(out: Path, recipe: Recipe, *, save_every: int = 500, report: Any = print) -> None:
    """Train nano into ``out``: a model folder and ``pretrain.jsonl``, one line every 50 steps.

    A run that was stopped goes on from its last save when called again with the same recipe.
    """
    out.mkdir(parents=True, exist_ok=True)
    state_path = out / "state.pt"
    tokenizer_path = out / "tokenizer.json"
    if not tokenizer_path.exists():
        make_tokenizer(recipe, sequences=6000).save(str(tokenizer_path))
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    model = make_model(recipe, tokenizer.get_vocab_size())
    optimizer = optimizer_of(model, recipe)
    first = 0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"])
    data = Episodes(recipe, tokenizer.to_str(), first)
    loader = iter(DataLoader(data, batch_size=None, num_workers=1, prefetch_factor=8))
    started, window = time.monotonic(), torch.zeros(3)
    for step in range(first, recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * lr_factor(step, recipe)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, facts = step_losses(model, *next(loader))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        window += facts
        if (step + 1) % 50 == 0:
            nats, tokens, right = window.tolist()
            line = {"step": step + 1, "answer_loss_nats": nats / tokens, "answer_token_accuracy": right / tokens}
            line["wall_s"] = round(time.monotonic() - started, 1)
            with (out / "pretrain.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            report(json.dumps(line))
            window = torch.zeros(3)
            if not math.isfinite(nats):
                raise FloatingPointError(f"the loss at step {step + 1} is {nats}")
        if (step + 1) % save_every == 0 or step + 1 == recipe.steps:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, state_path.with_suffix(".tmp"))
            state_path.with_suffix(".tmp").replace(state_path)
            save(model, tokenizer, out / "model")
    held_out = own_match(model, tokenizer, seed=recipe.seed + 2, sequences=OWN_SEQUENCES)
    line = {"match_on_fresh_sequences": [f"{right} of {n}" for right, n in held_out]}
    with (out / "pretrain.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
    report(json.dumps(line))
    (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1))
