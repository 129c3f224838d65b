"""A folder of parquet files with a card, as Hugging Face's `datasets` loads it."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from leonids.train.checkpoints import write_whole

GROUP_ROWS = 1000

_TEXT, _WHOLE, _NATS = pa.string(), pa.int64(), pa.float64()
_PLAIN = [(name, _TEXT) for name in ("id", "prompt", "completion", "answer", "meaning")]
_NESTED = [
    ("roles", pa.list_(pa.struct([("start", _WHOLE), ("end", _WHOLE), ("role", _TEXT)]))),
    ("nats", pa.struct([(name, _NATS) for name in ("prompt", "answer", "total")])),
    (
        "tags",
        pa.struct(
            [
                (name, _WHOLE if name in {"depth", "items"} else _TEXT)
                for name in ("skill", "pipeline", "depth", "items", "format")
            ]
        ),
    ),
]
_TOKENS = (
    "tokens",
    pa.struct([("ids", pa.list_(_WHOLE)), ("roles", pa.list_(_TEXT)), ("floor_nats", pa.list_(_NATS))]),
)


def write_dataset(
    target: Path, splits: Mapping[str, Iterator[dict[str, Any]]], *, texts: Mapping[str, str], tokens: bool
) -> None:
    """Make the folder ``target``, whole or not at all: ``SPLIT.parquet`` of each split's rows, and ``texts``.

    Rows are those of ``leonids sample`` with text as ``answer`` and records as ``roles``; with ``tokens`` they hold
    tokens too. Raises ``OutputError``.
    """
    schema = pa.schema([*_PLAIN, *_NESTED, *([_TOKENS] if tokens else [])])

    def fill(folder: Path) -> None:
        for split, rows in splits.items():
            with pq.ParquetWriter(folder / f"{split}.parquet", schema) as writer:
                while group := list(islice(rows, GROUP_ROWS)):
                    writer.write_table(pa.Table.from_pylist(group, schema=schema))
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")

    write_whole(target, fill)
