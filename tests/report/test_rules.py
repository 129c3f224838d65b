"""A universe that breaks a rule is refused by the public command, with the rule's number and the way out."""

import json
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, normalizers

from leonids import cli, universe
from leonids.report.rules import lint_universe
from leonids.spec import shipped_universes
from leonids.universe import program
from leonids.universe.disorder import Answers
from leonids.universe.prompts import Prompts
from leonids.universe.skills import SKILLS
from leonids.universe.values import Hundredths

SHIPPED = Path(universe.__file__).parent / "shipped"
Refused = Callable[..., str]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Lint with the public command, which must refuse with one finding and a way out; return the rule's number."""

    def lint(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["leonids", "lint", *map(str, arguments), "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 1
        [finding] = json.loads(capsys.readouterr().out)
        assert finding["severity"] == "refuse"
        assert finding["says"].count(finding["check"]) == 1
        assert len(finding["fix"]) > 10
        return str(finding["check"])

    return lint


def changed(folder: Path, old: str, new: str, *, base: str = "consistent") -> Path:
    text = (SHIPPED / f"{base}.yaml").read_text()
    assert text.count(old) == 1
    path = folder / "mine.yaml"
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize("name", shipped_universes())
def test_every_shipped_universe_keeps_all_rules_with_the_shipped_tokenizer(name: str) -> None:
    kept = random.getstate()
    assert lint_universe(name, tokenizer="nano") == ()
    assert random.getstate() == kept


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("R5", "items: {3: 0.4, 4: 0.3, 5: 0.3}", "items: {3: 0.4, 4: 0.3, 5: 0.2}"),
        ("R5", "items: {3: 0.4, 4: 0.3, 5: 0.3}", "items: {0: 1.0}"),
        ("R5", "depths: {1: 0.25, 2: 0.75}", "depths: {1: 0.25, 2: 0.85}"),
        ("R5", "filter: 5,", "filter: -5,"),
        ("R3", "attributes: [color, weight]", "{attributes: [color, weight], more: ';'}"),
        ("R3", "attributes: [color, weight]", "{attributes: [color, weight], more: ''}"),
        ("R3", "attributes: [color, weight]", "{attributes: [color, weight], name: ' it'}"),
        ("R3", "values: [red, blue, green, white]", "values: [red, red, green, white]"),
        ("R3", "filter.heavy: keep the heavy ones", "filter.heavy: keep those that start with a vowel"),
    ],
)
def test_a_spec_that_breaks_a_rule_is_refused(rule: str, old: str, new: str, tmp_path: Path, refused: Refused) -> None:
    assert refused(changed(tmp_path, old, f"\n  {new}" if new.startswith("{") else new)) == rule


def test_an_atom_that_can_be_cut_in_two_ways_is_refused(tmp_path: Path, refused: Refused) -> None:
    path = changed(tmp_path, "values: [red, blue, green, white]", "values: [red, red1, green, white]")
    text = path.read_text().replace("attributes: [color, weight]", "attributes: [color, weight]\n  attribute: '{}'")
    path.write_text(text.replace("numbers: [1, 9]", "numbers: [1, 19]"))
    assert refused(path) == "R3"


@pytest.mark.parametrize(
    ("disorder", "rule"),
    [
        ("formats: [{share: 0.5, format: {name: a}}, {share: 0.4, format: {name: b, before: ''}}]", "R5"),
        ("noise: {share: 1.5, numbers: [0, 12]}", "R5"),
        ("conflict: {word: heavy, share: 1.5, per: run, other: {property: weight, above: 3}}", "R5"),
        ("paraphrase: {count: [{share: 0.5, phrase: count them}]}", "R5"),
    ],
)
def test_shares_of_a_dial_that_do_not_sum_to_one_are_refused(
    disorder: str, rule: str, tmp_path: Path, refused: Refused
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((SHIPPED / "consistent.yaml").read_text() + f"disorder: {{{disorder}}}\n")
    assert refused(path) == rule


CALLS = count()
FAULTS: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("R2", "count", lambda items, parameter, meanings: 1 // len(items)),
    ("R2", "count", lambda items, parameter, meanings: len(items) or None),
    ("R2", "sum", lambda items, parameter, meanings: float(len(items))),
    ("R2", "names", lambda items, parameter, meanings: [item.name for item in items]),
    ("R2", "filter", lambda items, parameter, meanings: None),
    ("R4", "count", lambda items, parameter, meanings: next(CALLS) % 7),
    ("R4", "count", lambda items, parameter, meanings: random.SystemRandom().randrange(100)),
    ("R4", "names", lambda items, parameter, meanings: tuple(f'"{item.name}' for item in items)),
    ("R1", "count", lambda items, parameter, meanings: random.randrange(100)),
    ("R1", "sort", lambda items, parameter, meanings: tuple(random.sample(items, len(items)))),
)


@pytest.mark.parametrize("fault", range(len(FAULTS)))
def test_a_skill_that_breaks_a_rule_is_refused(fault: int, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, name, apply = FAULTS[fault]
    rows = tuple(replace(skill, apply=apply) if skill.name == name else skill for skill in SKILLS)
    monkeypatch.setattr(program, "SKILLS", rows)
    assert refused("consistent") == rule


def test_the_right_value_of_the_wrong_kind_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tuple(replace(s, apply=lambda *_: Hundredths(150)) if s.name == "count" else s for s in SKILLS)
    monkeypatch.setattr(program, "SKILLS", rows)
    assert refused("consistent") == "R2"


def test_a_word_property_that_draws_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    from leonids.universe import catalog

    rows = tuple((name, lambda word: random.random() < 0.5) for name, _ in catalog.LEXICAL)
    monkeypatch.setattr(catalog, "LEXICAL", rows)
    assert refused("consistent") == "R1"


@pytest.mark.parametrize("base", ["consistent", "noise"])
def test_a_latent_that_is_drawn_but_not_added_up_is_refused(
    base: str, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A dial that whoever wrote it forgot to have the dictionary run through: every tenth answer gets a blank.
    write = Answers.write

    def forgetful(self: Answers, chance: Any, task: Any, **more: Any) -> Any:
        written = write(self, chance, task, **more)
        return replace(written, text=f"{written.text} ") if chance.point() < 0.1 else written

    monkeypatch.setattr(Answers, "write", forgetful)
    assert refused(base) == "R6"


def test_a_latent_that_is_added_up_with_other_weights_is_refused(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    dictionary = Answers.dictionary

    def flat(self: Answers, task: Any, **more: Any) -> Any:
        shares = dictionary(self, task, **more)
        return {text: 1 / len(shares) for text in shares}

    monkeypatch.setattr(Answers, "dictionary", flat)
    assert refused("formats") == "R6"


def test_a_latent_in_a_prompt_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Prompts.draw_task

    def hidden(self: Prompts, chance: Any) -> Any:
        chance.latent(self.sites()[0])
        return draw(self, chance)

    monkeypatch.setattr(Prompts, "draw_task", hidden)
    assert refused("consistent") == "R6"


def test_a_tokenizer_that_does_not_give_texts_back_is_refused(
    tiny_base: Path,
    tmp_path: Path,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "lower"
    shutil.copytree(tiny_base, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.save(str(folder / "tokenizer.json"))
    assert refused("wide", "--tokenizer", folder) == "R7"
    monkeypatch.setattr(sys, "argv", ["leonids", "floor", "wide", "--tokenizer", str(folder)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "R7" in capsys.readouterr().err
