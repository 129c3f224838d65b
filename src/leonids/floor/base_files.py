"""What a base model's folder says, read without torch: its facts, tokenizer, output matrix and final gain."""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_path
from tokenizers import Tokenizer

from leonids.errors import BaseError
from leonids.floor.head import OutputHead

Array32 = npt.NDArray[np.float32]


@final
@dataclass(frozen=True, slots=True)
class BaseRow:
    """A base that leonids knows by name. ``fetched`` says whether ``leonids bases get`` must bring it first."""

    name: str
    about: str
    parameters: int
    licence: str
    fetched: bool


BASES: tuple[BaseRow, ...] = (
    BaseRow("nano", "shipped in the package, pretrained by this project", 1_000_000, "Apache-2.0", fetched=False),
    BaseRow("smollm2-135m", "SmolLM2-135M-Instruct, 4-bit weights unpacked", 134_515_008, "Apache-2.0", fetched=True),
)
"""The bases with a name; every Hugging Face id or folder is a base as well."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_FILES = ("*.json", "*.safetensors")


@final
@dataclass(frozen=True, slots=True)
class HeadForm:
    """How a model type turns its last state into logits, and under which names its tensors lie.

    ``centred``: a LayerNorm instead of an RMSNorm. ``gain_offset`` is added to the stored gain. ``scale`` names the
    configuration's factor of the logits, ``divisor`` what they are divided by, ``cap`` their soft-capping.
    """

    model_type: str
    norm: str = "model.norm"
    embedding: str = "model.embed_tokens"
    centred: bool = False
    gain_offset: float = 0.0
    scale: str = ""
    divisor: str = ""
    cap: str = ""


HEAD_FORMS: tuple[HeadForm, ...] = (
    HeadForm("llama"),
    HeadForm("mistral"),
    HeadForm("qwen2"),
    HeadForm("qwen3"),
    HeadForm("phi3"),
    HeadForm("gemma", gain_offset=1.0),
    HeadForm("gemma2", gain_offset=1.0, cap="final_logit_softcapping"),
    HeadForm("gemma3_text", gain_offset=1.0, cap="final_logit_softcapping"),
    HeadForm("granite", divisor="logits_scaling"),
    HeadForm("gpt2", norm="transformer.ln_f", embedding="transformer.wte", centred=True),
    HeadForm("phi", norm="model.final_layernorm", centred=True),
    HeadForm("cohere", centred=True, scale="logit_scale"),
)
"""The model types whose head is known. Adding one is one row; tests compare each row with the model itself."""


@final
@dataclass(frozen=True, slots=True)
class BaseFacts:
    """What the configuration files of a base say. ``bos_id`` is the end token where there is no start token."""

    model_type: str
    vocab: int
    context_tokens: int
    bos_id: int
    eos_id: int
    tied: bool


def cache_folder() -> Path:
    """Return the folder for fetched bases: ``LEONIDS_HOME``, or the platform's cache folder."""
    home = os.environ.get("LEONIDS_HOME")
    return Path(home) if home else user_cache_path("leonids", appauthor=False)


def known_names() -> str:
    """Return the names of the bases that leonids knows, for messages."""
    return ", ".join(row.name for row in BASES)


def find_base(name: str) -> Path:
    """Return the folder of a base: a known name, a folder, or a Hugging Face id (from the local cache if offline).

    Raises ``BaseError`` when there is none, or when a known base was not fetched yet.
    """
    row = next((row for row in BASES if row.name == name), None)
    if row is not None:
        return _known_folder(row)
    if name and Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise BaseError(f"the folder {name} holds no config.json", rule="a base is a Hugging Face model folder")
        return Path(name)
    if HUB_ID.fullmatch(name):
        return _hub_folder(name)
    raise BaseError(
        f"no base named {name!r}",
        rule=f"a base is one of {known_names()}, a folder, or a Hugging Face id such as owner/model",
    )


def _known_folder(row: BaseRow) -> Path:
    if row.fetched:
        folder = cache_folder() / "bases" / row.name
        way_out = f"run `leonids bases get {row.name}` once"
    else:
        folder = Path(str(files("leonids"))) / "train" / row.name
        way_out = "reinstall leonids, or make it with `leonids pretrain`"
    if not (folder / "config.json").is_file():
        raise BaseError(f"base {row.name!r} is not on this machine", way_out=way_out)
    return folder


def _hub_folder(name: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    try:
        return Path(snapshot_download(name, allow_patterns=list(HUB_FILES)))
    except (OSError, HfHubHTTPError) as error:
        raise BaseError(
            f"base {name!r} could not be loaded ({type(error).__name__})",
            rule=f"it is neither a folder, nor in the local cache, nor fetchable; the known bases are {known_names()}",
            way_out="check the name and the network",
        ) from error


def read_facts(folder: Path) -> BaseFacts:
    """Return what ``config.json`` (and ``generation_config.json``) of a base folder say."""
    config = _read_json(folder / "config.json")
    generation = _read_json(folder / "generation_config.json") if (folder / "generation_config.json").exists() else {}
    eos = _first_id(config.get("eos_token_id"))
    eos = _first_id(generation.get("eos_token_id")) if eos is None else eos
    if eos is None:
        raise BaseError(f"the base in {folder} names no end token", rule="config.json must have eos_token_id")
    bos = _first_id(config.get("bos_token_id"))
    return BaseFacts(
        model_type=str(config.get("model_type", "")),
        vocab=int(config["vocab_size"]),
        context_tokens=int(config.get("max_position_embeddings") or config.get("n_positions") or 1 << 30),
        bos_id=eos if bos is None else bos,
        eos_id=eos,
        tied=bool(config.get("tie_word_embeddings", True)),
    )


def _first_id(value: object) -> int | None:
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, int) else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BaseError(f"cannot read {path} ({error})", rule="a base folder holds valid JSON files") from error
    if not isinstance(data, dict):
        raise BaseError(f"{path} holds no JSON object", rule="a base folder is a Hugging Face model folder")
    return data


def read_tokenizer(folder: Path) -> Tokenizer:
    """Return the base's tokenizer from its ``tokenizer.json``."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise BaseError(
            f"the base in {folder} has no tokenizer.json",
            rule="leonids reads fast tokenizers only",
            way_out="save it once with AutoTokenizer.from_pretrained(...).save_pretrained(folder)",
        )
    return Tokenizer.from_file(str(path))


def read_head(folder: Path) -> OutputHead:
    """Return what turns a base's last normalised state into logits: matrix, gain, and what its form has besides.

    Raises ``BaseError`` for model types whose head has a form that is not known.
    """
    config = _read_json(folder / "config.json")
    kind = str(config.get("model_type", ""))
    form = next((form for form in HEAD_FORMS if form.model_type == kind), None)
    if form is None:
        raise BaseError(
            f"the head of model type {kind!r} is not known",
            rule=f"known are {', '.join(form.model_type for form in HEAD_FORMS)}",
            way_out="leave the head's floor out",
        )
    places = _tensor_places(folder)
    norm, embedding = (_named_in(places, name) for name in (form.norm, form.embedding))
    name = "lm_head.weight" if "lm_head.weight" in places else f"{embedding}.weight"
    gain = _read_tensor(places, f"{norm}.weight", folder=folder) + np.float32(form.gain_offset)
    shift, bias = (
        _read_tensor(places, name, folder=folder) if name in places else None
        for name in (f"{norm}.bias", "lm_head.bias")
    )
    cap = config.get(form.cap) if form.cap else None
    return OutputHead(
        weight=_read_tensor(places, name, folder=folder),
        gain=gain,
        centred=form.centred,
        shift=shift,
        bias=bias,
        scale=_number(config, form.scale) / _number(config, form.divisor),
        cap=None if cap is None else float(cap),
    )


def _named_in(places: Mapping[str, Path], name: str) -> str:
    # A model saved without its head leaves the first part of its tensors' names out.
    short = name.partition(".")[2]
    return name if f"{name}.weight" in places or f"{short}.weight" not in places else short


def _number(config: Mapping[str, Any], key: str) -> float:
    """Return a factor of the configuration; 1 for a form without it. Raises ``BaseError`` where it is missing."""
    if not key:
        return 1.0
    value = config.get(key)
    if not isinstance(value, int | float) or value == 0:
        raise BaseError(f"config.json has {key} = {value!r}", rule="its head's logits are scaled by that number")
    return float(value)


def base_digest(folder: Path) -> str:
    """Return the SHA-256 over a base's configuration, tokenizer and weights: file names and bytes, in name order."""
    total = hashlib.sha256()
    names = ["config.json", "tokenizer.json", *(path.name for path in folder.glob("*.safetensors"))]
    for path in (folder / name for name in sorted(names)):
        if path.is_file():
            with path.open("rb") as stream:
                total.update(path.name.encode() + b"\0" + hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def _tensor_places(folder: Path) -> dict[str, Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return {name: folder / file for name, file in _read_json(index)["weight_map"].items()}
    single = folder / "model.safetensors"
    if not single.is_file():
        raise BaseError(f"the base in {folder} has no model.safetensors", rule="weights are read as safetensors")
    return dict.fromkeys(_header(single)[0], single)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    # safetensors: 8 bytes of header length (little endian), the header as JSON, then the raw tensors.
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        return json.loads(stream.read(length)), 8 + length


def _read_tensor(places: Mapping[str, Path], name: str, *, folder: Path) -> Array32:
    if name not in places:
        raise BaseError(f"the base in {folder} has no tensor {name!r}", rule="its head has an unknown form")
    header, start = _header(places[name])
    entry = header[name]
    kinds = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "BF16": np.uint16}
    if entry["dtype"] not in kinds:
        raise BaseError(f"tensor {name!r} has dtype {entry['dtype']}", rule=f"readable are {', '.join(kinds)}")
    count = math.prod(entry["shape"])
    offset = start + entry["data_offsets"][0]
    raw = np.fromfile(places[name], dtype=kinds[entry["dtype"]], count=count, offset=offset)
    if entry["dtype"] == "BF16":
        # bfloat16 is the upper half of a float32.
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32, copy=False).reshape(entry["shape"])
