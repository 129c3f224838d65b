"""The documents say what is true: commands exist, links lead somewhere, what is planned is not there yet."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).parent.parent
PAGES = tuple(
    page
    for page in sorted(ROOT.rglob("*.md"))
    if not any(part.startswith(".") or part in {"demo", "nano", "runs"} for part in page.relative_to(ROOT).parts)
)
PLANNED = "Not there yet"
"""The heading of what is planned: its commands must not work, and no other section may promise them."""

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def sections(page: Path) -> Iterator[tuple[str, str]]:
    """A page's ``(heading, text)`` pairs, split at second-level headings."""
    heading, lines, fenced = "", list[str](), False
    for line in page.read_text("utf-8").splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("## ") and not fenced:
            yield heading, "\n".join(lines)
            heading, lines = line[3:].strip(), []
        else:
            lines.append(line)
    yield heading, "\n".join(lines)


def commands(text: str) -> Iterator[str]:
    """What is typed after ``leonids`` in code spans and code blocks."""
    spans = [match[1] for match in INLINE.finditer(FENCE.sub("", text))]
    lines = [line.removeprefix("$ ") for match in FENCE.finditer(text) for line in match[0].splitlines()]
    for line in (*spans, *lines):
        if line.startswith("leonids "):
            yield from (part.strip() for part in re.split(r"(?:^|\s\s+)leonids ", line) if part.strip())


def command_line() -> Any:
    """The program's group of commands; typer brings its own click, so its classes cannot be named here."""
    from leonids.cli import app

    return typer.main.get_command(app)


def missing(typed: str) -> str:
    """What of a typed command line the program does not know; empty when it knows all of it."""
    command = command_line()
    for word in re.findall(r"(?<![\w<|=-])(?:--?[a-z][\w-]*|[a-z][\w-]*)(?![\w|/.:%])", typed.split("#")[0]):
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        if word.startswith("-"):
            if word not in known | {"--help"}:
                return f"{command.name} {word}"
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return word
            command = command.commands[word]
    return ""


def promised(planned: bool) -> list[tuple[str, str]]:
    return [
        (page.relative_to(ROOT).as_posix(), typed)
        for page in PAGES
        for heading, text in sections(page)
        if (heading == PLANNED) is planned
        for typed in commands(text)
    ]


def test_every_command_the_documents_show_exists() -> None:
    wrong = {(page, typed): lack for page, typed in promised(planned=False) if (lack := missing(typed))}
    assert wrong == {}


def test_what_the_documents_call_planned_is_not_there_yet() -> None:
    assert [(page, typed) for page, typed in promised(planned=True) if not missing(typed)] == []


def test_every_command_is_in_the_house_document() -> None:
    shown = {typed.split()[0] for page, typed in promised(planned=False) if page == "docs/house.md"}
    assert set(command_line().commands) <= shown


def test_the_run_file_in_the_house_document_is_a_run(tmp_path: Path) -> None:
    from leonids.study.single import load_run

    shown = re.search(r"```yaml\n(run: .*?)```", (ROOT / "docs" / "house.md").read_text("utf-8"), re.DOTALL)
    assert shown is not None
    file = tmp_path / "run.yaml"
    file.write_text(shown[1], "utf-8")
    assert load_run(file).adapter.rank == 8


def slugs(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    text = INLINE.sub("", FENCE.sub("", page.read_text("utf-8")))
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        assert place.exists(), f"{page.name} links to {target}"
        assert place.is_relative_to(ROOT), f"{page.name} links out of the project: {target}"
        assert not anchor or place.suffix != ".md" or anchor in slugs(place), f"{page.name}: no heading {target}"


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_the_log_is_dated_newest_first() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "LOG.md").read_text("utf-8"), re.MULTILINE)
    dates = [match[1] if (match := re.match(r"(\d{4}-\d\d-\d\d) · \S", heading)) else heading for heading in headings]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for date in dates), dates
    assert dates == sorted(dates, reverse=True)


def test_decisions_are_numbered_without_gaps_and_follow_the_template() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(len(pages)))
    wanted = re.findall(r"^## .+$", pages[0].read_text("utf-8"), re.MULTILINE)
    for page in pages:
        assert re.findall(r"^## .+$", page.read_text("utf-8"), re.MULTILINE) == wanted, page.name
