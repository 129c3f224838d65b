"""Many LoRA adapters over one frozen base, in one pass.

Adapter e of a stack is the adapter that PEFT would train alone: rows of the batch are adapter-major
``[E * b, T]``, every product keeps the adapters apart, and ranks are padded with zeros. The padding of A and
of B is zero, so both gradients of it are zero, so AdamW (weight decay included) keeps it zero: no mask.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leonids.errors import BaseError, UsageError
from leonids.spec import AdapterSpec

EXACT_DTYPES = (torch.float32, torch.float64)
"""Dtypes in which ``W + s B A`` may be written down: in bfloat16 a small B A would vanish in W's rounding."""

KEPT_BYTES, KEPT_ITEM = 1 << 29, 4
"""Written-down weights of a chunk are kept between forward passes while they take no more bytes than this."""

RANK_RATIO = 4
"""Adapters whose ranks differ more do not share a chunk of small products: the padding would cost too much."""


@final
@dataclass(frozen=True, slots=True)
class Place:
    """One target layer and where its blocks A ``[e, R, in]`` and B^T ``[e, R, out]`` start in a chunk's storage."""

    name: str
    inputs: int
    outputs: int
    a_at: int
    b_at: int


@final
@dataclass(frozen=True, slots=True)
class Chunk:
    """Adapters that go through the base together.

    ``params`` and ``grads`` are flat; each layer's leaves and each adapter's own parameters are views of them, so
    any optimizer, schedule and clip works on one adapter and nothing is copied. ``scales`` is ``[e, 1, 1]``.
    """

    members: tuple[int, ...]
    ranks: tuple[int, ...]
    rank: int
    places: tuple[Place, ...]
    params: Tensor
    grads: Tensor
    scales: Tensor

    def block(self, storage: Tensor, at: int, width: int) -> Tensor:
        """Return the block ``[e, R, width]`` of ``storage`` that starts at ``at``, as a view."""
        size = (len(self.members), self.rank, width)
        return storage[at : at + size[0] * size[1] * size[2]].view(size)

    def pair(self, slot: int, place: Place) -> tuple[Tensor, Tensor]:
        """Return adapter ``slot``'s A ``[r, in]`` and B^T ``[r, out]`` of one layer, as views."""
        r = self.ranks[slot]
        return (
            self.block(self.params, place.a_at, place.inputs)[slot, :r],
            self.block(self.params, place.b_at, place.outputs)[slot, :r],
        )

    def parameters_of(self, slot: int) -> list[nn.Parameter]:
        """Return adapter ``slot``'s parameters as leaves of their own, gradients attached, all views."""
        found: list[nn.Parameter] = []
        for place in self.places:
            for at, width in ((place.a_at, place.inputs), (place.b_at, place.outputs)):
                parameter = nn.Parameter(self.block(self.params, at, width)[slot, : self.ranks[slot]])
                parameter.grad = self.block(self.grads, at, width)[slot, : self.ranks[slot]]
                found.append(parameter)
        return found


@final
class Switch:
    """Which chunk the layers of a stack use: -1 is the bare base. ``keep`` asks to keep materialised weights."""

    __slots__ = ("active", "keep")

    def __init__(self) -> None:
        self.active = -1
        self.keep = False


@final
class StackedLoRALinear(nn.Module):
    """A frozen linear layer with the adapters of a stack on it.

    Two paths give the same result. ``base(x) + s (x A^T) B^T`` is two small products; ``x (W + s B A)^T``
    writes the weight of each adapter down once, which is cheaper for many rows on a narrow layer.
    """

    def __init__(self, base: nn.Linear, switch: Switch) -> None:
        super().__init__()
        self.base = base
        self.switch = switch
        self.leaves: list[tuple[Tensor, Tensor]] = []
        self.scales: list[Tensor] = []
        self.dropouts: list[float] = []
        self.keeps = False
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output ``[E * b, T, out]`` for ``x`` ``[E * b, T, in]``, rows adapter-major."""
        at = self.switch.active
        if at < 0:
            out: Tensor = self.base(x)
            return out
        a, b = self.leaves[at]
        rows = x.reshape(a.shape[0], -1, x.shape[-1])
        dropout = self.dropouts[at] if torch.is_grad_enabled() else 0.0
        backward = torch.is_grad_enabled()
        if self.kept is not None or (
            not dropout and self.writes_down(rows.shape[1], rank=a.shape[1], backward=backward)
        ):
            out = self._written_down(rows, a, b, scale=self.scales[at])
        else:
            out = self._two_products(rows, a, b, scale=self.scales[at], dropout=dropout)
        return out.view(*x.shape[:-1], out.shape[-1])

    def writes_down(self, rows: int, *, rank: int, backward: bool) -> bool:
        """Return whether weights are written down for ``rows`` tokens an adapter."""
        return self.base.weight.dtype in EXACT_DTYPES and writes_down(
            rows=rows, inputs=self.base.in_features, outputs=self.base.out_features, rank=rank, backward=backward
        )

    def _written_down(self, rows: Tensor, a: Tensor, b: Tensor, *, scale: Tensor) -> Tensor:
        weight = self._weight(a, b, scale=scale) if self.kept is None else self.kept
        if self.switch.keep and self.keeps and not torch.is_grad_enabled():
            self.kept = weight
        bias: Tensor | None = self.base.bias
        if bias is None:
            return torch.bmm(rows, weight.transpose(1, 2))
        return torch.baddbmm(bias.view(1, 1, -1), rows, weight.transpose(1, 2))

    def _weight(self, a: Tensor, b: Tensor, *, scale: Tensor) -> Tensor:
        frozen = self.base.weight.expand(a.shape[0], -1, -1)
        return torch.baddbmm(frozen, (b * scale).transpose(1, 2), a)

    def _two_products(self, rows: Tensor, a: Tensor, b: Tensor, *, scale: Tensor, dropout: float) -> Tensor:
        kind = rows.dtype
        inner = F.dropout(rows, dropout) if dropout else rows
        z = torch.bmm(inner, a.to(kind).transpose(1, 2)) * scale.to(kind)
        return torch.baddbmm(self.base(rows), z, b.to(kind))


def writes_down(*, rows: int, inputs: int, outputs: int, rank: int, backward: bool) -> bool:
    """Return whether writing ``W + s B A`` down costs fewer operations than two small products beside W.

    Multiplications an adapter, with m rows, and doubled each time a backward pass needs both gradients:
    two products cost m i o + m R (i + o), the other path m i o + R i o; with a backward pass the frozen W
    still costs 2 m i o, but a written-down weight needs its own gradient too, 3 m i o.

    >>> writes_down(rows=960, inputs=128, outputs=128, rank=128, backward=True)
    True
    >>> writes_down(rows=960, inputs=128, outputs=128, rank=8, backward=True)
    False
    """
    if backward:
        return rows * inputs * outputs + 3 * rank * inputs * outputs < 3 * rows * rank * (inputs + outputs)
    return inputs * outputs < rows * (inputs + outputs)


@final
class Stack:
    """E adapters attached to a model, in chunks that go through it one after another."""

    def __init__(self, model: nn.Module, specs: Sequence[AdapterSpec], *, chunks: Sequence[Sequence[int]]) -> None:
        if sorted(e for chunk in chunks for e in chunk) != list(range(len(specs))):
            raise UsageError(f"chunks {chunks} do not hold each of {len(specs)} adapters once")
        _refuse_routed(model)
        self.model = model
        self.specs = tuple(specs)
        self.switch = Switch()
        self.layers = {name: _swap(model, name, self.switch) for name in target_names(model, specs[0].targets)}
        self.chunks = tuple(self._build(tuple(members)) for members in chunks)
        numbers = sum(layer.base.weight.numel() for layer in self.layers.values())
        most = max(len(chunk.members) for chunk in self.chunks)
        for layer in self.layers.values():
            layer.keeps = most * numbers * KEPT_ITEM <= KEPT_BYTES
        self.home = {e: (chunk, slot) for chunk in self.chunks for slot, e in enumerate(chunk.members)}

    def _build(self, members: tuple[int, ...]) -> Chunk:
        specs = [self.specs[e] for e in members]
        rank = max(spec.rank for spec in specs)
        weight = next(iter(self.layers.values())).base.weight
        places, size = _places(self.layers, rows=len(members) * rank)
        # Masters of a bfloat16 base are float32: an update of 1e-4 would vanish in bfloat16.
        kind = torch.float64 if weight.dtype == torch.float64 else torch.float32
        chunk = Chunk(
            members=members,
            ranks=tuple(spec.rank for spec in specs),
            rank=rank,
            places=places,
            params=torch.zeros(size, dtype=kind, device=weight.device),
            grads=torch.zeros(size, dtype=kind, device=weight.device),
            scales=torch.tensor([spec.scale for spec in specs], dtype=kind, device=weight.device).view(-1, 1, 1),
        )
        for place in places:
            layer = self.layers[place.name]
            layer.leaves.append((_leaf(chunk, place.a_at, place.inputs), _leaf(chunk, place.b_at, place.outputs)))
            layer.scales.append(chunk.scales)
            layer.dropouts.append(max(spec.dropout for spec in specs))
        return chunk

    @contextmanager
    def active(self, chunk: Chunk | None, *, keep: bool = False) -> Iterator[None]:
        """Let the model's forward use ``chunk`` (None: the bare base); rows must be adapter-major in its order.

        ``keep`` keeps written-down weights for the whole block: for many forward passes without a step between.
        """
        self.switch.active, self.switch.keep = -1 if chunk is None else self.chunks.index(chunk), keep
        try:
            yield
        finally:
            self.switch.active, self.switch.keep = -1, False
            for layer in self.layers.values():
                layer.kept = None

    def written_down(self, chunk: Chunk, *, rows: int) -> tuple[str, ...]:
        """Return the targets whose weights a training step of ``rows`` tokens an adapter writes down."""
        at = self.chunks.index(chunk)
        found = {
            name.rpartition(".")[2]
            for name, layer in self.layers.items()
            if not layer.dropouts[at] and layer.writes_down(rows, rank=chunk.rank, backward=True)
        }
        return tuple(sorted(found))

    def tensors(self, adapter: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Return one adapter's A ``[r, in]`` and B^T ``[r, out]`` by layer, as views of the stack."""
        chunk, slot = self.home[adapter]
        return {place.name: chunk.pair(slot, place) for place in chunk.places}

    def zero_grads(self) -> None:
        """Set every gradient to zero, in place: the leaves keep their views."""
        for chunk in self.chunks:
            chunk.grads.zero_()

    def detach(self) -> None:
        """Take the adapters off the model again."""
        for name, layer in self.layers.items():
            parent, _, leaf = name.rpartition(".")
            setattr(self.model.get_submodule(parent), leaf, layer.base)


def _refuse_routed(model: nn.Module) -> None:
    config = getattr(model, "config", None)
    for key in ("num_experts", "num_local_experts", "n_routed_experts"):
        if (getattr(config, key, None) or 0) > 1:
            raise BaseError(
                f"{type(model).__name__} routes tokens to {getattr(config, key)} experts",
                rule="its balance loss would tie the adapters of a stack to each other",
                way_out="use the back end trl",
            )


def _leaf(chunk: Chunk, at: int, width: int) -> Tensor:
    leaf = chunk.block(chunk.params, at, width).detach().requires_grad_()
    leaf.grad = chunk.block(chunk.grads, at, width)
    return leaf


def _places(layers: dict[str, StackedLoRALinear], *, rows: int) -> tuple[tuple[Place, ...], int]:
    places: list[Place] = []
    at = 0
    for name, layer in layers.items():
        inputs, outputs = layer.base.in_features, layer.base.out_features
        places.append(Place(name, inputs, outputs, a_at=at, b_at=at + rows * inputs))
        at += rows * (inputs + outputs)
    return tuple(places), at


def _swap(model: nn.Module, name: str, switch: Switch) -> StackedLoRALinear:
    parent, _, leaf = name.rpartition(".")
    base = model.get_submodule(name)
    if not isinstance(base, nn.Linear):
        raise BaseError(
            f"the target {name} is {type(base).__name__}",
            rule="adapters of a stack sit on linear layers",
            way_out="leave it out of targets, or use the back end trl",
        )
    layer = StackedLoRALinear(base, switch)
    setattr(model.get_submodule(parent), leaf, layer)
    return layer


def target_names(model: nn.Module, targets: Sequence[str]) -> tuple[str, ...]:
    """Return the full names of the modules that ``targets`` name, matched at the end of the path as PEFT does.

    Raises ``BaseError`` for a target that matches nothing, and for the output layer, which stays frozen.
    """
    names = [name for name, _ in model.named_modules()]
    for target in targets:
        if not any(_matches(name, target) for name in names):
            linear = sorted({n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, nn.Linear)})
            raise BaseError(
                f"no module named {target!r} in {type(model).__name__}",
                rule=f"its linear layers are {', '.join(linear)}",
                way_out="name some of these as targets",
            )
    found = tuple(name for name in names if any(_matches(name, target) for target in targets))
    output = getattr(model, "get_output_embeddings", lambda: None)()
    if any(model.get_submodule(name) is output for name in found):
        raise BaseError("the output layer is a target", rule="it is frozen here", way_out="use the back end trl")
    return found


def _matches(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def plan_chunks(ranks: Sequence[int], *, scopes: Sequence[str], limit: int, mixed: bool) -> tuple[tuple[int, ...], ...]:
    """Group adapters into chunks of at most ``limit``, neighbours in rank together.

    Unless ``mixed``, a chunk has one loss scope, and its ranks differ by at most ``RANK_RATIO``.
    """
    chunks: list[list[int]] = []
    for e in sorted(range(len(ranks)), key=lambda e: (scopes[e], ranks[e], e)):
        first = chunks[-1][0] if chunks else e
        alike = scopes[e] == scopes[first] and ranks[e] <= RANK_RATIO * ranks[first]
        if chunks and len(chunks[-1]) < limit and (mixed or alike):
            chunks[-1].append(e)
        else:
            chunks.append([e])
    return tuple(tuple(chunk) for chunk in chunks)
