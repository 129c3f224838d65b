"""Promises of runs that start from a finished adapter: they begin where it ended, and PEFT loads the sum."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from leonids.errors import BaseError
from leonids.ledger.streams import read_stream
from leonids.spec import AdapterSpec, RunSpec
from leonids.train.adapters import peft_tensors, start_fresh, write_adapter
from leonids.train.bases import load_base
from leonids.train.native import NATIVE
from leonids.train.passes import needs, plan_passes
from leonids.train.stacked import Stack
from leonids.train.starts import Start, merge, on_top

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

MakeRun = Callable[..., RunSpec]
IDS = torch.arange(1, 13).view(2, 6)


def filled(model: Any, spec: AdapterSpec, *, seed: int) -> dict[str, torch.Tensor]:
    stack = Stack(model, [spec], chunks=[[0]])
    start_fresh(stack, 0, init_seed=seed)
    torch.manual_seed(seed)
    for _, b in stack.tensors(0).values():
        b.normal_(0, 0.2)
    tensors = peft_tensors(stack, 0)
    stack.detach()
    return tensors


def test_an_adapter_on_top_of_a_merged_one_is_one_adapter_of_the_base(make_model: Any, tmp_path: Path) -> None:
    first = AdapterSpec(rank=4, alpha=2.0, targets=("q_proj", "down_proj"))
    second = AdapterSpec(rank=2, alpha=6.0, alpha_rule="sqrt", targets=("q_proj", "up_proj"))
    start = Start(first, filled(make_model(), first, seed=1), "")
    tensors = filled(make_model(), second, seed=2)
    merged = make_model()
    merge(merged, start)
    (tmp_path / "second").mkdir()
    (tmp_path / "both").mkdir()
    write_adapter(tmp_path / "second", tensors, spec=second, base="b")
    spec, both = on_top(start, second, tensors)
    write_adapter(tmp_path / "both", both, spec=spec, base="b")
    with torch.no_grad():
        stepwise = PeftModel.from_pretrained(merged, str(tmp_path / "second"))(input_ids=IDS).logits
        at_once = PeftModel.from_pretrained(make_model(), str(tmp_path / "both"))(input_ids=IDS).logits
        bare = make_model()(input_ids=IDS).logits
    assert torch.allclose(stepwise, at_once, atol=1e-4)
    assert not torch.allclose(bare, at_once, atol=1e-2)


def test_a_run_begins_with_the_loss_that_its_start_ended_with(run_spec: MakeRun, tmp_path: Path) -> None:
    first = run_spec("a", rank=8, steps=20, lr=1e-2, reviews=(20,), checkpoint_every=20)
    second = run_spec("b", rank=2, start_from="a", reviews=(0, 6))
    with pytest.raises(BaseError, match="train that first"):
        NATIVE.fit([second], out=tmp_path, resume=False)
    NATIVE.fit([first], out=tmp_path, resume=False)
    NATIVE.fit([second], out=tmp_path, resume=False)
    ended, began = (
        [line for line in read_stream(tmp_path / run / "reviews.jsonl") if line["kind"] == "observation"][:6]
        for run in ("a", "b")
    )
    for one, other in zip(ended, began, strict=True):
        total, count = one["metrics"]["loss"]["end"]
        assert other["metrics"]["loss"]["end"] == [pytest.approx(total, abs=1e-4), count]
    loaded = PeftModel.from_pretrained(load_base(first.base, dtype="float32").model, str(tmp_path / "b" / "adapter"))
    assert loaded.peft_config["default"].r == 10


def test_passes_come_after_what_they_start_from(run_spec: MakeRun) -> None:
    runs = [run_spec("c", start_from="b"), run_spec("b", start_from="a"), run_spec("a"), run_spec("d")]
    passes = plan_passes(runs, workers=2)
    order = [run.run for one in passes for run in one]
    assert order.index("a") < order.index("b") < order.index("c")
    assert [sorted(needs(one)) for one in passes if one[0].run == "c"] == [["b"]]
