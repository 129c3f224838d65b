"""docs/callback.md shows programs that run."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerFast, TrainerCallback
from typer.testing import CliRunner

from leonids.cli import app
from leonids.ledger.streams import read_stream
from leonids.study.folder import StudyFolder
from leonids.train.bases import load_base
from leonids.universe.universe import Universe

pytestmark = pytest.mark.filterwarnings("ignore")
PAGE = Path(__file__).parents[2] / "docs" / "callback.md"


STOPPED = "\ntrainer.add_callback(stop)\ntrainer.train()\n"


class StopAt13(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        control.should_training_stop = control.should_training_stop or state.global_step == 13
        return control


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_the_snippets_of_the_page_run_and_leave_folders_that_the_commands_read(
    base_folder: Path, universe: Universe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(base_folder / "tokenizer.json"), eos_token="<|end|>", pad_token="<|end|>"
    )
    examples = [universe.example("train", 3, index) for index in range(48)]
    encoded = []
    for one in examples:
        prompt, answer = tokenizer.encode(one.prompt), tokenizer.encode(one.completion)
        encoded.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    (tmp_path / "study.yaml").write_text(*blocks("yaml"), encoding="utf-8")
    given: dict[str, Any] = {
        "tokenizer": tokenizer,
        "rows": Dataset.from_list([{"prompt": one.prompt, "completion": one.completion} for one in examples]),
        "encoded": Dataset.from_list(encoded),
        "collator": DataCollatorForSeq2Seq(tokenizer),
        "folder": str(tmp_path),
        "stop": StopAt13(),
    }
    for snippet in blocks("python"):
        given["model"] = load_base(str(base_folder), dtype="float32").model.requires_grad_(True)
        # The one with checkpoints is stopped between two of them, so that there is something to resume.
        exec(snippet.replace("\ntrainer.train()\n", STOPPED) if "def make_trainer" in snippet else snippet, given)
    found = json.loads(CliRunner().invoke(app, ["explain", str(tmp_path / "plain"), "--json"]).stdout)
    assert found[0]["answer"]["loss"]["n"] == 16
    assert [v["word"] for v in StudyFolder.open(tmp_path / "study").verdicts] == ["supported"]
    steps = [line["step"] for line in read_stream(tmp_path / "study" / "rank-8.s0" / "steps.jsonl") if "lr" in line]
    assert steps == list(range(1, 21))
