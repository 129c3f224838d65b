"""Promises of the schedule: the learning rates that transformers would use."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import get_scheduler

from leonids.spec import RunSpec
from leonids.train.optim import lr_at


@given(name=st.sampled_from(["constant", "linear", "cosine"]), steps=st.integers(1, 40), warmup=st.integers(0, 45))
@settings(max_examples=40)
def test_learning_rates_are_those_of_transformers(
    run_spec: Callable[..., RunSpec], name: str, steps: int, warmup: int
) -> None:
    spec = run_spec(steps=steps, schedule=name, warmup_steps=warmup, lr=0.1, reviews=())
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = get_scheduler(
        "constant_with_warmup" if name == "constant" else name,
        optimizer,
        num_warmup_steps=warmup,
        num_training_steps=steps,
    )
    for done in range(steps):
        assert lr_at(spec, done) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()
