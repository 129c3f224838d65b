"""Promises on a device: the host waits for it once a step, and where a pass is read, never once a token or a row."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from leonids.records import ROLES
from leonids.spec import RunSpec
from leonids.train.evaluate import held_out, teacher_forced
from leonids.train.native import Training
from leonids.train.tap import FLOOR_KEY, ROLES_KEY, Tap

MakeRun = Callable[..., RunSpec]

READS = {"tolist", "item", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__", "__contains__"}
SIZES = {"aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::_local_scalar_dense", "aten::equal"}
"""What needs the values of a tensor before the host can go on: its own reads, and results whose size they decide."""


class Reads(TorchFunctionMode):
    """Counts the reads that Python asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), more: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if name in READS:
            self.found.append(name)
        return function(*arguments, **(more or {}))


class Sizes(TorchDispatchMode):
    """Counts the operations below whose result's size depends on values, indexing by a mask among them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), more: Any = None) -> Any:
        name = function.name().split(".")[0]
        masks = [
            one
            for argument in arguments
            if isinstance(argument, list | tuple)
            for one in argument
            if isinstance(one, Tensor) and one.dtype == torch.bool
        ]
        if name in SIZES or (name in ("aten::index", "aten::index_put_", "aten::index_put") and masks):
            self.found.append(name)
        return function(*arguments, **(more or {}))


def waits(function: Callable[[], Any]) -> list[str]:
    with Reads() as reads, Sizes() as sizes:
        function()
    # A read of one number appears above and below.
    return [*reads.found, *(name for name in sizes.found if name != "aten::_local_scalar_dense" or not reads.found)]


def test_what_waits_is_counted() -> None:
    values = torch.tensor([1.0, 2.0])
    assert waits(lambda: values[values > 1]) == ["aten::index"]
    assert waits(lambda: values.sum().item()) == ["item"]
    assert waits(lambda: bool(values[0] > 0)) == ["__bool__"]
    assert waits((values > 1).nonzero) == ["aten::nonzero"]
    assert waits(lambda: values.index_select(0, torch.tensor([1])) + 1) == []


@pytest.mark.parametrize("scopes", [("answer",), ("answer", "all")])
def test_a_step_waits_once_whatever_the_number_of_adapters(
    scopes: tuple[Any, ...], run_spec: MakeRun, tmp_path: Path
) -> None:
    runs = [run_spec(f"r{at}", loss_on=scope, reviews=()) for at, scope in enumerate(scopes)]
    with ExitStack() as opened:
        training = Training(runs, out=tmp_path, resume=False, opened=opened)
        training._step()
        assert waits(training._step) == ["tolist"]


def test_a_review_is_read_once_whatever_the_number_of_its_batches(run_spec: MakeRun, tmp_path: Path) -> None:
    with ExitStack() as opened:
        training = Training([run_spec("r", loss_on="all")], out=tmp_path, resume=False, opened=opened)
        (chunk,) = training.stack.chunks
        held = held_out(training.streams, ["all"], split="validation", first=0, n=30)
        object.__setattr__(training.engine, "tokens", 200)
        # Three tables, of which the first one waits.
        assert waits(lambda: teacher_forced(training.engine, chunk, held)) == ["tolist"] * 3


class Says(nn.Module):
    """A model that gives what it was told to give."""

    def forward(self, output: Any = None, **_: Any) -> Any:
        return output


def batch(*, roles: bool) -> dict[str, Tensor]:
    torch.manual_seed(0)
    labels = torch.randint(0, 9, (4, 12))
    labels[:, :5] = -100
    found = {"input_ids": labels.clamp_min(0), "labels": labels}
    if roles:
        found[ROLES_KEY] = torch.where(labels == -100, 0, 1 + labels % (len(ROLES) - 1))
        found[FLOOR_KEY] = torch.zeros(labels.shape)
    return found


def logits() -> Any:
    return SimpleNamespace(logits=torch.randn(4, 12, 9))


def logs() -> Any:
    return SimpleNamespace(
        log_probs=torch.log(torch.rand(4, 11)),
        is_top1=torch.rand(4, 11) > 0.5,
        label_mask=torch.rand(4, 11) > 0.5,
    )


@pytest.mark.parametrize("roles", [False, True])
@pytest.mark.parametrize(("output", "expected"), [(logs, []), (logits, ["aten::nonzero"])])
def test_another_trainers_pass_waits_only_where_logits_are_read(
    output: Callable[[], Any], expected: list[str], roles: bool
) -> None:
    model, raised = Says(), []
    tap = Tap(model, tokens="answer", fail=raised.append)
    given, inputs = output(), batch(roles=roles)
    assert waits(lambda: model(output=given, **inputs)) == expected
    assert not raised
    assert waits(tap.take_step).count("cpu") == 1
    tap.detach()
