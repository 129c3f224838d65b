"""The command line as a new user meets it: data on stdout, one clear line on stderr, an exit code that says which."""

import json
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from leonids import cli, launch, universe
from leonids.errors import LeonidsError
from leonids.gym import source
from leonids.ledger.chain import Ledger
from leonids.ledger.lines import LEDGER
from leonids.ledger.runs import RunWriter
from leonids.spec import load_study
from leonids.study.conduct import register
from leonids.study.plan import Choices, make_plan

Said = Callable[..., tuple[int, str, str]]
SHIPPED = Path(universe.__file__).parent / "shipped"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a command in this process; return its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["leonids", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        return (code if isinstance(code, int) else int(code is not None), *capsys.readouterr())

    return run


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def one_line(err: str) -> str:
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0]


WRONG: Sequence[tuple[Sequence[object], int, str]] = [
    (("run", "smoke", "--steps", "0"), 2, "one step or more"),
    (("run", "smoke", "--arms", "consistent-r9"), 2, "consistent-r128, consistent-r8"),
    (("run", "smoke", "--arms", ","), 2, "--arms names none"),
    (("run", "smoke", "--scale", "huge"), 2, "nano, small, full"),
    (("run", "smoke", "--base", "nanoo"), 1, "nano, smollm2-135m"),
    (("run", "smokey"), 2, "shipped ones are"),
    (("register", "smokey", "--out", "out"), 2, "shipped ones are"),
    (("lint", "smokey"), 2, "consistent"),
    (("lint", "consistent", "--tokenizer", "nanoo"), 1, "nano, smollm2-135m"),
    (("lint", "smoke", "--tokenizer", "nano"), 2, "leave --tokenizer away"),
    (("sample", "consistant"), 2, "conflict, consistent"),
    (("sample", "consistent", "--split", "tset"), 2, "train, validation, test"),
    (("sample", "consistent", "--floor", "nanoo"), 1, "nano, smollm2-135m"),
    (("floor", "consistent", "--tokens", "some"), 2, "all or answer"),
    (("floor", "consistent", "--base", "nanoo"), 1, "nano, smollm2-135m"),
    (("judge", "nowhere"), 2, "ledger.jsonl"),
    (("explain", "nowhere"), 2, "a study's folder, a run's folder in it"),
    (("report", "nowhere"), 2, "ledger.jsonl"),
    (("verify", "nowhere"), 2, "holds no study"),
    (("verify", "nowhere", "--repair"), 2, "holds no study"),
    (("train", "nowhere.yaml"), 2, "nowhere.yaml"),
    (("eval", "nano", "--universe", "consistant"), 2, "conflict, consistent"),
    (("eval", "nano", "--universe", "consistent", "--split", "train"), 2, "validation or test"),
    (("bases", "get", "nanoo"), 1, "nano, smollm2-135m"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), WRONG, ids=lambda value: str(value)[:60])
def test_what_does_not_exist_is_one_line_that_names_what_does(
    arguments: Sequence[object], code: int, words: str, said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = said(*arguments)
    assert (found, out) == (code, "")
    assert words in one_line(err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", ["200%", "0", "-5%", "half", "nan", "%"])
def test_a_share_is_between_nothing_and_the_whole(at: str, said: Said, locked: Path) -> None:
    code, _, err = said("judge", locked, "--at", at)
    assert (code, "--at" in one_line(err)) == (2, True)


@pytest.mark.parametrize(
    "arguments", [("run", "--resme"), ("sample", "consistent", "-n", "0"), ("nonsense",), ("run",)]
)
def test_a_misspelt_option_is_a_usage_error(arguments: Sequence[str], said: Said) -> None:
    code, out, err = said(*arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err


EDITS = [
    # (what is edited in the study, what the line names)
    (("rank: 4", "rnak: 4"), "rnak"),
    (("rank: 4", "rank: four"), "four"),
    (("lr: 0.01", "lr: fast"), "fast"),
    (("seeds: [0]", "seeds: 0"), "seeds"),
    (("reviews: [50%", "reviews: [200%"), "reviews"),
    (("metric: loss", "metric: lost"), "lost"),
    (("alpha_rule: equal", "alpha_rule: equl"), "equl"),
    (("below: 4.9", "below: 4.9, above: 2.0"), "exactly one predicate"),
    (("arm: wide", "arm: wid"), "wid"),
    (("study: pair", "study: pair\nstudy: again"), "study"),
    (("arms:", "arms: ["), "line"),
]


@pytest.mark.parametrize(("edit", "words"), EDITS)
def test_a_wrong_study_is_one_line_that_names_the_place(
    edit: tuple[str, str], words: str, said: Said, pair_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(pair_file.read_text().replace(edit[0], edit[1], 1))
    code, out, err = said("run", path, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert words in one_line(err)
    assert not (tmp_path / "out").exists()


def test_an_unknown_skill_is_named_with_those_there_are(said: Said, tmp_path: Path) -> None:
    shipped = Path(cli.__file__).parents[1] / "universe" / "shipped" / "consistent.yaml"
    text = shipped.read_text()
    assert "filter" in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("filter", "fliter"))
    for arguments in (("sample", path), ("floor", path)):
        code, out, err = said(*arguments)
        assert (code, out) == (2, "")
        assert "fliter" in one_line(err)


def test_every_kind_of_error_has_its_exit_code(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    from leonids.report import doctor

    kinds = [kind for kind in LeonidsError.__subclasses__() if kind.__module__ == "leonids.errors"]
    assert {kind.exit_code for kind in kinds} == {1, 2, 3, 4}
    for kind in kinds:

        def fails(kind: type[LeonidsError] = kind) -> list[str]:
            raise kind("what was wrong")

        monkeypatch.setattr(doctor, "report_lines", fails)
        code, _, err = said("doctor")
        assert (code, one_line(err)) == (kind.exit_code, "error: what was wrong")


def test_a_missing_library_names_the_extra_that_brings_it(
    said: Said, pair_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "NEEDED", ("no_such_library",))
    for arguments in (("run", pair_file, "--out", tmp_path / "out"), ("eval", "x", "--universe", "consistent")):
        code, _, err = said(*arguments)
        assert (code, "leonids[train]" in one_line(err)) == (4, True)
    assert not (tmp_path / "out").exists()


def test_foreign_tasks_name_their_extra_before_anything_is_written(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> str:
        raise source.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(source.metadata, "version", absent)
    run = tmp_path / "run.yaml"
    run.write_text('{run: r, arm: a, universe: consistent, base: nano, steps: 1, transfer: ["transfer:gym"]}')
    universe = ("consistent", "--split", "transfer:gym")
    for arguments in (
        ("run", "transfer", "--out", tmp_path / "out"),
        ("train", run, "--out", tmp_path / "out"),
        ("eval", "nano", "--universe", *universe),
        ("sample", *universe, "--out", tmp_path / "out"),
    ):
        code, _, err = said(*arguments)
        assert (code, "leonids[reasoning-gym]" in one_line(err)) == (4, True)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, pair_file: Path) -> Path:
    out = tmp_path_factory.mktemp("locked") / "out"
    register(make_plan(load_study(pair_file), Choices()), out)
    return out


def test_a_folder_that_cannot_be_written_or_is_taken_is_refused_and_left_alone(
    said: Said, pair_file: Path, locked: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("words")
    before = files(tmp_path), files(locked)
    for out, words in (
        (tmp_path / "file" / "out", "is a file"),
        ("/proc/leonids", "/proc"),
        (tmp_path, "is not empty"),
        (locked, "--resume"),
    ):
        for arguments in (("run", pair_file, "--out", out), ("register", pair_file, "--out", out)):
            code, printed, err = said(*arguments)
            assert (code, printed) == (1, "")
            assert words in one_line(err)
    code, _, err = said("run", pair_file, "--steps", 3, "--resume", "--out", locked)
    assert (code, "other runs" in one_line(err)) == (1, True)
    code, _, err = said("sample", "consistent", "--out", tmp_path / "file" / "x.jsonl")
    assert (code, "file" in one_line(err)) == (1, True)
    assert (files(tmp_path), files(locked)) == before


def test_a_full_disk_leaves_nothing_half_written(said: Said, pair_file: Path, tmp_path: Path) -> None:
    # A file may not grow beyond the limit: writing fails with EFBIG as on a full disk it fails with ENOSPC.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        sampled = said("sample", "consistent", "-n", 50, "--out", tmp_path / "x.jsonl")
        registered = said("register", pair_file, "--out", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for code, out, err in (sampled, registered):
        assert (code, out) == (1, "")
        assert "File too large" in one_line(err)
    assert list(tmp_path.glob("*.jsonl")) + list(tmp_path.glob(".*")) == []
    # The ledger ends at its last whole line, and the same command goes on once there is room.
    assert said("register", pair_file, "--out", tmp_path / "out")[0] == 0
    assert said("verify", tmp_path / "out")[0] == 0


def test_samples_are_jsonl_with_what_the_contract_names(said: Said, tmp_path: Path) -> None:
    code, out, err = said("sample", "formats", "-n", 3, "--split", "test", "--seed", 4)
    assert code == 0
    assert err.startswith("expected pairs of equal texts among 3 examples of test: ")
    assert len(err.splitlines()) == 1
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 3
    for line in lines:
        assert {"prompt", "completion", "answer", "roles", "nats", "tags"} <= line.keys()
    path = tmp_path / "deep" / "x.jsonl"
    assert said("sample", "formats", "-n", 3, "--split", "test", "--seed", 4, "--out", path)[:2] == (0, "")
    assert path.read_text() == out


def test_what_repeats_itself_is_said_before_it_is_written_or_trained_on(
    said: Said, pair_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = written_universe(tmp_path, items="{1: 1.0}", depths="{1: 1.0}")
    _, out, err = said("sample", small, "-n", 2000)
    assert len({json.loads(line)["prompt"] for line in out.splitlines()}) < 1980
    forecast, warning = err.splitlines()
    assert forecast.startswith("expected pairs of equal texts among 2,000 examples of train: ")
    assert warning.startswith("warning: universe consistent repeats itself: more than 1% of 2,000 examples")
    assert len(said("sample", small, "-n", 10)[2].splitlines()) == 1
    assert forecast.partition("; ")[2] in said("floor", small)[1]

    def stopped(*_: object, **__: object) -> None:
        raise LeonidsError("enough")

    monkeypatch.setattr("leonids.report.conclude.conduct", stopped)
    assert said("run", pair_file)[2] == "error: enough\n"
    study = tmp_path / "study.yaml"
    study.write_text(pair_file.read_text().replace("{rank:", f"{{universe: {small.name}, rank:"))
    warnings = said("run", study, "--steps", 1000)[2].splitlines()[:-1]
    assert warnings
    assert all("repeats itself: more than 1% of" in line for line in warnings)


def written_universe(folder: Path, **keys: str) -> Path:
    """Write the universe `consistent` with other values of some top-level keys."""
    path = folder / "mine.yaml"
    lines = (SHIPPED / "consistent.yaml").read_text().splitlines()
    path.write_text(
        "".join(f"{k}: {keys[k]}\n" if (k := line.partition(":")[0]) in keys else f"{line}\n" for line in lines)
    )
    return path


def test_lint_names_a_fault_in_each_kind_of_file(said: Said, pair_file: Path, tmp_path: Path) -> None:
    assert said("lint", "consistent")[0] == 0
    assert said("lint", pair_file)[0] == 0
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(pair_file.read_text().replace("below: 4.9", "bellow: 4.9"))
    code, out, _ = said("lint", wrong, "--json")
    assert (code, "bellow" in out) == (1, True)
    assert all({"place", "says", "fix"} <= finding.keys() for finding in json.loads(out))


def test_the_gate_says_what_is_worst(said: Said, locked: Path) -> None:
    assert said("judge", locked)[0] == 0
    code, out, _ = said("judge", locked, "--gate", "--json")
    assert (code, {verdict["word"] for verdict in json.loads(out)}) == (12, {"not_due"})


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("supported",), 0),
        (("supported", "void"), 13),
        (("void", "not_due"), 12),
        (("not_due", "inconclusive"), 11),
        (("inconclusive", "refuted", "void"), 10),
    ],
)
def test_the_gates_codes_are_those_of_the_contract(
    words: Sequence[str], code: int, said: Said, locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from leonids.study import conduct
    from leonids.study.folder import StudyFolder

    [verdict, *_] = conduct.judge_folder(StudyFolder.open(locked), at=0.0)
    made = tuple(replace(verdict, word=word) for word in words)  # type: ignore[arg-type]
    monkeypatch.setattr(conduct, "judge_folder", lambda *_, **__: made)
    assert said("judge", locked, "--gate")[0] == code


def test_a_half_written_last_line_is_repaired_and_nothing_else_is(
    said: Said, pair_file: Path, locked: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    register(make_plan(load_study(pair_file), Choices()), out)
    whole = (out / LEDGER).read_bytes()
    assert said("verify", out, "--repair")[0] == 0
    assert (out / LEDGER).read_bytes() == whole
    (out / LEDGER).write_bytes(whole + b'{"body":{"about":"pl')
    code, printed, _ = said("verify", out)
    assert (code, f"{LEDGER}:{len(whole.splitlines()) + 1}" in printed) == (3, True)
    code, _, err = said("run", pair_file, "--resume", "--out", out)
    assert (code, "--repair" in one_line(err)) == (3, True)
    code, _, err = said("verify", out, "--repair")
    assert (code, "removed" in err) == (0, True)
    assert (out / LEDGER).read_bytes().startswith(whole)
    (out / LEDGER).write_bytes(whole + b"not of a crash")
    assert said("verify", out, "--repair")[0] == 3


def test_any_changed_byte_or_cut_line_is_found_with_its_place(said: Said, locked: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ledger = Ledger.open(out)
    with RunWriter.create(out, "r", {"run": "r"}, ledger) as writer:
        for step in range(1, 4):
            writer.steps.append({"kind": "step", "step": step, "loss": 0.5 * step})
        writer.finish()
    assert said("verify", out)[0] == 0
    for path in (out / LEDGER, out / "r" / "steps.jsonl", out / "r" / "reviews.jsonl"):
        content = path.read_bytes()
        lines = content.splitlines(keepends=True)
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        for wrong in (flipped, b"".join(lines[:-1]), content[:-1]):
            path.write_bytes(wrong)
            code, printed, _ = said("verify", out)
            assert code == 3
            name = str(path.relative_to(out))
            places = [line for line in printed.splitlines() if line.startswith("BROKEN")]
            assert any(name in place or "ledger.head" in place for place in places)
        path.write_bytes(content)
    assert said("verify", out, "--json")[0] == 0


def test_a_ledger_that_was_taken_away_is_broken_and_not_absent(said: Said, pair_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    register(make_plan(load_study(pair_file), Choices()), out)
    (out / LEDGER).unlink()
    assert said("verify", out)[0] == 3
