"""The audit finds what is planted, with its rate, and says of each number what it is."""

import json
import math
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from leonids.cli import main
from leonids.errors import UsageError
from leonids.floor.audit import AuditFinding, AuditReport, audit
from leonids.floor.audit_formats import format_of, meaning, said_and_counted
from leonids.floor.base_files import find_base, read_tokenizer
from leonids.report.auditing import audit_lines, audit_of

WORDS = (
    "otter",
    "onion",
    "ladder",
    "apple",
    "river",
    "stone",
    "cloud",
    "engine",
    "mirror",
    "pencil",
    "garden",
    "window",
)
LINES = 10_000
BARE, COMMENTS, WRONG, ASSIGNED, CONFLICTS, REWRITTEN, COPIES, NEAR = 596, 1_000, 795, 1_404, 100, 50, 200, 60


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def rows(start: int, count: int, *, draw: random.Random) -> list[dict[str, str]]:
    """Examples in one format, all different; their answers have one item or more."""
    found = []
    for i in range(start, start + count):
        items = [f"{draw.choice(WORDS)} {draw.randrange(100)}" for _ in range(8)]
        kept = items[: draw.randrange(2, 6)]
        prompt = f"{i}: items: {', '.join(items)}; keep the first {len(kept)}"
        found.append({"prompt": prompt, "completion": json.dumps({"count": len(kept), "items": kept})})
    return found


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """10,000 examples with the defects of a real data set, and 1,000 for validation of which 999 are among them."""
    draw = random.Random(0)
    made = rows(0, LINES - CONFLICTS - REWRITTEN - COPIES - NEAR, draw=draw)
    end = len(made)
    fates = iter(made[1000:])
    for _ in range(BARE):
        row = next(fates)
        row["completion"] = str(json.loads(row["completion"])["count"])
    for i in range(COMMENTS):
        row = next(fates)
        count = json.loads(row["completion"])["count"]
        row["completion"] = f"// {1 if i < WRONG else count} item{'s' * (i >= WRONG)}\n{row['completion']}"
    for _ in range(ASSIGNED):
        row = next(fates)
        row["completion"] = f"const items_tally = {json.dumps(json.loads(row['completion'])['items'])};"
    plain = [next(fates) for _ in range(CONFLICTS + REWRITTEN + COPIES + NEAR)]
    for i, row in enumerate(plain):
        value = json.loads(row["completion"])
        if i < CONFLICTS:
            row = row | {"completion": json.dumps({**value, "count": value["count"] + 1})}
        elif i < CONFLICTS + REWRITTEN:
            row = row | {"completion": json.dumps(dict(reversed(value.items())))}
        elif i >= CONFLICTS + REWRITTEN + COPIES:
            row = {"prompt": row["prompt"] + " indeed", "completion": row["completion"]}
        made.append(row)
    validation = write(tmp_path_factory.mktemp("data") / "validation.jsonl", made[:999] + rows(10**6, 1, draw=draw))
    assert len(made) == LINES
    assert end > 5_000
    draw.shuffle(made)
    return write(validation.parent / "train.jsonl", made), validation


@pytest.fixture(scope="module")
def report(planted: tuple[Path, Path]) -> AuditReport:
    return audit(planted[0], read_tokenizer(find_base("nano")), against=planted[1])


def only(report: AuditReport, topic: str, at: int = 0) -> AuditFinding:
    return [finding for finding in report.findings if finding.topic == topic][at]


def test_bare_numbers_are_found_at_their_rate_with_its_interval(report: AuditReport) -> None:
    bare = only(report, "bare types")
    assert bare.numbers["share"] == 0.0596
    assert bare.numbers["low"] < 0.0596 < bare.numbers["high"]
    assert bare.numbers["cost_nats"] == pytest.approx(0.226, abs=0.001)
    assert "5.96%" in bare.says


def test_formats_are_counted_and_their_entropy_is_that_of_the_counts(report: AuditReport) -> None:
    formats = only(report, "formats")
    wanted = {
        "bare number": BARE,
        "comment, then JSON object": COMMENTS,
        "assignment": ASSIGNED,
        "JSON object": LINES - BARE - COMMENTS - ASSIGNED,
    }
    assert formats.numbers["counts"] == wanted
    entropy = -sum(n / LINES * math.log(n / LINES) for n in wanted.values())
    assert formats.numbers["entropy_nats"] == pytest.approx(entropy)
    assert formats.grade == "estimate"


def test_comments_that_contradict_their_data_are_counted(report: AuditReport) -> None:
    comments = only(report, "comments")
    assert (comments.numbers["count"], comments.numbers["n"]) == (WRONG, COMMENTS)
    assert len(comments.numbers["lines"]) > 0


def test_conflicting_prompts_bound_the_floor_exactly(report: AuditReport) -> None:
    conflicts = only(report, "conflicts").numbers
    assert (conflicts["prompts"], conflicts["by_value"]) == (CONFLICTS + REWRITTEN, CONFLICTS)
    assert conflicts["repeated"] == 2 * (CONFLICTS + REWRITTEN + COPIES)
    # Two answers, each once: every one of these examples costs ln 2 and half of them cannot be matched.
    assert conflicts["nats"] == pytest.approx(2 * (CONFLICTS + REWRITTEN) * math.log(2) / LINES)
    assert conflicts["ceiling"] == pytest.approx(1 - (CONFLICTS + REWRITTEN) / LINES)
    assert only(report, "conflicts").grade == "bound"


def test_copies_are_counted_exactly_and_near_ones_are_estimated(report: AuditReport) -> None:
    assert only(report, "duplicates").numbers["count"] == COPIES
    assert only(report, "duplicates").numbers["normalised"] == COPIES + REWRITTEN
    # A band may miss a pair: MinHash finds most of them, and takes no unrelated pair for one. A conflicting answer
    # or its rewriting is near to its prompt's first one too.
    assert NEAR * 0.8 <= only(report, "near duplicates").numbers["count"] <= NEAR + CONFLICTS + REWRITTEN
    assert only(report, "near duplicates").grade == "estimate"


def test_a_leak_of_999_of_1000_validation_examples_is_found(report: AuditReport) -> None:
    leak = only(report, "overlap", 1).numbers
    assert (leak["of"], leak["in"], leak["count"], leak["n"]) == ("validation.jsonl", "train.jsonl", 999, 1000)
    assert leak["whole"] == 999


def test_the_compressors_bound_is_above_the_prompts_entropy(report: AuditReport) -> None:
    # Eight draws among 12 words and 100 numbers, and how many are kept: what is certainly there.
    entropy = 8 * math.log(12 * 100) + math.log(4)
    assert only(report, "entropy").numbers["nats"] > entropy
    assert only(report, "entropy").numbers["nats"] < 2 * entropy


@given(
    answers=st.lists(st.sampled_from(["yes", "no", "maybe"]), min_size=2, max_size=12),
    prompts=st.lists(st.sampled_from(["a", "b"]), min_size=12, max_size=12),
)
def test_no_predictor_beats_the_bound_of_repeated_prompts(
    tmp_path_factory: pytest.TempPathFactory, answers: list[str], prompts: list[str]
) -> None:
    pairs = list(zip(prompts, answers, strict=False))
    file = write(tmp_path_factory.mktemp("a") / "f.jsonl", [{"prompt": p, "completion": a} for p, a in pairs])
    found = only(audit(file, read_tokenizer(find_base("nano"))), "conflicts").numbers
    best = sum(-math.log(sum(q == pair for q in pairs) / prompts[: len(pairs)].count(pair[0])) for pair in pairs)
    assert found["nats"] == pytest.approx(best / len(pairs), abs=1e-12)


USER, ASSISTANT = {"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "p"}]}


@pytest.mark.parametrize(
    ("form", "row"),
    [
        ("prompt/completion", {"prompt": "p", "completion": "a"}),
        ("prompt/completion", {"prompt": [USER], "completion": [ASSISTANT]}),
        ("messages", {"messages": [USER, ASSISTANT]}),
        ("messages", {"messages": [PARTS, ASSISTANT, USER]}),
        ("Alpaca", {"instruction": "p", "input": "", "output": "a"}),
        ("ShareGPT", {"conversations": [{"from": "human", "value": "p"}, {"from": "gpt", "value": "a"}]}),
    ],
)
def test_every_form_is_told_and_split_into_the_same_prompt_and_answer(
    form: str, row: dict[str, Any], tmp_path: Path
) -> None:
    file = write(tmp_path / "form.jsonl", [row])
    other = write(tmp_path / "other.jsonl", [{"prompt": "p", "completion": "a"}])
    report = audit(file, read_tokenizer(find_base("nano")), against=other)
    assert only(report, "form").numbers["forms"] == {form: 1}
    assert only(report, "overlap").numbers["whole"] == 1


def test_the_text_form_says_what_it_cannot_tell(tmp_path: Path) -> None:
    report = audit(write(tmp_path / "t.jsonl", [{"text": "a b c"}] * 3), read_tokenizer(find_base("nano")))
    assert only(report, "formats").grade == "unknown"
    assert only(report, "duplicates").numbers["count"] == 2
    assert {"conflicts", "prompt tokens"}.isdisjoint(finding.topic for finding in report.findings)


def test_answers_that_are_no_strings_are_counted(tmp_path: Path) -> None:
    made = [{"prompt": str(i), "completion": value} for i, value in enumerate([{"a": 1}, {"a": 2}, 3, None, True])]
    report = audit(write(tmp_path / "t.jsonl", made), read_tokenizer(find_base("nano")))
    assert only(report, "not text").numbers["kinds"] == {"object": 2, "number": 1, "null": 1, "bool": 1}


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ('{"a": 1}', "JSON object"),
        ('{\n "a": 1\n}', "JSON object, indented"),
        ("[1]", "JSON array"),
        ("12.5", "bare number"),
        ("true", "bare true, false or null"),
        ('"otter"', "bare string in quotes"),
        ("```json\n{}\n```", "fenced block"),
        ("const a_count = [1, 2];", "assignment"),
        ("# 2 items\nx = [1, 2]", "comment, then assignment"),
        ("# A heading\nand words", "text of several lines"),
        ("<ul><li>a</li></ul>", "XML or HTML"),
        ("\\begin{tabular}{l} a \\end{tabular}", "LaTeX"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "table"),
        ("- a\n- b", "list"),
        ("name: otter\nweight: 3", "key: value lines"),
        ("a,b\n1,2", "comma-separated lines"),
        ("otter", "one word"),
        ("the otter swims", "one line of text"),
        ("  ", "empty"),
    ],
)
def test_a_format_has_its_name(answer: str, form: str) -> None:
    assert format_of(answer) == form


@given(value=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=4))
def test_the_meaning_of_json_does_not_depend_on_its_writing(value: dict[str, Any]) -> None:
    turned = dict(reversed(value.items()))
    assert meaning(json.dumps(value, indent=1)) == meaning(json.dumps(turned, separators=(",", ":")))


@given(said=st.integers(0, 50), counted=st.integers(0, 50), words=st.booleans())
def test_a_comments_count_is_read_beside_its_datas(said: int, counted: int, words: bool) -> None:
    comment = f"// {said} items found" if words else f"/* count: {said} */"
    assert said_and_counted(f'{comment}\n{{"count": {counted}, "items": []}}') == (said, counted)
    assert said_and_counted(f"{comment}\nlet a = {json.dumps([0] * counted)};") == (said, counted)
    assert said_and_counted(f'{{"count": {counted}}}') is None


@given(text=st.text(max_size=200))
def test_any_text_has_a_format_and_a_meaning(text: str) -> None:
    assert format_of(text)
    assert isinstance(meaning(text), str)
    said_and_counted(text)


@pytest.fixture(scope="module")
def collapsed_base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose head tells all bytes apart but two: the rows of q and z are one."""
    folder = tmp_path_factory.mktemp("collapsed") / "base"
    shutil.copytree(tiny_base, folder)
    tensors = load_file(folder / "model.safetensors")
    matrix = np.random.default_rng(0).normal(size=tensors["model.embed_tokens.weight"].shape)
    matrix *= 12 / np.linalg.norm(matrix, axis=1, keepdims=True)
    q, z = (read_tokenizer(folder).token_to_id(letter) for letter in "qz")
    matrix[z] = matrix[q]
    save_file({**tensors, "model.embed_tokens.weight": matrix.astype(np.float32)}, folder / "model.safetensors")
    return folder


def test_tokens_that_the_head_cannot_say_are_named_with_their_floor(collapsed_base: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "q.jsonl", [{"prompt": "p", "completion": "quiet"}] * 3)
    found = audit_of(file, against=None, base=str(collapsed_base))["findings"]
    hard = [finding["numbers"] for finding in found if finding["topic"] == "cannot be learnt"]
    assert [(row["token"], row["count"]) for row in hard] == [("q", 3)]
    assert hard[0]["low"] <= math.log(2) <= hard[0]["high"] + 1e-6
    assert hard[0]["high"] - hard[0]["low"] <= 1e-4


def test_ordinary_tokens_are_not_named(collapsed_base: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "o.jsonl", [{"prompt": "q", "completion": "otter"}] * 3)
    found = audit_of(file, against=None, base=str(collapsed_base))
    assert [finding for finding in found["findings"] if finding["topic"] == "cannot be learnt"] == []
    assert [finding["grade"] for finding in found["findings"] if finding["topic"] == "head"] == ["bound"]


def test_a_base_whose_head_is_unknown_is_named_and_the_rest_stands(collapsed_base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(collapsed_base, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mamba"}))
    file = write(tmp_path / "o.jsonl", [{"text": "a"}, {"prompt": "", "completion": ""}])
    found = audit_of(file, against=None, base=str(folder))
    heads = [finding for finding in found["findings"] if finding["topic"] == "head"]
    assert [(finding["grade"], "mamba" in finding["says"]) for finding in heads] == [("unknown", True)]


def test_each_line_says_what_it_is_and_shows_foreign_text_as_text(tmp_path: Path) -> None:
    made: list[Any] = [{"prompt": "p", "completion": '{"\\u001b[31m": 1}'}, {"prompt": "q", "completion": "{}"}]
    lines = audit_lines(audit_of(write(tmp_path / "e.jsonl", [*made, {"\x1b[31m": 1}]), against=None, base=None))
    assert {line.split()[0] for line in lines[1:]} <= {"counted", "bound", "estimate", "unknown"}
    assert "\x1b" not in "".join(lines)


def test_the_command_prints_lines_or_json_and_refuses_in_one_line(
    planted: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["leonids", "audit", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert bool(ended.value.code) == (arguments[0] == tmp_path)
        return "".join(capsys.readouterr())

    validation = planted[1]
    assert json.loads(said(validation, "--json"))["examples"] == 1000
    assert "1,000 of 1,000" in said(validation, "--against", validation)
    assert said(tmp_path).count("\n") == 1


def test_a_turn_that_calls_a_tool_is_its_answer(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "search"}]}
    report = audit(write(tmp_path / "c.jsonl", [{"messages": [USER, call]}]), read_tokenizer(find_base("nano")))
    assert only(report, "formats").numbers["counts"] == {"JSON array": 1}


def test_a_file_without_an_example_is_refused_with_its_first_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 1 is a JSON number"):
        audit_of(write(tmp_path / "n.jsonl", [1, 2]), against=None, base=None)
