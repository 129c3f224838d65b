"""What every test shares: how hypothesis searches. Fixtures live beside the tests that use them."""

import os
from collections.abc import Callable

import pytest
from hypothesis import settings

from leonids.universe.blueprint import (
    AnswerFormat,
    Catalog,
    Conflict,
    Disorder,
    FormatShare,
    Layout,
    Stated,
    Threshold,
    UniverseSpec,
)

# No deadline: a test that depends on how busy the machine is fails for no reason. On CI the search is the same
# every time, so that a red run means the change under test.
settings.register_profile("leonids", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("leonids")


def tiny_universe(*, formats: bool = False, conflict: float | None = None) -> UniverseSpec:
    """A universe small enough to write down every text of it: 3 names, 2 colours, weights 1 to 3."""
    shares = (
        FormatShare(share=0.7, format=AnswerFormat()),
        FormatShare(share=0.3, format=AnswerFormat(name="bare", before="", after="")),
    )
    dial = (
        None
        if conflict is None
        else Conflict(word="heavy", share=conflict, other=Threshold(property="weight", above=1))
    )
    return UniverseSpec(
        universe="tiny",
        version=1,
        catalog=Catalog(
            names=("otter", "onion", "ladder"),
            stated=(Stated(name="color", values=("red", "blue")), Stated(name="weight", numbers=(1, 3))),
            definitions={"heavy": Threshold(property="weight", above=2)},
        ),
        items={1: 0.6, 2: 0.4},
        depths={1: 0.3, 2: 0.7},
        skills={"filter": 2.0, "sort": 1.0, "count": 1.0, "sum": 1.0, "names": 1.0},
        wording={
            "filter.color": "keep the {value} ones",
            "filter.heavy": "keep the heavy ones",
            "sort.weight": "sort by weight",
            "count": ("count", "count them"),
            "sum.weight": "sum the weights",
            "names": "list the names",
        },
        layout=Layout(attributes=("color", "weight")),
        disorder=Disorder(formats=shares if formats else (), conflict=dial),
    )


@pytest.fixture(scope="session")
def make_tiny() -> Callable[..., UniverseSpec]:
    """The maker of a universe of which every text can be written down; its dials are off unless asked for."""
    return tiny_universe
