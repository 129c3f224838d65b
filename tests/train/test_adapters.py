"""Promises of adapter folders: plain PEFT loads them with equal logits, and PEFT's own come in."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from leonids.errors import BaseError, UsageError
from leonids.spec import AdapterSpec
from leonids.train.adapters import load_into, peft_tensors, read_adapter, start_fresh, write_adapter
from leonids.train.stacked import Stack

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

IDS = torch.arange(1, 13).view(2, 6)
SPECS = (
    AdapterSpec(rank=4, alpha=6.0),
    AdapterSpec(rank=2, alpha=3.0, alpha_rule="sqrt"),
    AdapterSpec(rank=3, alpha_rule="equal"),
)


def filled_stack(model: Any) -> Stack:
    model.requires_grad_(False)
    stack = Stack(model, SPECS, chunks=[[0, 1, 2]])
    torch.manual_seed(1)
    for e in range(len(SPECS)):
        for a, b in stack.tensors(e).values():
            a.normal_(0, 0.1)
            b.normal_(0, 0.1)
    return stack


def test_plain_peft_loads_each_adapter_of_a_stack_with_equal_logits(make_model: Any, tmp_path: Path) -> None:
    model = make_model()
    stack = filled_stack(model)
    with torch.no_grad(), stack.active(stack.chunks[0]):
        ours = model(input_ids=IDS.repeat(3, 1)).logits.view(3, *IDS.shape, -1)
    for e, spec in enumerate(SPECS):
        folder = tmp_path / str(e)
        folder.mkdir()
        write_adapter(folder, peft_tensors(stack, e), spec=spec, base="nano")
        loaded = PeftModel.from_pretrained(make_model(), str(folder))
        with torch.no_grad():
            theirs = loaded(input_ids=IDS).logits
            bare = loaded.get_base_model()
        assert torch.allclose(ours[e], theirs, atol=1e-5)
        assert not torch.allclose(ours[e], make_model()(input_ids=IDS).logits, atol=1e-2)
        assert bare is not None


def test_an_adapter_that_peft_made_is_read_with_equal_logits(make_model: Any, tmp_path: Path) -> None:
    peft = get_peft_model(make_model(), LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "down_proj"]))
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora" in name:
                parameter.normal_(0, 0.1)
        theirs = peft(input_ids=IDS).logits
    peft.save_pretrained(tmp_path)
    spec, tensors = read_adapter(tmp_path)
    model = make_model()
    stack = Stack(model, [spec], chunks=[[0]])
    load_into(stack, 0, tensors)
    with torch.no_grad(), stack.active(stack.chunks[0]):
        assert torch.allclose(model(input_ids=IDS).logits, theirs, atol=1e-5)


def test_adapters_of_one_seed_and_different_ranks_start_with_the_same_first_rows(make_model: Any) -> None:
    stack = Stack(make_model(), [AdapterSpec(rank=16), AdapterSpec(rank=4)], chunks=[[0, 1]])
    for e in (0, 1):
        start_fresh(stack, e, init_seed=3)
    wide, narrow = stack.tensors(0), stack.tensors(1)
    for name, (a, b) in narrow.items():
        assert torch.equal(a, wide[name][0][:4])
        assert not b.any()
    before = {name: a.clone() for name, (a, _) in narrow.items()}
    start_fresh(stack, 1, init_seed=4)
    assert all(not torch.equal(a, before[name]) for name, (a, _) in stack.tensors(1).items())


def test_a_fresh_a_is_uniform_within_one_over_the_root_of_its_inputs(make_model: Any) -> None:
    stack = Stack(make_model(), [AdapterSpec(rank=64)], chunks=[[0]])
    start_fresh(stack, 0, init_seed=0)
    for a, _ in stack.tensors(0).values():
        bound = a.shape[1] ** -0.5
        assert a.abs().max() <= bound
        # The standard deviation of a uniform draw; 64 rows leave about 2 % of error.
        assert a.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("modules_to_save", ["lm_head"]),
        ("use_dora", True),
        ("rank_pattern", {"q_proj": 2}),
        ("bias", "all"),
        ("peft_type", "IA3"),
        ("target_modules", ".*_proj"),
    ],
)
def test_what_is_no_plain_lora_is_refused(make_model: Any, tmp_path: Path, key: str, value: object) -> None:
    stack = filled_stack(make_model())
    write_adapter(tmp_path, peft_tensors(stack, 0), spec=SPECS[0], base="nano")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(BaseError, match=key):
        read_adapter(tmp_path)


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseError, match="no adapter"):
        read_adapter(tmp_path)


def test_an_adapter_of_another_rank_is_refused(make_model: Any) -> None:
    stack = filled_stack(make_model())
    with pytest.raises(UsageError, match=r"is \(4, 32\)"):
        load_into(stack, 1, peft_tensors(stack, 0))
