"""Examples as JSONL: what `leonids sample` writes."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from leonids.errors import OutputError
from leonids.floor.entropy import Repeats, answer_nats, prompt_nats, repeats
from leonids.floor.tokens import Encoded, TokenFloor, encode_foreign
from leonids.gym.items import Items
from leonids.gym.source import PACKAGE, VERSION, ReasoningGym
from leonids.gym.tasks import UNKNOWN, passed_over_line
from leonids.records import ROLES, Example
from leonids.report.escape import for_terminal, json_text
from leonids.spec import RunSpec, load_universe
from leonids.study.floors import tokenizer_of
from leonids.universe.splits import GYM
from leonids.universe.universe import Universe


def example_json(example: Example, encode: Callable[[Example], Encoded] | None) -> dict[str, Any]:
    """Return an example as a line of JSONL; with ``encode`` its tokens, their roles and floors too.

    ``roles`` are ``[start, end, role]`` over the characters of prompt + completion. ``nats`` are -ln P, null where
    nobody knows them.
    """
    nats = None
    if example.split != GYM:
        prompt, answer = prompt_nats(example), answer_nats(example)
        nats = {"prompt": prompt, "answer": answer, "total": prompt + answer}
    line: dict[str, Any] = {
        "id": f"{example.universe[:12]}/{example.split}/{example.seed}/{example.index}",
        "prompt": example.prompt,
        "completion": example.completion,
        "answer": example.answer,
        "roles": [[span.start, span.end, span.role] for span in example.spans],
        "nats": nats,
        "tags": dict(example.tags),
        "meaning": example.meaning,
    }
    if encode is not None:
        encoded = encode(example)
        line["tokens"] = {
            "ids": encoded.ids,
            "roles": [ROLES[role] for role in encoded.roles],
            "floor_nats": encoded.floor_nats if nats else None,
        }
    return line


WARNED_SHARE = 0.01
"""Streams of which more than this share is expected to have been there before are warned about."""


def forecast_line(found: Repeats, n: int) -> str:
    """Return how many repeats are expected among ``n`` examples of a split, in a line."""
    pairs = found.pairs(n)
    error = "" if found.collision.exact else f" (standard error {pairs.standard_error:.2g})"
    return (
        f"expected pairs of equal texts among {n:,} examples of {found.split}: {pairs.mean:.3g}{error}; "
        f"{WARNED_SHARE:.0%} of them repeat at n = {found.examples_at(WARNED_SHARE):.2g}"
    )


def repeat_warning(found: Repeats, n: int, *, where: str) -> str | None:
    """Return a warning where more than ``WARNED_SHARE`` of ``n`` examples are expected to be repeats, else None."""
    if n <= found.examples_at(WARNED_SHARE):
        return None
    return (
        f"warning: {where} repeats itself: more than {WARNED_SHARE:.0%} of {n:,} examples of {found.split} are "
        "expected to have been there before, so a loss below the floor is memory; take fewer, or a larger universe"
    )


def run_warnings(runs: Sequence[RunSpec]) -> tuple[str, ...]:
    """Return a warning for each arm that trains on a universe too small for its number of examples."""
    arms = {run.arm: run for run in runs if run.universe is not None}
    said = []
    for run in arms.values():
        made = Universe(run.universe)  # type: ignore[arg-type]
        found = repeats(made, "train", draws=400)
        said.append(repeat_warning(found, run.steps * run.batch_size, where=f"arm {run.arm}"))
    return tuple(filter(None, said))


def _lines(examples: Iterable[Example], encode: Callable[[Example], Encoded] | None) -> Iterator[str]:
    for example in examples:
        yield json_text(example_json(example, encode)) + "\n"


def write_examples(universe: str, *, n: int, split: str, seed: int, tokenizer: str | None, out: Path | None) -> None:
    """Write ``n`` examples to a file, whole or not at all, or to stdout; then say how many repeats to expect.

    Raises ``OutputError``, ``SpecError``, ``UsageError`` for a split that does not exist.
    """
    made = Universe(load_universe(universe))
    if split == GYM:
        _write_foreign(made, n=n, seed=seed, tokenizer=tokenizer, out=out)
        return
    found = repeats(made, split)
    encode = None if tokenizer is None else TokenFloor(made, tokenizer_of(tokenizer)).encode
    _put(_lines((made.example(split, seed, index) for index in range(n)), encode), out)
    warning = repeat_warning(found, n, where=f"universe {made.spec.universe}")
    sys.stderr.writelines(f"{for_terminal(said)}\n" for said in (forecast_line(found, n), warning) if said)


def _write_foreign(made: Universe, *, n: int, seed: int, tokenizer: str | None, out: Path | None) -> None:
    items = Items(made, ReasoningGym(), seed=seed)
    encode = None if tokenizer is None else partial(encode_foreign, tokenizer=tokenizer_of(tokenizer))
    _put(_lines(map(items.example, range(n)), encode), out)
    sys.stderr.write(
        f"{GYM}: items of {PACKAGE} {VERSION}, none twice, {passed_over_line(items.passed_over(n))}; {UNKNOWN}\n"
    )


def _put(lines: Iterator[str], out: Path | None) -> None:
    if out is None:
        sys.stdout.writelines(lines)
    else:
        _write_whole(out, lines)


def _write_whole(out: Path, lines: Iterator[str]) -> None:
    # What is wrong with the universe is found before a folder is made.
    first = next(lines)
    draft = out.with_name(f".{out.name}.{os.getpid()}.draft")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8") as handle:
            handle.write(first)
            handle.writelines(lines)
        draft.replace(out)
    except OSError as error:
        raise OutputError(f"cannot write {out} ({error.strerror})", way_out="free the disk or choose --out") from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
