import csv

import pytest

from leonids.errors import UsageError
from leonids.ledger.chain import Ledger
from leonids.report.outside import anchor_lines, anchor_states, export_lines


@pytest.fixture
def folder(tmp_path):
    ledger = Ledger.open(tmp_path / "out")
    run = {"arm": "a", "run": "a.s0", "data_seed": 0, "universe": {"universe": "u"}}
    claims = [
        {"id": "P1", "says": "so", "scope": "run", "alpha": 0.05, "expect": {"above": 0.5},
         "measure": {"metric": "match", "tokens": "example", "split": "test", "arm": "a", "seed": 0, "at": 1.0}},
        {"id": "P2", "says": "so", "scope": "run", "alpha": 0.05, "expect": {"plateaus": 0.1},
         "measure": {"metric": "loss", "tokens": "answer", "split": "train", "arm": "a", "over": [0.5, 1.0]}},
    ]  # fmt: skip
    hypotheses = {"H": {"claim": "c", "predictions": claims}}
    ledger.append("note", {"about": "plan", "runs": [run], "hypotheses": hypotheses})
    ledger.register(claims)
    return ledger.folder


def test_an_authority_that_is_not_there_leaves_the_anchor_owed_and_says_why(folder, monkeypatch):
    def nowhere(url, **_):
        def stamp(message):
            raise OSError("no route to host")

        return stamp

    monkeypatch.setattr("leonids.report.outside.stamp_at", nowhere)
    (line,) = anchor_lines(folder, to="http://tsa.invalid")
    assert line.endswith("owed: no route to host")
    assert anchor_states(folder) == (["owed   ledger.jsonl:4: rfc3161: no route to host"], True)


def test_a_ledger_without_anchors_says_so_and_an_unknown_anchor_is_refused(folder):
    assert anchor_states(folder) == (["no anchor: nothing outside dates this ledger"], True)
    with pytest.raises(UsageError, match="no anchor 'moon'"):
        anchor_lines(folder, to="moon")


def test_an_export_names_its_files_and_what_it_left_out(folder, tmp_path):
    lines = export_lines(folder, form="prml", to=tmp_path / "to")
    assert lines[0] == str(tmp_path / "to" / "P1.prml.json")
    assert lines[1].startswith("left out P2: ")
    assert (tmp_path / "to" / "P1.prml.json").is_file()


def test_measurements_as_a_table_are_those_of_the_streams(tmp_path, whole):
    [path] = export_lines(whole.out, form="csv", to=tmp_path / "to")
    with open(path, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["run"] for row in rows} == {run.run for run in whole.runs}
    run = whole.runs[0].run
    table = whole.streams(run).steps
    for metric, role in table.totals:
        cells = [r for r in rows if (r["run"], r["split"], r["metric"], r["role"]) == (run, "train", metric, role)]
        assert sum(float(row["total"]) for row in cells) == pytest.approx(float(table.totals[metric, role].sum()))


def test_an_unknown_format_names_those_there_are(folder, tmp_path):
    with pytest.raises(UsageError, match="preregister, prml, csv"):
        export_lines(folder, form="parquett", to=tmp_path / "to")
    assert not (tmp_path / "to").exists()
