"""Promises of the plan: every run once, only runs that may, and a pass for each worker."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from leonids.spec import RunSpec
from leonids.train.checks import check_pass
from leonids.train.passes import pass_key, plan_passes

CHOICES = st.lists(st.tuples(st.sampled_from([2, 8]), st.sampled_from([4, 16]), st.booleans()), min_size=1, max_size=9)


@given(choices=CHOICES, workers=st.integers(1, 4))
def test_every_run_trains_once_beside_runs_that_it_may_train_with(
    run_spec: Callable[..., RunSpec], choices: list[tuple[int, int, bool]], workers: int
) -> None:
    runs = [
        run_spec(f"r{at}", rank=rank, batch_size=size, loss_on="all" if dear else "answer")
        for at, (size, rank, dear) in enumerate(choices)
    ]
    passes = plan_passes(runs, workers=workers)
    assert sorted(run.run for one in passes for run in one) == sorted(run.run for run in runs)
    for one in passes:
        check_pass(one)
    if len({pass_key(run) for run in runs}) == 1:
        assert len(passes) == min(workers, len(runs))


def test_the_arms_of_the_smoke_study_part_into_one_pass_a_worker_with_equal_work(
    run_spec: Callable[..., RunSpec],
) -> None:
    arms = [(128, "answer"), (8, "answer"), (128, "all"), (128, "answer")]
    runs = [
        run_spec(f"{at}-{seed}", rank=rank, loss_on=loss, data_seed=seed, init_seed=seed)
        for at, (rank, loss) in enumerate(arms)
        for seed in (0, 1)
    ]
    first, second = plan_passes(runs, workers=2)
    work = [sorted((run.adapter.rank, run.loss_on) for run in one) for one in (first, second)]
    assert work[0] == work[1]
    assert {run.data_seed for run in first} != {run.data_seed for run in second}


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5), workers=st.integers(1, 4))
def test_no_pass_has_more_than_a_worker_s_fair_share_and_the_longest_begin(
    run_spec: Callable[..., RunSpec], sizes: list[int], workers: int
) -> None:
    runs = [
        run_spec(f"{group}-{at}", batch_size=4, steps=10 + group)
        for group, size in enumerate(sizes)
        for at in range(size)
    ]
    work = [sum(run.steps for run in one) for one in plan_passes(runs, workers=workers)]
    longest = max(run.steps for run in runs)
    assert max(work) <= sum(work) / workers + longest
    assert work == sorted(work, reverse=True)
    assert len(work) <= len(sizes) + workers


def test_a_run_with_dropout_trains_alone(run_spec: Callable[..., RunSpec]) -> None:
    calm, noisy = run_spec("a"), run_spec("b")
    noisy = noisy.model_copy(update={"adapter": noisy.adapter.model_copy(update={"dropout": 0.1})})
    assert len(plan_passes([calm, noisy], workers=1)) == 2
