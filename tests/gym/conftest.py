"""The universe whose answer format the items are asked in."""

import pytest

from leonids.spec import load_universe
from leonids.universe.universe import Universe


@pytest.fixture(scope="session")
def consistent() -> Universe:
    return Universe(load_universe("consistent"))
