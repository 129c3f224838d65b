"""leonids: predictions about fine-tuning that can fail, frozen before the run, judged against exact floors.

The public names are below. Each is imported when it is first used, so that ``import leonids`` costs nothing
and torch is loaded by those who train.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leonids.errors import LeonidsError as LeonidsError
    from leonids.records import Example as Example
    from leonids.records import Measurement as Measurement
    from leonids.records import Observation as Observation
    from leonids.records import Verdict as Verdict
    from leonids.spec import RunSpec as RunSpec
    from leonids.train.callback import LeonidsCallback as LeonidsCallback
    from leonids.train.torch_data import UniverseDataset as UniverseDataset
    from leonids.train.torch_data import UniverseStream as UniverseStream
    from leonids.universe.universe import Universe as Universe

__version__ = "0.1.0"

_PUBLIC = {
    "Example": "leonids.records:Example",
    "LeonidsCallback": "leonids.train.callback:LeonidsCallback",
    "LeonidsError": "leonids.errors:LeonidsError",
    "Measurement": "leonids.records:Measurement",
    "Observation": "leonids.records:Observation",
    "RunSpec": "leonids.spec:RunSpec",
    "Universe": "leonids.universe.universe:Universe",
    "UniverseDataset": "leonids.train.torch_data:UniverseDataset",
    "UniverseStream": "leonids.train.torch_data:UniverseStream",
    "Verdict": "leonids.records:Verdict",
}

__all__ = ["__version__", *_PUBLIC]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    """Import a public name on its first use (PEP 562) and keep it."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'leonids' has no attribute {name!r}")
    module, attribute = _PUBLIC[name].split(":")
    value: object = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
