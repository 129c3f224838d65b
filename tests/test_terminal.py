"""Text of a file's own in a terminal: every command shows it, none obeys it."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leonids import cli
from leonids.cli.common import put, say, show, tell
from leonids.report import linting
from leonids.report.escape import MOST_LINE
from leonids.study.folder import StudyFolder
from leonids.universe import universe

SHORT = "<img src=x onerror=alert(1)> \x1b[31mred\x1b]0;title\x07 \x9b2J \u202egnp.exe =cmd() ../../etc/passwd a\rb\x08"
HOSTILE = (SHORT, "x" * 10_000)
FOLDER_COMMANDS = (("explain",), ("judge",), ("watch",), ("verify",), ("verify", "--rederive"), ("anchor",))
WORDS = ("What is a loss of 0.75 telling us?", "Match ends above 99 %.", "Rank does not matter.",
         "Most of the loss is a fair draw of words.", "Does match reach 85-95 %?", "the run did not learn")  # fmt: skip
SHIPPED = Path(universe.__file__).parent / "shipped"


def planting() -> tuple[Callable[..., StudyFolder], str]:
    path = Path(__file__).parent / "report" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tests_planting_for_terminals", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)

    def plant(out: Path, text: str) -> StudyFolder:
        found: StudyFolder = module.plant(out, module.Planted(text=text, examples=12))
        return found

    return plant, str(module.STUDY)


PLANT, STUDY = planting()


def study_of(name: str) -> str:
    """A study that says ``name`` wherever a person's words go."""
    text = STUDY
    for old in WORDS:
        text = text.replace(old, json.dumps(name))
    return text


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command in this process and return all that it said, once nothing of it commands a terminal."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["leonids", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit):
            cli.main()
        text = "".join(capsys.readouterr())
        assert text
        for line in text.splitlines():
            assert all(char.isprintable() for char in line.replace("\t", " ")), line
            assert len(line) <= MOST_LINE + len("error: ") or "--json" in arguments
        return text

    return run


@pytest.mark.parametrize("name", HOSTILE)
def test_no_command_on_a_folder_obeys_its_words(name: str, said: Callable[..., str], tmp_path: Path) -> None:
    folder = PLANT(tmp_path / "out", study_of(name))
    for command in FOLDER_COMMANDS:
        said(command[0], folder.out, *command[1:])
    for command in ("explain", "judge", "verify"):
        json.loads(said(command, folder.out, "--json").splitlines()[0])
    said("explain", folder.out, "--run", name)
    said("report", folder.out / name[:200].replace("/", "-"))


@pytest.mark.parametrize("name", HOSTILE)
def test_no_error_or_finding_obeys_the_value_that_it_quotes(
    name: str, said: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Floors take seconds and say nothing about words.
    monkeypatch.setattr(linting, "floors_by_arm", lambda runs: {})
    study, wrong, world = tmp_path / "study.yaml", tmp_path / "wrong.yaml", tmp_path / "world.yaml"
    study.write_text(study_of(name), "utf-8")
    wrong.write_text(study_of(name).replace("role: supporting", f"role: {json.dumps(name)}"), "utf-8")
    text = (SHIPPED / "consistent.yaml").read_text("utf-8")
    world.write_text(f"{json.dumps(name)}: 1\n{text}", "utf-8")
    for path in (wrong, world):
        said("lint", path)
    said("run", wrong, "--out", tmp_path / "out")
    said("run", study, "--arms", name)
    said("sample", world)
    said("sample", name[:200])
    said("run", name[:200])
    said("judge", tmp_path, "--at", name)


@pytest.mark.parametrize("name", HOSTILE)
def test_an_audit_of_hostile_data_is_words(name: str, said: Callable[..., str], tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    rows = [{"prompt": f"{name} {n % 3}", "completion": name} for n in range(12)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows) + f'{{"{"x" * 9}": \n', "utf-8")
    said("audit", data)
    data.write_text(json.dumps({name: name}) + "\n", "utf-8")
    said("audit", data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_whatever_is_printed_is_printable_and_json_is_the_same_value(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    for speak in (say, tell, lambda words: show(None, [words], as_json=False), put):
        capsys.readouterr()
        speak(text)
        out, err = capsys.readouterr()
        assert all(char.isprintable() or char in "\t\n" or char.isspace() for char in out + err)
        assert not any(char in out + err for char in "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
    assert json.loads(out) == text
