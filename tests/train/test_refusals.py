"""Promises of refusals: what cannot be trained is one clear line from the worker, and nothing has been written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from leonids.spec import RunSpec
from leonids.train import room, worker
from leonids.train.native import NATIVE

MakeRun = Callable[..., RunSpec]


@pytest.fixture(scope="module")
def finished(run_spec: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    NATIVE.fit([run_spec("a", steps=1, reviews=())], out=out, resume=False)
    return out


def changed(base_folder: Path, folder: Path, file: str, change: Callable[[dict[str, Any]], object]) -> str:
    """Copy a base with one of its JSON files changed; return the copy's name."""
    shutil.copytree(base_folder, folder)
    content = json.loads((folder / file).read_text())
    change(content)
    (folder / file).write_text(json.dumps(content))
    return str(folder)


def add_token(tokenizer: dict[str, Any]) -> None:
    tokenizer["model"]["vocab"]["one more"] = len(tokenizer["model"]["vocab"])


BAD_BASES = [
    ("tokenizer.json", add_token, "every token needs a row"),
    ("config.json", lambda config: config.update(max_position_embeddings=20), "reads at most 20"),
    ("config.json", lambda config: config.update(num_local_experts=4), "routes tokens to 4 experts"),
]


@pytest.mark.parametrize(("file", "change", "words"), BAD_BASES)
def test_a_worker_refuses_a_base_that_does_not_fit_before_it_writes(
    file: str, change: Any, words: str, base_folder: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    assert words in refused(base=changed(base_folder, tmp_path / "base", file, change))


@pytest.mark.parametrize("target", ["qproj", "mlp", "lm_head"])
def test_a_worker_refuses_a_target_that_no_adapter_can_have_before_it_writes(
    target: str, refused: Callable[..., str]
) -> None:
    adapter = {"rank": 2, "targets": ["q_proj", target]}
    words = {"qproj": "no module named 'qproj'", "mlp": "linear layers", "lm_head": "the output layer is a target"}
    assert words[target] in refused(adapter=adapter)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda config, _: config.update(modules_to_save=["lm_head"]), "modules_to_save = ['lm_head']"),
        (lambda _, tensors: tensors.clear(), "nothing for model.layers.0.self_attn.q_proj"),
        (lambda _, tensors: tensors.update({k: v[:, :3].contiguous() for k, v in tensors.items() if "lora_A" in k}),
         "a change of 32 x 3"),
    ],
)  # fmt: skip
def test_a_worker_refuses_to_start_from_what_is_no_adapter_of_the_base_before_it_writes(
    change: Any, words: str, finished: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(finished / "a" / "adapter", folder)
    config, tensors = (
        json.loads((folder / "adapter_config.json").read_text()),
        load_file(folder / "adapter_model.safetensors"),
    )
    change(config, tensors)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "adapter_model.safetensors")
    assert words in refused(start_from=str(folder))


def test_a_worker_asks_for_memory_before_it_writes(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "free_bytes", lambda _: 1 << 20)
    # Inputs and outputs of a layer's seven targets: 64 + 48 + 48 + 64 + 3 * 80 = 464. Two layers at rank 512 with
    # 16 bytes a number are 7.25 MiB.
    said = refused(adapter={"rank": 512})
    assert "1 adapters take 7 MiB" in said
    assert "1 MiB are free" in said


def test_a_worker_refuses_float16_by_its_name(refused: Callable[..., str]) -> None:
    assert "dtype is 'float16'" in refused(dtype="float16")


@pytest.fixture
def refused(run_spec: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a worker on a run with wrong settings; return its one line, and check that nothing was written."""

    def run(**wrong: Any) -> str:
        path, out = tmp_path / "pass.json", tmp_path / "out"
        body = json.loads(run_spec("a").model_dump_json()) | wrong
        path.write_text(json.dumps({"runs": [body], "out": str(out)}))
        assert worker.main([str(path)]) in (1, 2)
        assert not list(out.glob("*/*"))
        (line,) = capsys.readouterr().err.splitlines()
        return str(line)

    return run
