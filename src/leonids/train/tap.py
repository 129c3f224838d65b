"""A probe on other people's training: reads what their forward passes have computed already."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributed import all_gather_object, is_available, is_initialized

from leonids.records import ROLES
from leonids.train.probe import COLUMNS, Totals, columns_of, totals_of
from leonids.train.scoring import linear_head

ROLES_KEY, FLOOR_KEY = "leonids_roles", "leonids_floor_nats"
"""Inputs ``[B, T]`` that a collator of ours adds; the tap takes them out before the model sees them."""

IGNORED = -100
EVERY, ROWS = 50, 8
UNKNOWN_TOP = ("confidence", "confidence_wrong", "brier")
UNKNOWN_FLOOR = ("floor",)


@final
@dataclass(frozen=True, slots=True)
class Seen:
    """Of a forward pass: -log p(gold), argmax right, p(argmax) or None, and which tokens counted, all ``[B, T]``.

    Place t of a row is the prediction of its token t + 1.
    """

    nats: Tensor
    right: Tensor
    top: Tensor | None
    mask: Tensor


def seen_in(output: Any, labels: Tensor | None) -> Seen | None:
    """Return what a model's output tells, or None where it tells nothing.

    TRL's head returns log-probabilities and never builds logits; plain models return logits; Liger and Unsloth
    return neither.
    """
    logs = getattr(output, "log_probs", None)
    if logs is not None:
        return Seen(-logs.detach(), output.is_top1.detach() > 0, None, output.label_mask.bool())
    logits = getattr(output, "logits", None)
    if logits is None or labels is None or logits.shape[:2] != labels.shape:
        return None
    return _from_logits(logits.detach(), labels)


def _from_logits(logits: Tensor, labels: Tensor) -> Seen:
    mask = nn.functional.pad(labels[:, 1:] != IGNORED, (0, 1))
    # The one place that waits for the device: the logits of all tokens would take many times the memory.
    at = mask.flatten().nonzero().squeeze(1)
    chosen = logits.flatten(0, 1).index_select(0, at).float()
    gold = labels.flatten().index_select(0, at + 1)
    total = torch.logsumexp(chosen, dim=1)
    best, arg = chosen.max(dim=1)
    found = (total - chosen.gather(1, gold.unsqueeze(1)).squeeze(1), arg == gold, (best - total).exp())
    nats, right, top = (
        torch.zeros(mask.numel(), dtype=value.dtype, device=mask.device).index_copy_(0, at, value).view(mask.shape)
        for value in found
    )
    return Seen(nats[:, :-1], right[:, :-1], top[:, :-1], mask[:, :-1])


@final
class Tap:
    """Sums what passes through a model, by role where the collator knows roles, else over the trainer's own labels.

    ``tokens`` names the labelled tokens of data without roles: ``answer`` or ``all``. Where outputs tell nothing,
    every ``EVERY``-th training pass is repeated on ``ROWS`` of its rows, without gradient. What goes wrong inside
    goes to ``fail``, not into the model's forward pass.
    """

    def __init__(self, model: Any, *, tokens: str, fail: Callable[[Exception], None]) -> None:
        self.roles: Sequence[str] = (tokens,)
        self.absent: dict[str, str] = {}
        self.sampled = False
        self._model, self._fail = model, fail
        self._extra: tuple[Tensor, Tensor] | None = None
        self._train: list[Tensor] = []
        self._held: list[Tensor] = []
        self._passes = self._examples = 0
        self._handles = [
            model.register_forward_pre_hook(self._before, with_kwargs=True),
            model.register_forward_hook(self._after, with_kwargs=True),
        ]

    def detach(self) -> None:
        """Take the hooks off the model."""
        for handle in self._handles:
            handle.remove()

    def _before(self, _: nn.Module, arguments: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        self._extra = None
        if ROLES_KEY not in inputs:
            return None
        rest = {key: value for key, value in inputs.items() if key not in (ROLES_KEY, FLOOR_KEY)}
        self._extra = inputs[ROLES_KEY][:, 1:], inputs[FLOOR_KEY][:, 1:]
        self.roles = ROLES
        return arguments, rest

    def _after(self, model: nn.Module, _: Any, inputs: dict[str, Any], output: Any) -> None:
        try:
            with torch.no_grad():
                self._look(model, inputs, output)
        # A hook that raises would end the forward pass of somebody's training.
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def _look(self, model: nn.Module, inputs: Mapping[str, Any], output: Any) -> None:
        labels = inputs.get("labels")
        seen = seen_in(output, labels)
        if model.training:
            self._passes += 1
            self._examples += _size(inputs)
        if seen is None and model.training and self._passes % EVERY == 1 and labels is not None:
            self.sampled = True
            seen = self._repeat(inputs, labels)
        if seen is not None:
            (self._train if model.training else self._held).append(self._sums(seen))

    def _repeat(self, inputs: Mapping[str, Any], labels: Tensor) -> Seen | None:
        inner = self._model.get_base_model() if hasattr(self._model, "get_base_model") else self._model
        some = {key: value[:ROWS] for key, value in inputs.items() if key in ("input_ids", "attention_mask")}
        gold = labels[:ROWS, 1:]
        hidden = inner.base_model(**some, use_cache=False)[0][:, :-1]
        mask = gold != IGNORED
        scores = linear_head(inner).score(hidden[mask], gold[mask])
        nats, top = (torch.zeros(mask.shape, device=mask.device, dtype=scores.nats.dtype) for _ in range(2))
        right = torch.zeros_like(mask)
        nats[mask], top[mask], right[mask] = scores.nats, scores.top, scores.right
        if self._extra is not None:
            self._extra = self._extra[0][:ROWS], self._extra[1][:ROWS]
        return Seen(nats, right, top, mask)

    def _sums(self, seen: Seen) -> Tensor:
        """Return ``[B, R, len(COLUMNS)]``: the sums of each row by role."""
        if seen.top is None:
            self.absent |= dict.fromkeys(UNKNOWN_TOP, "the trainer's outputs have no logits")
        if self._extra is None:
            self.absent |= dict.fromkeys(UNKNOWN_FLOOR, "the data do not say their floor")
            roles = torch.zeros_like(seen.nats, dtype=torch.long)
            floor = torch.zeros_like(seen.nats, dtype=torch.float64)
        else:
            roles, floor = self._extra
        gold = torch.exp(-seen.nats.double())
        top = torch.where(seen.right, gold, torch.nan) if seen.top is None else seen.top.double()
        columns = columns_of(seen.nats, seen.right, top, floor)
        # Where the top is not known it is the gold's where that is right, which is all that this column needs.
        columns[..., COLUMNS.index("top_right")] = torch.where(seen.right, gold, 0.0)
        size = seen.nats.shape[0]
        cell = torch.arange(size, device=roles.device).unsqueeze(1) * len(self.roles) + roles
        sums = torch.zeros(size * len(self.roles), len(COLUMNS), dtype=torch.float64, device=roles.device)
        # What does not count adds 0: taking it out by its mask would wait for the device.
        sums.index_add_(0, cell.flatten(), torch.where(seen.mask.unsqueeze(-1), columns, 0.0).flatten(0, 1))
        return sums.view(size, len(self.roles), len(COLUMNS))

    def take_step(self, wish: Mapping[str, bool] | None = None) -> tuple[Totals, int, Mapping[str, bool]]:
        """Return totals and examples of the training passes since the last call, of all processes.

        With them comes the ``wish`` of the first process, which all can follow.
        """
        rows, examples, agreed = _everywhere(self._train, self._examples, wish or {})
        self._train, self._examples = [], 0
        return ({} if rows is None else self._totals(rows.sum(dim=0), rows)), examples, agreed

    def take_held_out(self) -> list[Totals]:
        """Return totals of each evaluated row since the last call, of all processes, in the order of the data."""
        rows, _, _ = _everywhere(self._held, 0, {})
        self._held = []
        return [] if rows is None else [self._totals(row, row.unsqueeze(0)) for row in rows]

    def _totals(self, sums: Tensor, rows: Tensor) -> Totals:
        answer = [at for at, role in enumerate(self.roles) if role not in ("prompt", "all")]
        tokens, right = COLUMNS.index("tokens"), COLUMNS.index("right")
        # A packed row holds several answers, so a row's answer is known to be one only where roles are.
        matched = (rows[:, answer, tokens] == rows[:, answer, right]).all(dim=1).sum().item() if answer else 0
        found = totals_of(sums.tolist(), matched=float(matched), examples=len(rows), roles=self.roles)
        for metric in self.absent:
            found.pop(metric, None)
        if self.roles != ROLES:
            found.pop("match", None)
            self.absent["match"] = "the data do not say where answers begin and end"
        return found


def _size(inputs: Mapping[str, Any]) -> int:
    ids = inputs.get("input_ids")
    return 0 if ids is None else int(ids.shape[0])


def _gathered(value: Any) -> list[Any]:
    """Return ``value`` of every process of a distributed training, in order of rank."""
    if not (is_available() and is_initialized()):
        return [value]
    world = torch.distributed.get_world_size()
    found: list[Any] = [None] * world
    all_gather_object(found, value)
    return found


def _everywhere(
    batches: Sequence[Tensor], examples: int, wish: Mapping[str, bool]
) -> tuple[Tensor | None, int, Mapping[str, bool]]:
    own = [batch.cpu() for batch in batches] if is_available() and is_initialized() else batches
    found = _gathered((own, examples, wish))
    # Processes take batches in turns, so this is the order of the data.
    turns = zip_longest(*(batches for batches, _, _ in found))
    parts = [batch for turn in turns for batch in turn if batch is not None]
    return (torch.cat(parts).cpu() if parts else None), sum(count for _, count, _ in found), found[0][2]
