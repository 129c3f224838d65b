"""Promises about the package itself: the same bytes from one version, right answers, and seeds that share nothing."""

import hashlib
import json
import operator
import os
import random
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import reduce
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leonids.errors import UsageError
from leonids.floor.tokens import encode_foreign
from leonids.gym.items import ASKED, NO_ANSWER, Items
from leonids.gym.source import VERSION, ReasoningGym
from leonids.gym.tasks import DISTANCES, TASKS
from leonids.records import Example
from leonids.study.floors import tokenizer_of
from leonids.universe.splits import GYM
from leonids.universe.universe import Universe

pytestmark = pytest.mark.gym

N = 40 * len(TASKS)
BYTES = "2258761459d7b0bd3d709968dc7e5ac20abfd87c73f2eb1f674c7c8809cc1bc4"
"""SHA-256 of the first N items of seed 0 in the format of `consistent`: another version of the package has another."""


def text_of(items: Items) -> bytes:
    return "\0".join(items.example(i).prompt + items.example(i).completion for i in range(N)).encode()


@pytest.fixture(scope="module")
def package() -> ReasoningGym:
    return ReasoningGym()


@pytest.fixture(scope="module")
def asked(package: ReasoningGym, consistent: Universe) -> Items:
    items = Items(consistent, package, seed=0)
    items.example(N - 1)
    return items


def test_the_extra_pins_the_version_whose_items_are_known() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["optional-dependencies"]["reasoning-gym"] == [f"reasoning-gym=={VERSION}"]


def test_one_version_draws_the_same_bytes(asked: Items) -> None:
    assert hashlib.sha256(text_of(asked)).hexdigest() == BYTES


def test_no_global_generator_and_no_hash_seed_changes_an_item(
    asked: Items, package: ReasoningGym, consistent: Universe
) -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert text_of(Items(consistent, package, seed=0)) == text_of(asked)
    command = [sys.executable, "-m", "leonids", "sample", "consistent", "--split", GYM, "-n", str(N)]
    said = [
        subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("0", "7")
    ]
    assert said[0] == said[1] != b""


def test_streams_of_neighbouring_seeds_share_no_run_of_items(package: ReasoningGym) -> None:
    for task in ("number_filtering", "number_sorting", "simple_equations", "word_sorting"):
        first, second = ({package.draw(task, seed=seed, index=i)[0] for i in range(200)} for seed in (0, 1))
        assert len(first) == len(second) == 200
        assert len(first & second) <= 1


def test_what_is_passed_over_is_said_and_little(asked: Items) -> None:
    passed = asked.passed_over(N)
    assert set(passed) <= {NO_ANSWER, ASKED}
    assert sum(passed.values()) < N / 20
    assert len({asked.example(i).meaning for i in range(N)}) == N


def test_the_shipped_base_reads_every_item(asked: Items) -> None:
    tokenizer = tokenizer_of("nano")
    for i in range(N):
        example = asked.example(i)
        tokens = encode_foreign(example, tokenizer)
        assert tokenizer.decode(tokens.ids[1:-1]) == example.prompt + example.completion
        assert len(tokens.ids) <= 512


def listed(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def filtered(question: str) -> object:
    told = re.match(r"(Keep|Remove) all numbers (larger|smaller) than (\S+) in this list: (.*)", question)
    assert told is not None
    keep, beyond = told[1] == "Keep", operator.gt if told[2] == "larger" else operator.lt
    return [text for text in listed(told[4]) if beyond(float(text), float(told[3])) is keep]


def ordered(question: str) -> object:
    told = re.match(r"Sort these numbers in (ascending|descending) order: (.*)", question)
    assert told is not None
    return sorted(told[2].split(", "), key=float, reverse=told[1] == "descending")


def spelled(question: str) -> object:
    told = re.search(r"sort these words in (ascending|descending) order .*: (.*)", question)
    assert told is not None
    return sorted(told[2].split(", "), reverse=told[1] == "descending")


def counted(question: str) -> object:
    told = re.match(r'How many times does the letter "(.)" appear in the text: "(.*)"\?', question)
    assert told is not None
    return told[2].lower().count(told[1].lower())


def summed(question: str) -> object:
    told = re.search(r": ([-+ \d]+) =", question)
    assert told is not None
    return sum(int(part.replace(" ", "")) for part in re.findall(r"[-+]?\s*\d+", told[1]))


def turned(question: str) -> object:
    return question.split("\n")[0].split(": ")[-1][::-1]


def divided(question: str) -> object:
    return reduce(gcd, (int(part) for part in re.findall(r"\d+", question.split(": ")[1].split(".")[0])))


SOLVED: dict[str, Callable[[str], object]] = {
    "number_filtering": filtered,
    "number_sorting": ordered,
    "word_sorting": spelled,
    "letter_counting": counted,
    "chain_sum": summed,
    "spell_backward": turned,
    "gcd": divided,
}


@pytest.mark.parametrize("name", sorted(SOLVED))
def test_an_answer_is_what_a_solver_of_our_own_finds(name: str, asked: Items) -> None:
    examples = [asked.example(i) for i in range(N)]
    own: list[Example] = [one for one in examples if one.tags["task"] == name]
    assert len(own) == N / len(TASKS)
    assert [SOLVED[name](one.prompt) for one in own] == [one.answer["result"] for one in own]  # type: ignore[index, call-overload]


def test_the_shipped_base_is_measured_with_a_floor_that_is_null_and_cases_by_distance(
    start: Callable[..., Any], finish: Callable[[Any], tuple[int, str, str]]
) -> None:
    command = ("eval", "nano", "--universe", "consistent", "--split", GYM, "-n", len(TASKS), "--json")
    code, out, err = finish(start(*command))
    assert code == 0, err
    found = json.loads(out)
    assert (found["n"], found["floor_nats"]) == (len(TASKS), None)
    assert found["loss_nats"] > 0
    assert {case["value"]: case["n"] for case in found["cases"] if case["tag"] == "distance"} == dict.fromkeys(
        DISTANCES, len(TASKS) // 3
    )


def test_a_universe_does_not_draw_them_and_says_who_does(consistent: Universe) -> None:
    with pytest.raises(UsageError, match="leonids sample --split transfer:gym"):
        consistent.example(GYM, 0, 0)
