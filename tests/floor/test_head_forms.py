"""Each known form of head is the model's own: its logits, its floor under every forward pass, its optimum attained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from leonids.floor.base_files import HEAD_FORMS, HeadForm, read_head
from leonids.floor.head import OutputHead, head_floor

VOCAB, WIDTH = 40, 16
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2: dict[str, Any] = {
    "vocab_size": VOCAB,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "n_embd": WIDTH,
    "n_layer": 1,
    "n_head": 2,
}
MORE: dict[str, dict[str, Any]] = {
    "granite": {"logits_scaling": 2.0},
    "cohere": {"logit_scale": 0.5},
    "gemma2": {"final_logit_softcapping": 2.0},
    "phi": {"num_key_value_heads": 2},
}


def tiny(form: HeadForm, folder: Path) -> Any:
    """A random model of one layer, saved: gains, shifts and biases are drawn too, two rows are nearly equal."""
    sizes = GPT2 if form.model_type == "gpt2" else {**SIZES, **MORE.get(form.model_type, {})}
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(form.model_type, **sizes)).float().eval()
    matrix = model.get_output_embeddings().weight
    norm = model.get_submodule(form.norm)
    with torch.no_grad():
        matrix.normal_(0, 0.6)
        matrix[1] = matrix[0] + 0.02 * torch.randn(WIDTH)
        for tensor in (norm.weight, getattr(norm, "bias", None), getattr(model.lm_head, "bias", None)):
            if tensor is not None:
                tensor.add_(0.3 * torch.randn_like(tensor))
    model.save_pretrained(folder)
    return model.requires_grad_(False)


def logits_of(model: Any, form: HeadForm, states: torch.Tensor) -> torch.Tensor:
    """The model's own logits ``[n, V]`` where its last norm is given ``states`` ``[n, d]``."""
    hook = model.get_submodule(form.norm).register_forward_pre_hook(lambda _module, _inputs: (states[:, None],))
    try:
        found: torch.Tensor = model(torch.zeros(len(states), 1, dtype=torch.long), use_cache=False).logits[:, 0]
        return found
    finally:
        hook.remove()


def least_found(model: Any, form: HeadForm, token: int) -> float:
    """The least loss of a token that descent through the model finds, from several starts."""
    states = torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(3)).requires_grad_()
    optimizer = torch.optim.Adam([states], lr=0.2)
    goal, best = torch.full((8,), token), np.inf
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.2 * (1 - step / 300)
        optimizer.zero_grad()
        losses = torch.nn.functional.cross_entropy(logits_of(model, form, states), goal, reduction="none")
        losses.sum().backward()
        optimizer.step()
        best = min(best, float(losses.detach().min()))
    return best


@pytest.mark.parametrize("form", HEAD_FORMS, ids=lambda form: form.model_type)
def test_a_known_head_is_the_models_own(form: HeadForm, tmp_path: Path) -> None:
    model = tiny(form, tmp_path)
    head = read_head(tmp_path)
    states = torch.randn(3000, WIDTH, generator=torch.Generator().manual_seed(1)) * 5
    logits = logits_of(model, form, states)
    before = states - states.mean(dim=1, keepdim=True) if form.centred else states
    unit = (before / before.pow(2).mean(dim=1, keepdim=True).sqrt()).double().numpy()
    ours = head.capped(unit @ head.directions(slice(None)).T + head.offsets())
    assert np.abs(ours - logits.double().numpy()).max() < 1e-3

    found = head_floor(head, [{token: 1.0} for token in range(VOCAB)])
    passed = -torch.log_softmax(logits.double(), dim=-1).numpy().min(axis=0)
    assert np.all(passed >= found.low - 1e-4)
    reached = least_found(model, form, 0)
    # Soft-capping leaves the problem without a gap that closes: the interval holds the optimum, and is wider.
    assert found.low[0] - 1e-4 <= reached <= found.high[0] + (0.05 if form.cap else 1e-3)
    assert form.cap or np.all(found.high - found.low <= 1.01e-4)
    assert found.low[0] > 0.3
    assert np.median(found.low) < found.low[0]


def test_a_cap_that_hardly_bends_leaves_the_uncapped_floor() -> None:
    generator = np.random.default_rng(2)
    matrix = generator.normal(0, 0.6, size=(VOCAB, WIDTH)).astype(np.float32)
    matrix[1] = matrix[0] + 0.1 * generator.normal(size=WIDTH)
    gain = np.ones(WIDTH, dtype=np.float32)
    free, capped = (head_floor(OutputHead(matrix, gain, cap=cap), [{0: 1.0}]) for cap in (None, 1e3))
    assert 0.1 < free.low[0] < np.log(2)
    assert capped.low[0] == pytest.approx(free.low[0], abs=1e-4)
    assert capped.high[0] == pytest.approx(free.high[0], abs=1e-3)
