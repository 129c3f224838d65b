import pytest

from leonids.errors import UsageError
from leonids.ledger.grades import grade, watermark_of
from leonids.ledger.runs import RunWriter

H1, H2 = {"id": "H1", "x": 1}, {"id": "H2", "x": 2}


def started(ledger, run="r"):
    return RunWriter.create(ledger.folder, run, {}, ledger)


def write(writer, lines):
    for number in range(lines):
        writer.steps.append({"kind": "step", "step": number})


def anchor(ledger, **more):
    head = ledger.head()
    ledger.append("anchor", {"kind": "git", "head": {"count": head.count, "sha256": head.sha256}, **more})


def graded(ledger, prediction, **more):
    return grade(ledger.entries(), "r", prediction, **more)


def test_a_prediction_locked_before_the_run_is_sealed_and_counts_everything(ledger):
    ledger.register([H1])
    started(ledger).finish()
    assert graded(ledger, "H1") == "sealed"
    assert watermark_of(ledger.entries(), "H1", "r") == {}


def test_a_prediction_locked_after_the_run_is_late_and_counts_nothing(ledger):
    started(ledger).finish()
    ledger.register([H1])
    assert graded(ledger, "H1") == "late"
    assert watermark_of(ledger.entries(), "H1", "r") is None
    assert graded(ledger, "H1", left_out={"steps": 10**9, "reviews": 10**9}) == "late"


def test_a_prediction_locked_during_a_run_counts_only_lines_after_the_next_head(ledger):
    with started(ledger) as writer:
        write(writer, 4)
        writer.commit()
        write(writer, 2)
        ledger.register([H1])
        assert watermark_of(ledger.entries(), "H1", "r") is None
        write(writer, 3)
        writer.commit()
        write(writer, 5)
        writer.finish()
    assert watermark_of(ledger.entries(), "H1", "r") == {"steps": 10, "reviews": 1}
    assert graded(ledger, "H1") == "late"
    assert graded(ledger, "H1", left_out={"steps": 9, "reviews": 1}) == "late"
    assert graded(ledger, "H1", left_out={"steps": 10}) == "late"
    assert graded(ledger, "H1", left_out={"steps": 10, "reviews": 1}) == "sealed"


def test_lines_that_a_resume_removed_count_as_seen(ledger):
    with started(ledger) as writer:
        write(writer, 4)
        mark = writer.watermark()
        writer.commit(mark)
        write(writer, 6)
    ledger.register([H1])
    with RunWriter.resume(ledger.folder, "r", ledger, mark) as writer:
        writer.commit()
        write(writer, 20)
        writer.finish()
    assert watermark_of(ledger.entries(), "H1", "r") == {"steps": 11, "reviews": 1}


def test_another_runs_heads_say_nothing(ledger):
    started(ledger).close()
    ledger.register([H1])
    started(ledger, "other").finish()
    assert watermark_of(ledger.entries(), "H1", "r") is None
    assert grade(ledger.entries(), "other", "H1") == "sealed"


def test_an_amendment_is_graded_by_its_own_lock(ledger):
    ledger.register([H1])
    started(ledger).finish()
    ledger.amend({**H1, "x": 5}, reason="a slip")
    assert graded(ledger, "H1", version=1) == "sealed"
    assert graded(ledger, "H1", version=2) == graded(ledger, "H1") == "late"


def test_an_anchor_between_the_lock_and_the_data_is_needed_to_be_anchored(ledger):
    anchor(ledger)
    ledger.register([H1])
    anchor(ledger, status="owed")
    ledger.register([H2])
    started(ledger).finish()
    anchor(ledger)
    assert (graded(ledger, "H1"), graded(ledger, "H2")) == ("sealed", "sealed")


def test_an_anchor_covers_what_its_head_holds(ledger):
    ledger.register([H1])
    head = ledger.head()
    ledger.register([H2])
    ledger.append("anchor", {"kind": "git", "head": {"count": head.count, "sha256": head.sha256}})
    started(ledger).finish()
    assert (graded(ledger, "H1"), graded(ledger, "H2")) == ("anchored", "sealed")


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, "unverifiable"),
        ({"started": "yesterday"}, "unverifiable"),
        ({"started": None}, "unverifiable"),
        ({"started": "2020-01-01T00:00:00.000000Z"}, "late"),
        ({"started": "2030-01-01T00:00:00.000000Z"}, "sealed"),
    ],
)
def test_an_imported_run_is_graded_by_the_times_that_it_states(ledger, stated, expected):
    ledger.register([H1])
    ledger.append("import", {"run": "r", "source": "trainer_state", **stated})
    ledger.register([H2])
    assert graded(ledger, "H1") == expected
    assert graded(ledger, "H2") == "late"


@pytest.mark.parametrize(
    ("run", "prediction", "version"), [("q", "H1", 1), ("r", "H9", 1), ("r", "H1", 2), ("r", "H1", 0)]
)
def test_what_is_not_in_the_ledger_has_no_grade(ledger, run, prediction, version):
    ledger.register([H1])
    started(ledger).finish()
    assert grade(ledger.entries(), "r", "H1", version=1) == "sealed"
    for question in (grade, watermark_of):
        arguments = (prediction, run) if question is watermark_of else (run, prediction)
        with pytest.raises(UsageError):
            question(ledger.entries(), *arguments, version=version)
