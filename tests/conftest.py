"""What tests of several rooms share: how hypothesis searches, a tiny universe, base and study, the command line."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from leonids.universe.blueprint import (
    AnswerFormat,
    Catalog,
    Conflict,
    Disorder,
    FormatShare,
    Layout,
    Stated,
    Threshold,
    UniverseSpec,
)

# No deadline: a test that depends on how busy the machine is fails for no reason. On CI the search is the same
# every time, so that a red run means the change under test.
settings.register_profile("leonids", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("leonids")

# A shell's background job ignores SIGINT, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def tiny_universe(*, formats: bool = False, conflict: float | None = None) -> UniverseSpec:
    """A universe small enough to write down every text of it: 3 names, 2 colours, weights 1 to 3."""
    shares = (
        FormatShare(share=0.7, format=AnswerFormat()),
        FormatShare(share=0.3, format=AnswerFormat(name="bare", before="", after="")),
    )
    dial = (
        None
        if conflict is None
        else Conflict(word="heavy", share=conflict, other=Threshold(property="weight", above=1))
    )
    return UniverseSpec(
        universe="tiny",
        version=1,
        catalog=Catalog(
            names=("otter", "onion", "ladder"),
            stated=(Stated(name="color", values=("red", "blue")), Stated(name="weight", numbers=(1, 3))),
            definitions={"heavy": Threshold(property="weight", above=2)},
        ),
        items={1: 0.6, 2: 0.4},
        depths={1: 0.3, 2: 0.7},
        skills={"filter": 2.0, "sort": 1.0, "count": 1.0, "sum": 1.0, "names": 1.0},
        wording={
            "filter.color": "keep the {value} ones",
            "filter.heavy": "keep the heavy ones",
            "sort.weight": "sort by weight",
            "count": ("count", "count them"),
            "sum.weight": "sum the weights",
            "names": "list the names",
        },
        layout=Layout(attributes=("color", "weight")),
        disorder=Disorder(formats=shares if formats else (), conflict=dial),
    )


@pytest.fixture(scope="session")
def make_tiny() -> Callable[..., UniverseSpec]:
    """The maker of a universe of which every text can be written down; its dials are off unless asked for."""
    return tiny_universe


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of one layer and 16 channels that reads bytes; written without torch."""
    folder = tmp_path_factory.mktemp("base") / "tiny"
    folder.mkdir()
    write_tiny_base(folder)
    return folder


def write_tiny_base(folder: Path, *, width: int = 16, inner: int = 24) -> None:
    """Write a base's configuration, tokenizer and weights into a folder."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={"<|end|>": 0} | {c: i for i, c in enumerate(letters, 1)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    vocab = len(letters) + 1
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": vocab,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {
        "self_attn.q_proj": (width, width),
        "self_attn.k_proj": (width // 2, width),
        "self_attn.v_proj": (width // 2, width),
        "self_attn.o_proj": (width, width),
        "mlp.gate_proj": (inner, width),
        "mlp.up_proj": (inner, width),
        "mlp.down_proj": (width, inner),
    }
    random = np.random.default_rng(0)
    draw = lambda shape: random.normal(0, 0.2, shape).astype(np.float32)  # noqa: E731
    weights = {f"model.layers.0.{name}.weight": draw(shape) for name, shape in shapes.items()}
    weights["model.embed_tokens.weight"] = draw((vocab, width))
    for name in ("model.norm", "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm"):
        weights[f"{name}.weight"] = np.ones(width, dtype=np.float32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


PAIR = """\
study: pair
title: Two arms, one seed
arms:
  wide: {{rank: 4, alpha_rule: equal}}
  thin: {{rank: 2, alpha_rule: equal}}
seeds: [0]
reviews: [50%, 100%]
scales:
  nano: {{base: {base}, steps: 48, batch_size: 2, lr: 0.01, review_examples: 12, test_examples: 12, checkpoint_every: 4}}
hypotheses:
  H:
    claim: The loss falls.
    predictions:
      - id: H.1
        says: The loss on the answer ends below 4.9 nats a token.
        measure: {{metric: loss, tokens: answer, split: validation, arm: wide, seed: 0, final: true}}
        expect: {{below: 4.9}}
        scope: run
      - id: H.2
        says: At half-time the two losses are alike.
        measure: {{metric: loss, tokens: answer, split: validation, arm: thin, versus: wide, seed: 0, at: 50%}}
        expect: {{coincide: 2.0}}
        scope: run
"""  # noqa: E501


@pytest.fixture(scope="session")
def pair_file(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A study of two arms and one seed on the tiny base, small enough to be trained in a second."""
    path = tmp_path_factory.mktemp("pair") / "study.yaml"
    path.write_text(PAIR.format(base=tiny_base))
    return path


SPELLED: dict[str, Callable[[int], str]] = {
    "number_filtering": lambda i: f"['{i}.50']",
    "number_sorting": lambda i: f"['-{i}', '{i}.0']",
    "word_sorting": lambda i: "ant, bee" + i % 7 * ", cat",
    "spell_backward": lambda i: "w" + "o" * (i % 9),
    "family_relationships": lambda i: ("aunt", "uncle", "son")[i % 3],
}


@dataclass(frozen=True)
class PlantedSource:
    """Questions for ``transfer:gym`` that need no package: each task's answer in its own spelling.

    ``questions`` and ``answers`` put others in their place.
    """

    version: str = "planted"
    questions: Callable[[str, int, int], str | None] = lambda task, seed, index: None
    answers: Callable[[str, int, object], object] = lambda task, index, known: known

    def draw(self, task: str, *, seed: int, index: int) -> tuple[str, object]:
        question = self.questions(task, seed, index) or f"{task} {seed} number {index}?"
        return question, self.answers(task, index, SPELLED.get(task, str)(index))


@pytest.fixture(scope="session")
def make_source() -> type[PlantedSource]:
    """The maker of a source of questions for ``transfer:gym``."""
    return PlantedSource


@pytest.fixture(scope="session")
def start() -> Callable[..., "subprocess.Popen[str]"]:
    """Start a command of the command line as a process of its own."""
    source = Path(__file__).parents[1] / "src"
    quiet = {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}

    def begin(*arguments: object, **more: Any) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "leonids", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": {**os.environ, **quiet}}
        return subprocess.Popen(command, **{**pipes, **more})

    return begin


@pytest.fixture(scope="session")
def finish() -> Callable[["subprocess.Popen[str]"], tuple[int, str, str]]:
    """Wait for a process; return its exit code, stdout and stderr."""

    def end(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
        out, err = process.communicate(timeout=240)
        return process.returncode, out, err

    return end
