"""Examples as JSONL: what `leonids sample` writes."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from leonids.errors import OutputError
from leonids.floor.entropy import answer_nats, prompt_nats
from leonids.floor.tokens import TokenFloor
from leonids.records import ROLES, Example
from leonids.spec import load_universe
from leonids.study.floors import tokenizer_of
from leonids.universe.splits import belongs
from leonids.universe.universe import Universe


def example_json(example: Example, floor: TokenFloor | None) -> dict[str, Any]:
    """Return an example as a line of JSONL; with ``floor`` its tokens, their roles and floors too.

    ``roles`` are ``[start, end, role]`` over the characters of prompt + completion. ``nats`` are -ln P.
    """
    prompt, answer = prompt_nats(example), answer_nats(example)
    line: dict[str, Any] = {
        "id": f"{example.universe[:12]}/{example.split}/{example.seed}/{example.index}",
        "prompt": example.prompt,
        "completion": example.completion,
        "answer": example.answer,
        "roles": [[span.start, span.end, span.role] for span in example.spans],
        "nats": {"prompt": prompt, "answer": answer, "total": prompt + answer},
        "tags": dict(example.tags),
        "meaning": example.meaning,
    }
    if floor is not None:
        encoded = floor.encode(example)
        line["tokens"] = {
            "ids": encoded.ids,
            "roles": [ROLES[role] for role in encoded.roles],
            "floor_nats": encoded.floor_nats,
        }
    return line


def _lines(universe: str, *, n: int, split: str, seed: int, tokenizer: str | None) -> Iterator[str]:
    made = Universe(load_universe(universe))
    belongs("", split)
    floor = None if tokenizer is None else TokenFloor(made, tokenizer_of(tokenizer))
    for index in range(n):
        yield json.dumps(example_json(made.example(split, seed, index), floor), ensure_ascii=False) + "\n"


def write_examples(universe: str, *, n: int, split: str, seed: int, tokenizer: str | None, out: Path | None) -> None:
    """Write ``n`` examples to a file, whole or not at all, or to stdout. Raises ``OutputError``, ``SpecError``."""
    lines = _lines(universe, n=n, split=split, seed=seed, tokenizer=tokenizer)
    if out is None:
        for line in lines:
            sys.stdout.write(line)
        return
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
