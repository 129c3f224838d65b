"""Long lists are drawn column by column, which must not show."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leonids.digest import keyed_random
from leonids.spec import load_universe
from leonids.universe.catalog import Item
from leonids.universe.chance import Chance, Sample, Site
from leonids.universe.program import LONG_ITEMS, stop_chances
from leonids.universe.universe import Universe


class ChoiceByChoice:
    """A ``Chance`` that draws as ``Sample`` does, and is not one."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    def choose(self, at: Site, without: tuple[int, ...] = ()) -> int:
        return self._sample.choose(at, without)

    def lit(self, text: str) -> None:
        self._sample.lit(text)

    def latent(self, at: Site) -> int:
        return self._sample.latent(at)


def with_lists_of(items: dict[int, float], *, stated: bool) -> Universe:
    spec = load_universe("consistent")
    catalog = replace(spec.catalog, shipped_names=(0, 200))
    if stated:
        return Universe(replace(spec, catalog=catalog, items=items))
    bare = replace(catalog, stated=(), definitions={})
    layout = replace(spec.layout, attributes=())
    return Universe(replace(spec, catalog=bare, layout=layout, items=items, skills={"count": 1.0, "names": 1.0}))


LISTS = (
    {LONG_ITEMS: 1.0},
    {LONG_ITEMS: 0.2, LONG_ITEMS + 1: 0.0, LONG_ITEMS + 5: 0.8},
    {LONG_ITEMS: 1.0, LONG_ITEMS + 3: 0.0},
    {143: 0.5, 200: 0.5},
)
UNIVERSES = [with_lists_of(items, stated=stated) for items in LISTS for stated in (True, False)]


@pytest.mark.parametrize("universe", UNIVERSES)
@settings(max_examples=25, deadline=None)
@given(index=st.integers(0, 10**6))
def test_a_long_list_is_what_choosing_one_thing_at_a_time_draws(universe: Universe, index: int) -> None:
    def drawn(by_choice: bool) -> tuple[tuple[Item, ...], Sample]:
        sample = Sample(keyed_random("long", index))
        chance: Chance = ChoiceByChoice(sample) if by_choice else sample
        return universe.prompts("train").draw_items(chance), sample

    items, at_once = drawn(by_choice=False)
    expected, one_by_one = drawn(by_choice=True)
    assert items == expected
    assert at_once.emissions == one_by_one.emissions
    assert at_once.points(3) == one_by_one.points(3)


@pytest.mark.parametrize("universe", UNIVERSES)
@settings(max_examples=5, deadline=None)
@given(index=st.integers(0, 10**6))
def test_a_long_list_means_what_its_items_mean_one_by_one(universe: Universe, index: int) -> None:
    task = universe.draw_task(Sample(keyed_random("meaning", index)))
    items = [",".join([item.name, *map(str, item.values)]) for item in task.items]
    assert task.meaning.startswith(";".join(items) + "|")


@given(st.dictionaries(st.integers(1, 12), st.integers(0, 5), min_size=1).filter(lambda parts: any(parts.values())))
def test_stopping_by_its_chances_gives_the_distribution_back(parts: dict[int, int]) -> None:
    whole = sum(parts.values())
    depths = {depth: part / whole for depth, part in parts.items()}
    going_on = 1.0
    for depth, stop in stop_chances(depths).items():
        assert going_on * stop == pytest.approx(depths.get(depth, 0.0), abs=1e-12)
        going_on *= 1 - stop
    assert going_on == 0


def test_a_depth_or_a_length_of_no_share_is_as_if_it_were_not_there() -> None:
    spec = load_universe("consistent")
    bare = Universe(replace(spec, items={3: 1.0}, depths={1: 1.0}))
    padded = Universe(replace(spec, items={3: 1.0, 9: 0.0}, depths={1: 1.0, 4: 0.0}))
    assert bare.sites("train") == padded.sites("train")
