"""Promises of the stack: each adapter is the one that PEFT trains alone, and none knows of another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from leonids.errors import BaseError
from leonids.spec import AdapterSpec, RunSpec
from leonids.train import stacked
from leonids.train.stacked import Stack, StackedLoRALinear, plan_chunks, target_names, writes_down

# PEFT still asks transformers by this name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

MakeRun = Callable[..., RunSpec]
PATHS = ("as the cost model says", "two products", "written down")


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name = str(request.param)
    if name != PATHS[0]:
        monkeypatch.setattr(stacked, "writes_down", lambda **_: name == "written down")
    return name


def different_runs(make: MakeRun, *, steps: int, calm: bool) -> list[RunSpec]:
    settings = [
        {"rank": 4, "alpha": 8.0, "lr": 3e-3, "weight_decay": 0.0, "clip_norm": 0.05, "schedule": "constant"},
        {"rank": 8, "alpha": 8.0, "lr": 1e-3, "weight_decay": 0.1, "clip_norm": 1.0, "schedule": "linear"},
        {"rank": 2, "alpha": 4.0, "lr": 3e-3 if calm else 2e-2, "weight_decay": 0.01, "clip_norm": 0.2},
        {"rank": 3, "alpha": 2.0, "lr": 2e-3, "schedule": "cosine", "warmup_steps": 3, "loss_on": "all"},
    ]
    return [make(f"r{e}", steps=steps, init_seed=e, reviews=(), **more) for e, more in enumerate(settings)]


def furthest(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def train(trainer: Any, batches: list[Any]) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """Return each adapter as it started and as the stack trained it."""
    count = range(len(trainer.runs))
    starts = [trainer.adapter(e) for e in count]
    for done, rows in enumerate(batches):
        trainer.step(done, rows)
    return starts, [trainer.adapter(e) for e in count]


@dataclass(frozen=True)
class Lab:
    """The fixtures that a comparison needs."""

    run: MakeRun
    model: Callable[[torch.dtype], Any]
    batches: Callable[..., list[Any]]
    trainer: Callable[..., Any]
    alone: Callable[..., dict[str, Tensor]]


@pytest.fixture
def lab(run_spec: Any, exact_model: Any, make_batches: Any, make_trainer: Any, train_alone: Any) -> Lab:
    return Lab(run_spec, exact_model, make_batches, make_trainer, train_alone)


@pytest.mark.parametrize("chunks", [[[0, 1, 2, 3]], [[2, 0], [3, 1]]])
def test_in_float64_every_adapter_equals_the_one_that_peft_trains_alone(
    lab: Lab, path: str, chunks: list[list[int]]
) -> None:
    runs = different_runs(lab.run, steps=20, calm=False)
    batches = lab.batches(adapters=len(runs), steps=20, rows=3)
    starts, ends = train(lab.trainer(lab.model(torch.float64), runs, chunks=chunks), batches)
    for e, run in enumerate(runs):
        alone = lab.alone(lab.model(torch.float64), run, starts[e], [rows[e] for rows in batches])
        assert furthest(alone, starts[e]) > 1e-3
        assert furthest(alone, ends[e]) < 1e-10, path


def test_in_float32_adapters_stay_as_close_to_peft_as_reversing_a_batch_keeps_them(lab: Lab) -> None:
    runs = different_runs(lab.run, steps=10, calm=True)
    batches = lab.batches(adapters=len(runs), steps=10, rows=3)
    starts, ends = train(lab.trainer(lab.model(torch.float32), runs), batches)
    for e, run in enumerate(runs):
        own = [rows[e] for rows in batches]
        alone = lab.alone(lab.model(torch.float32), run, starts[e], own)
        control = lab.alone(lab.model(torch.float32), run, starts[e], [rows[::-1] for rows in own])
        print(f"{run.run}: stack {furthest(alone, ends[e]):.1e}, reversed rows {furthest(alone, control):.1e}")
        assert furthest(alone, ends[e]) < 1e-5


def test_padded_ranks_stay_exactly_zero_under_weight_decay(lab: Lab) -> None:
    runs = different_runs(lab.run, steps=5, calm=True)
    trainer = lab.trainer(lab.model(torch.float32), runs)
    for done, rows in enumerate(lab.batches(adapters=len(runs), steps=5, rows=2)):
        trainer.step(done, rows)
    (chunk,) = trainer.stack.chunks
    assert chunk.rank == 8
    for place in chunk.places:
        for at, width in ((place.a_at, place.inputs), (place.b_at, place.outputs)):
            block = chunk.block(chunk.params, at, width)
            for slot, rank in enumerate(chunk.ranks):
                assert block[slot, :rank].any()
                assert not block[slot, rank:].any()


def test_a_nan_in_one_adapter_leaves_the_bits_of_the_others(lab: Lab, path: str) -> None:
    runs = different_runs(lab.run, steps=4, calm=True)
    batches = lab.batches(adapters=len(runs), steps=4, rows=2)
    healthy, sick = (lab.trainer(lab.model(torch.float32), runs) for _ in range(2))
    sick.load(1, {name: torch.full_like(tensor, torch.nan) for name, tensor in sick.adapter(1).items()})
    for done, rows in enumerate(batches):
        healthy.step(done, rows)
        sick.step(done, rows)
    assert all(tensor.isnan().all() for tensor in sick.adapter(1).values()), path
    for e in (0, 2, 3):
        assert furthest(healthy.adapter(e), sick.adapter(e)) == 0.0


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.booleans())
@settings(max_examples=40)
def test_both_paths_give_the_same_output_and_gradients(
    adapters: int, rows: int, inputs: int, outputs: int, rank: int, bias: bool
) -> None:
    torch.manual_seed(rows * 100 + inputs)
    base = torch.nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64).requires_grad_(False)
    layer = StackedLoRALinear(base, stacked.Switch())
    a = torch.randn(adapters, rank, inputs, dtype=torch.float64, requires_grad=True)
    b = torch.randn(adapters, rank, outputs, dtype=torch.float64, requires_grad=True)
    x = torch.randn(adapters, rows, inputs, dtype=torch.float64, requires_grad=True)
    scale = torch.rand(adapters, 1, 1, dtype=torch.float64)
    two = layer._two_products(x, a, b, scale=scale, dropout=0.0)
    one = layer._written_down(x, a, b, scale=scale)
    plain = base(x) + scale * torch.einsum("eni,eri,ero->eno", x, a, b)
    slope = torch.randn_like(plain)
    for out in (two, one):
        assert torch.allclose(out, plain, atol=1e-12)
        for ours, theirs in zip(
            torch.autograd.grad(out, (x, a, b), slope),
            torch.autograd.grad(plain, (x, a, b), slope, retain_graph=True),
            strict=True,
        ):
            assert torch.allclose(ours, theirs, atol=1e-11)


@given(st.integers(1, 4096), st.integers(8, 4096), st.integers(8, 4096), st.integers(1, 512), st.booleans())
def test_a_weight_is_written_down_only_where_it_costs_fewer_operations(
    rows: int, inputs: int, outputs: int, rank: int, backward: bool
) -> None:
    product, pair = rows * inputs * outputs, rows * rank * (inputs + outputs)
    two = (2 * product + 3 * pair) if backward else product + pair
    one = (3 * product + 3 * rank * inputs * outputs) if backward else product + rank * inputs * outputs
    down = writes_down(rows=rows, inputs=inputs, outputs=outputs, rank=rank, backward=backward)
    assert down == (one < two)


KINDS = st.tuples(st.sampled_from([1, 2, 8, 16, 128]), st.sampled_from(["answer", "all"]))


@given(st.lists(KINDS, min_size=1, max_size=9), st.integers(1, 4), st.booleans())
def test_chunks_hold_every_adapter_once_within_the_limits(
    kinds: list[tuple[int, str]], limit: int, mixed: bool
) -> None:
    ranks, scopes = [rank for rank, _ in kinds], [scope for _, scope in kinds]
    chunks = plan_chunks(ranks, scopes=scopes, limit=limit, mixed=mixed)
    assert sorted(e for chunk in chunks for e in chunk) == list(range(len(ranks)))
    for chunk in chunks:
        own = [ranks[e] for e in chunk]
        assert len(chunk) <= limit
        assert mixed or max(own) <= stacked.RANK_RATIO * min(own)
        assert mixed or len({scopes[e] for e in chunk}) == 1


def test_a_target_that_does_not_exist_is_refused_with_the_names_there_are(make_model: Any) -> None:
    with pytest.raises(BaseError, match=r"no module named 'c_attn'.*q_proj"):
        target_names(make_model(), ("q_proj", "c_attn"))


def test_the_output_layer_is_no_target(make_model: Any) -> None:
    with pytest.raises(BaseError, match="output layer"):
        target_names(make_model(), ("lm_head",))


def test_a_target_that_is_no_linear_layer_is_refused(make_model: Any) -> None:
    with pytest.raises(BaseError, match="linear layers"):
        Stack(make_model(), [AdapterSpec(targets=("embed_tokens",))], chunks=[[0]])


def test_experts_are_refused(make_model: Any) -> None:
    model = make_model()
    model.config.num_local_experts = 4
    with pytest.raises(BaseError, match="4 experts"):
        Stack(model, [AdapterSpec()], chunks=[[0]])


def test_a_detached_stack_leaves_the_model_as_it_was(make_model: Any) -> None:
    model = make_model()
    names = [name for name, _ in model.named_modules()]
    Stack(model, [AdapterSpec(rank=2)], chunks=[[0]]).detach()
    assert [name for name, _ in model.named_modules()] == names
