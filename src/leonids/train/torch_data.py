"""A universe as torch datasets: rows of prompt and completion, each once over workers and ranks, in a known order."""

from collections.abc import Iterator
from functools import partial
from typing import Any, final

import datasets
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from leonids.errors import UsageError
from leonids.spec import load_universe
from leonids.universe.splits import belongs
from leonids.universe.universe import Universe

Row = dict[str, Any]
"""``prompt`` and ``completion`` as text, and the example's ``index``."""

MOST_WORKERS = 4096

START, BEGIN, PASSED, WORKING, ENDS = range(5)
"""What workers share: the number of the last loaded start, its position, the start of which a pass has come to its
end, the one that workers began with, and for each worker the one whose end it has reached."""


def _made(universe: str | Universe, split: str) -> Universe:
    belongs("", split)
    made = universe if isinstance(universe, Universe) else Universe(load_universe(universe))
    made.prompts(split)
    return made


def _row(universe: Universe, split: str, seed: int, index: int) -> Row:
    example = universe.example(split, seed, index)
    return {"prompt": example.prompt, "completion": example.completion, "index": index}


@final
class UniverseDataset(Dataset[Row]):
    """The first ``n`` examples of a split's stream ``seed``, by index; any sampler, worker or rank may ask.

    ``universe`` is a shipped one's name, a YAML file, or a ``Universe``. Raises ``SpecError`` where it lacks the
    split, ``UsageError`` for an unknown split.
    """

    def __init__(self, universe: str | Universe, *, n: int, split: str = "train", seed: int = 0) -> None:
        self._universe = _made(universe, split)
        self._indices = range(n)
        self._split, self._seed = split, seed

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Row:
        return _row(self._universe, self._split, self._seed, self._indices[index])

    def hf(self) -> Any:
        """Return the rows as a ``datasets.Dataset``, which TRL's SFTTrainer takes."""
        return datasets.Dataset.from_list([self[index] for index in self._indices])


@final
class UniverseStream(IterableDataset[Row]):
    """The examples of a split's stream ``seed`` in order: without end, or the first ``n``.

    Rank r of R, given as ``rank=(r, R)``, has examples r, r + R, ...; leave it out where the trainer shares rows out
    itself, as Accelerate does. A loader's workers take turns of ``batch_size`` rows: with the loader's own batch size
    the batches come in one order for any number of workers. Each pass after a whole one is the same again.
    """

    def __init__(
        self,
        universe: str | Universe,
        *,
        split: str = "train",
        seed: int = 0,
        n: int | None = None,
        batch_size: int = 1,
        rank: tuple[int, int] = (0, 1),
    ) -> None:
        if batch_size < 1 or not 0 <= rank[0] < rank[1]:
            raise UsageError(
                f"batch_size is {batch_size} and rank {rank}",
                rule="a batch has 1 row or more, and rank (r, R) is one of 0 to R - 1",
            )
        self._universe = _made(universe, split)
        self._split, self._seed, self._n = split, seed, n
        self._turn, self._rank = batch_size, rank
        self._first = self._next = 0
        self._loaded: tuple[int, int] | None = None
        self._shared = torch.zeros(ENDS + MOST_WORKERS, dtype=torch.int64).share_memory_()
        self._shared[START] = 1

    def __iter__(self) -> Iterator[Row]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        start, begin, passed = (int(self._shared[at]) for at in (START, BEGIN, PASSED))
        self._first = self._next = 0 if passed == start else begin
        if self._loaded is not None:
            (self._first, self._next), self._loaded = self._loaded, None
        if info is not None:
            self._shared[WORKING] = start
        for position in self._places(self._next, worker, workers):
            self._next = position + 1
            yield self._at(position)
        self._shared[ENDS + worker] = start
        if bool((self._shared[ENDS : ENDS + workers] == start).all()):
            self._shared[PASSED] = start

    def _places(self, position: int, worker: int, workers: int) -> Iterator[int]:
        """Yield a worker's positions in the rank's rows, from ``position`` on."""
        ranks = self._rank[1]
        while self._n is None or position * ranks + self._rank[0] < self._n:
            if (position - self._first) // self._turn % workers == worker:
                yield position
            position += 1

    def _at(self, position: int) -> Row:
        return _row(self._universe, self._split, self._seed, position * self._rank[1] + self._rank[0])

    def _identity(self) -> dict[str, Any]:
        return {
            "universe": self._universe.digest,
            "split": self._split,
            "seed": self._seed,
            "n": self._n,
            "batch_size": self._turn,
            "rank": list(self._rank),
        }

    def state_dict(self, *, used: int | None = None) -> dict[str, Any]:
        """Return where this pass stands, as JSON: after the rows given here, or after ``used`` rows of this rank.

        In a worker (a stateful loader asks there) it is that worker's. Raises ``UsageError`` where workers gave the
        rows and ``used`` is not said: what they have read ahead is not known here.
        """
        info = get_worker_info()
        if info is None and used is None and int(self._shared[WORKING]) == int(self._shared[START]):
            raise UsageError(
                "workers gave the rows",
                rule="the process of the loader does not see how far they are",
                way_out="say state_dict(used=ROWS), batches x batch size of this pass",
            )
        place = {"first": self._first, "next": self._next if used is None else used}
        worker = None if info is None else [info.id, info.num_workers]
        return {**self._identity(), **place, "worker": worker}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let passes begin where ``state`` was taken, until one has come to its end.

        Raises ``UsageError`` for the state of another stream.
        """
        own = self._identity()
        other = [key for key in own if state.get(key) != own[key]]
        if other:
            raise UsageError(f"the state has {other[0]} {state.get(other[0])!r}", rule=f"this is {own[other[0]]!r}")
        info = get_worker_info()
        if state["worker"] != (None if info is None else [info.id, info.num_workers]):
            raise UsageError(
                f"the state is of worker {state['worker']}",
                rule="a worker's state is for that worker of as many, and any other is loaded outside of workers",
                way_out="save state_dict(used=ROWS) instead",
            )
        if info is not None:
            self._loaded = state["first"], state["next"]
            return
        self._shared[BEGIN] = state["next"]
        self._shared[START] += 1

    def hf(self) -> Any:
        """Return the rank's rows from the start as a ``datasets.IterableDataset``, which TRL's SFTTrainer takes.

        It has a state of its own; of a loader's workers one alone reads it.
        """
        features = datasets.Features(
            {
                "prompt": datasets.Value("string"),
                "completion": datasets.Value("string"),
                "index": datasets.Value("int64"),
            }
        )
        return datasets.IterableDataset.from_generator(partial(_from_start, self), features=features)


def _from_start(stream: UniverseStream) -> Iterator[Row]:
    return map(stream._at, stream._places(0, 0, 1))
