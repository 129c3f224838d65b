"""Promises of base folders: read without torch, to the bit; what is missing is named."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leonids.errors import BaseError
from leonids.floor import base_files
from leonids.floor.base_files import (
    BASES,
    base_digest,
    cache_folder,
    find_base,
    read_facts,
    read_head,
    read_tokenizer,
)

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 3,
    "max_position_embeddings": 16,
    "eos_token_id": [2, 1],
    "tie_word_embeddings": True,
}


def write_base(folder: Path, tensors: dict[str, tuple[str, list[int], bytes]], **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **more}))
    header, body = {}, b""
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    return folder


def plain(array: np.ndarray) -> tuple[str, list[int], bytes]:
    return "F32", list(array.shape), array.astype(np.float32).tobytes()


MATRIX = np.arange(6, dtype=np.float32).reshape(3, 2)
TIED = {"model.norm.weight": plain(np.array([1.0, 2.0])), "model.embed_tokens.weight": plain(MATRIX)}


@given(bits=st.lists(st.integers(0, 2**16 - 1), min_size=6, max_size=6))
@settings(max_examples=60)
def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path_factory: pytest.TempPathFactory, bits: list[int]) -> None:
    data = np.array(bits, dtype="<u2").tobytes()
    folder = write_base(tmp_path_factory.mktemp("base"), {**TIED, "model.embed_tokens.weight": ("BF16", [3, 2], data)})
    head = read_head(folder)
    assert head.weight.shape == (3, 2)
    assert [int(value) for value in head.weight.ravel().view(np.uint32)] == [bit << 16 for bit in bits]


def test_an_output_matrix_of_its_own_goes_before_a_tied_one(tmp_path: Path) -> None:
    folder = write_base(tmp_path, {**TIED, "lm_head.weight": plain(MATRIX + 1)}, tie_word_embeddings=False)
    assert np.array_equal(read_head(folder).weight, MATRIX + 1)
    assert np.array_equal(read_head(write_base(tmp_path / "tied", TIED)).weight, MATRIX)


def test_gemma_stores_its_gain_less_one(tmp_path: Path) -> None:
    assert np.array_equal(read_head(write_base(tmp_path, TIED, model_type="gemma")).gain, [2.0, 3.0])


def test_a_sharded_base_is_read_through_its_index(tmp_path: Path) -> None:
    folder = write_base(tmp_path, TIED)
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict.fromkeys(TIED, "part.safetensors")})
    )
    assert np.array_equal(read_head(folder).weight, MATRIX)


def test_a_head_of_unknown_form_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BaseError, match="'mamba'"):
        read_head(write_base(tmp_path, TIED, model_type="mamba"))


def test_facts_take_the_first_end_token_and_stand_in_for_a_missing_start(tmp_path: Path) -> None:
    facts = read_facts(write_base(tmp_path, TIED))
    assert (facts.eos_id, facts.bos_id, facts.context_tokens) == (2, 2, 16)


@pytest.mark.parametrize("broken", ["{", "[]"])
def test_a_broken_configuration_is_named(tmp_path: Path, broken: str) -> None:
    (tmp_path / "config.json").write_text(broken)
    with pytest.raises(BaseError, match=r"config\.json"):
        read_facts(tmp_path)


def test_what_a_base_lacks_is_named(tmp_path: Path) -> None:
    folder = write_base(tmp_path, {}, eos_token_id=None)
    with pytest.raises(BaseError, match="end token"):
        read_facts(folder)
    with pytest.raises(BaseError, match=r"tokenizer\.json"):
        read_tokenizer(folder)
    with pytest.raises(BaseError, match=r"model\.norm\.weight"):
        read_head(write_base(tmp_path / "no", {}))


@pytest.mark.parametrize("name", ["nanoo", "no/such/folder", ""])
def test_a_name_that_is_no_base_gets_the_names_that_are(name: str) -> None:
    with pytest.raises(BaseError) as raised:
        find_base(name)
    assert all(row.name in str(raised.value) for row in BASES)
    assert "\n" not in str(raised.value)


def test_a_base_that_was_not_fetched_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEONIDS_HOME", str(tmp_path))
    assert cache_folder() == tmp_path
    with pytest.raises(BaseError, match="leonids bases get smollm2-135m"):
        find_base("smollm2-135m")


def test_the_digest_covers_every_byte_that_decides_the_base(tmp_path: Path) -> None:
    folder = write_base(tmp_path, TIED)
    seen = {base_digest(folder)}
    for name in ("config.json", "model.safetensors"):
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        (folder / name).write_bytes(bytes(content))
        seen.add(base_digest(folder))
    (folder / "README.md").write_text("not part of it")
    assert len(seen | {base_digest(folder)}) == 3


def test_reading_a_base_loads_no_torch() -> None:
    code = "import sys, leonids.floor.base_files; sys.exit('torch' in sys.modules)"
    root = str(Path(base_files.__file__).parents[2])
    assert subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": root}).returncode == 0
