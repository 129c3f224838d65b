"""``scipy.special``, loaded when a number is first asked for: a fifth of what the page needs to start.

``from leonids.stats import special`` stands for ``from scipy import special``.
"""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    return getattr(import_module("scipy.special"), name)
