from pathlib import Path

from leonids.ledger.streams import read_stream
from leonids.ledger.verify import verify
from leonids.train.native import NATIVE


def test_smoke(run_spec, tmp_path: Path):
    NATIVE.fit([run_spec("a"), run_spec("b", rank=2, loss_on="all")], out=tmp_path, resume=False)
    for line in list(read_stream(tmp_path/"b"/"steps.jsonl"))[:3]: print(line)
    for line in list(read_stream(tmp_path/"a"/"reviews.jsonl"))[:3]: print(line)
    for line in list(read_stream(tmp_path/"a"/"reviews.jsonl"))[-1:]: print(line)
    print(verify(tmp_path))
