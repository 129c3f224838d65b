"""What `leonids lint` says of the observation log as it was written, and of the study made from it."""

from pathlib import Path

import pytest

from leonids.claims.lint import Finding
from leonids.report.linting import lint_file, lint_reference

STUDY = Path(__file__).parents[2] / "studies" / "consistent-universe"

NAMED = [
    # (prediction or question, check, words): one row per problem that a careful reader of the log finds
    ("similar-curves", "not a claim", "exactly one predicate"),
    ("similar-curves.2", "already seen", "passed 15%"),
    ("ranks", "not a claim", "exactly one predicate"),
    ("ranks.2", "alpha rule", "scale alpha / rank differs"),
    ("accuracy", "not a claim", "what a miss on each side means"),
    ("ranks.2, enables.2", "contradiction", "no value of match satisfies both"),
    ("noisy-floor.2", "computed", "computed, not observed"),
    ("plateau.2, accuracy.2, early.2", "contradiction", "allows less than 0.1"),
    ("plateau.2, early.2, match-60.2", "contradiction", "allows less than 0.1"),
    ("flat", "not a claim", "exactly one predicate"),
    ("drop", "not a claim", "'expect.falls_after.by' is missing"),
    ("drop.2", "schedule", "schedule alone can make the loss drop"),
    ("loss-15.2, phase-1.2", "tension", "0.673"),
    ("loss-15.2", "prompt in the loss", "floor of all tokens"),
    ("phase-3.2, loss-end.2", "tension", "0.105"),
    ("phase-2.2, loss-60.2", "tension", "0.357"),
    ("loss-60.2", "impossible or vacuous", "cannot be below"),
    ("loss-end.2", "impossible or vacuous", "cannot be below"),
    ("transfer", "not a claim", "exactly one predicate"),
    ("related", "not a claim", "exactly one predicate"),
    ("beyond-128", "not a claim", "exactly one predicate"),
    ("lower-rank", "not a claim", "exactly one predicate"),
    ("predictable", "not a claim", "exactly one predicate"),
    ("accuracy.2", "seeds", "cannot speak for the recipe"),
    ("accuracy.2", "no branch", "nothing is written"),
    ("Does loss drop significantly after 30 %?", "question", "confirm"),
    ("Does loss drop significantly after 30 %?", "question", "schedule alone"),
    ("Do similar loss curves appear in future runs?", "not a claim", "reads predictable"),
]


@pytest.fixture(scope="module")
def as_written() -> tuple[Finding, ...]:
    return lint_file(STUDY / "as-written.yaml")


@pytest.mark.parametrize(("place", "check", "words"), NAMED)
def test_every_problem_of_the_log_as_written_is_found(as_written, place, check, words):
    assert any((f.place, f.check) == (place, check) and words in f.says for f in as_written)


def test_every_finding_says_what_to_do(as_written):
    assert [str(f) for f in as_written if not f.fix] == []


def test_the_study_made_of_the_log_has_nothing_to_refuse():
    findings = lint_reference("consistent-universe")
    assert [str(f) for f in findings if f.refuses] == []
    assert {f.check for f in findings} <= {"computed"}


def test_a_file_that_is_no_study_is_one_finding(tmp_path):
    path = tmp_path / "study.yaml"
    for text in ("study: x", "- 1", "hypotheses: {H: 3}", "hypotheses: {H: {claim: c, predictions: [{id: P}]}}"):
        path.write_text(text)
        findings = lint_file(path)
        assert findings
        assert all(f.refuses for f in findings)
