"""A universe as a Hugging Face dataset folder: parquet a split, and a card with what is known of the data."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leonids import __version__
from leonids.digest import canonical_json
from leonids.errors import OutputError
from leonids.floor.tokens import TokenFloor
from leonids.report.floors import floor_lines, floor_of
from leonids.report.sampling import example_json
from leonids.spec import load_universe
from leonids.study.floors import tokenizer_of
from leonids.universe.splits import SPLITS
from leonids.universe.universe import Universe

SPEC = "universe.yaml"
COUNTED_BY = "nano"
"""The tokenizer whose floors a card gives, whatever other one is asked for."""


def check_free(out: Path) -> None:
    """Refuse a folder that holds anything. Raises ``OutputError``."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise OutputError(
            f"{out} holds something already",
            rule="a data set's folder is written whole, never over other files",
            way_out="choose another --out",
        )


def split_name(split: str) -> str:
    """Return a split's name as Hugging Face allows it.

    >>> split_name("transfer:deeper")
    'transfer_deeper'
    """
    return split.replace(":", "_")


def write_folder(universe: str, *, n: int, split: str | None, seed: int, tokenizer: str | None, out: Path) -> None:
    """Write ``n`` examples of every split (or of ``split`` alone), the universe's spec and a card into ``out``.

    Raises ``OutputError``, ``SpecError``, ``UsageError`` for a split that does not exist, ``ModuleNotFoundError``
    without the extra.
    """
    from leonids.train.parquet import write_dataset  # noqa: PLC0415

    check_free(out)
    made = Universe(load_universe(universe))
    splits = [*SPLITS, *made.transfer_splits()] if split is None else [split]
    floor = None if tokenizer is None else TokenFloor(made, tokenizer_of(tokenizer))
    for name in splits:
        made.example(name, seed, 0)
    command = ["leonids", "sample", SPEC, "-n", str(n), "--seed", str(seed)]
    command += ["--split", split] if split else []
    command += ["--floor", tokenizer] if tokenizer else []
    counted = list(dict.fromkeys((COUNTED_BY, *([tokenizer] if tokenizer else []))))
    floors = [floor_lines(floor_of(universe, tokenizer=name, base=None, tokens="answer")) for name in counted]
    card = _card(made, splits, n=n, command=shlex.join([*command, "--to", "hf", "--out", "FOLDER"]), floors=floors)
    write_dataset(
        out,
        {split_name(name): _rows(made, name, n=n, seed=seed, floor=floor) for name in splits},
        texts={"README.md": card, SPEC: json.dumps(made.to_json(), indent=1) + "\n"},
        tokens=floor is not None,
    )


def _rows(made: Universe, split: str, *, n: int, seed: int, floor: TokenFloor | None) -> Iterator[dict[str, Any]]:
    for index in range(n):
        row = example_json(made.example(split, seed, index), floor.encode if floor else None)
        roles = [dict(zip(("start", "end", "role"), span, strict=True)) for span in row["roles"]]
        yield {**row, "answer": canonical_json(row["answer"]).decode(), "roles": roles}


def _card(made: Universe, splits: list[str], *, n: int, command: str, floors: list[list[str]]) -> str:
    files = [
        line for name in splits for line in (f"  - split: {split_name(name)}", f"    path: {split_name(name)}.parquet")
    ]
    head = ["---", f"pretty_name: {json.dumps('LEO ' + made.spec.universe)}", "configs:", "- config_name: default"]
    spec = json.dumps(made.to_json(), indent=1)
    return "\n".join(
        [
            *(*head, "  data_files:", *files, "---", f"# LEO: {made.spec.universe}", "", made.spec.about, ""),
            f"{n:,} examples of each split, drawn by leonids {__version__} from the universe `{made.digest}`.",
            f"Beside `{SPEC}`, with the same versions of leonids and pyarrow, this writes the same bytes:",
            *("", "```", command, "```", ""),
            "## What no model can beat",
            "",
            "Floors of fresh data, in nats; how far each transfer split is from training; what repeats.",
            *(line for lines in floors for line in ("", "```", *lines, "```")),
            *("", "## The universe", "", "```yaml", spec, "```", ""),
        ]
    )
