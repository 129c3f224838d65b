import shutil
import subprocess
from pathlib import Path

import pytest

from leonids.errors import UsageError
from leonids.ledger.anchors import Stamped, anchor_git, anchor_timestamp, check_anchors
from leonids.ledger.chain import Ledger, read_entries
from leonids.ledger.grades import grade
from leonids.ledger.lines import LEDGER, Broken, head_bytes
from leonids.ledger.runs import RunWriter
from leonids.ledger.timestamps import checker, stamp_at, unchecked
from leonids.ledger.verify import verify
from leonids.report.checking import check

P = {"id": "H1.1", "expect": {"above": 0.5}}


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """Git as on a machine where nobody has set it up, but for a name."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "somebody@example.org")


@pytest.fixture
def work(tmp_path) -> Path:
    """A repository with a remote, and a study's folder in it."""
    git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "--quiet", "--initial-branch=main")
    git(work, "remote", "add", "origin", str(tmp_path / "remote.git"))
    (work / "other.txt").write_text("not to be committed")
    return work


@pytest.fixture
def study(work, clock) -> Ledger:
    ledger = Ledger.open(work / "runs" / "study", clock=clock)
    ledger.register([P])
    return ledger


def states(folder, stamped=unchecked):
    return [(found.kind, found.state) for found in check_anchors(folder, read_entries(folder), stamped=stamped)]


def run_now(ledger):
    with RunWriter.create(ledger.folder, "r8", {"device": "cpu"}, ledger) as writer:
        writer.finish()


def test_a_commit_is_owed_until_a_remote_has_it(study, work):
    entry = anchor_git(study)
    assert entry.body["status"] == "owed"
    git(work, "push", "--quiet", "origin", "main")
    assert anchor_git(study).body["status"] == "owed", "the new head is another commit"
    git(work, "push", "--quiet", "origin", "main")
    # Nothing but the anchor itself was added since: a commit of it is pushed, and then it is held.
    last = anchor_git(study)
    git(work, "push", "--quiet", "origin", "main")
    assert last.body["commit"] != entry.body["commit"]
    assert verify(study.folder).ok


@pytest.fixture
def held(study, work):
    """A ledger whose head with the prediction is in a pushed commit, and whose anchor says so."""
    git(work, "add", "runs")
    git(work, "commit", "--quiet", "-m", "ledger")
    git(work, "push", "--quiet", "origin", "main")
    entry = anchor_git(study)
    assert entry.body["status"] == "held"
    return study


def test_only_the_ledger_is_committed(study, work):
    anchor_git(study)
    listed = subprocess.run(["git", "-C", str(work), "ls-files"], check=True, capture_output=True, text=True).stdout
    assert sorted(listed.split()) == ["runs/study/ledger.head", "runs/study/ledger.jsonl"]


def test_a_run_after_a_held_anchor_is_anchored_and_one_after_an_owed_anchor_is_sealed(held, tmp_path, clock):
    run_now(held)
    assert grade(held.entries(), "r8", "H1.1") == "anchored"
    other = Ledger.open(tmp_path / "offline", clock=clock)
    other.register([P])
    anchor_timestamp(other, stamp=offline, authority="http://tsa.invalid")
    run_now(other)
    assert grade(other.entries(), "r8", "H1.1") == "sealed"


def test_a_commit_whose_ledger_is_the_same_holds(held):
    assert states(held.folder) == [("git", "held")]


def test_rewritten_history_is_found(held, work):
    git(work, "commit", "--quiet", "--amend", "-m", "another history")
    assert states(held.folder) == [("git", "broken")]


def test_a_ledger_written_anew_is_found(held, work, rebuilt):
    def back_dated(entries):
        entries[1]["body"]["predictions"][0]["expect"] = {"above": 0.1}
        return entries

    def quoting_anew(entries):
        entries[-1]["body"]["head"]["sha256"] = read_entries(held.folder)[-2].sha256
        return entries

    rebuilt(held.folder, back_dated)
    assert states(held.folder) == [("git", "broken")]
    rebuilt(held.folder, quoting_anew)
    assert verify(held.folder).ok, "nothing in the folder itself can tell"
    assert states(held.folder) == [("git", "broken")]


def test_outside_a_repository_there_is_no_commit_to_make(ledger):
    with pytest.raises(UsageError, match="git rev-parse failed"):
        anchor_git(ledger)
    assert ledger.head().count == 1


def offline(message):
    raise OSError("no route to host")


def test_an_authority_out_of_reach_leaves_an_anchor_owed_with_its_reason(ledger):
    entry = anchor_timestamp(ledger, stamp=offline, authority="http://tsa.invalid")
    assert (entry.body["status"], entry.body["reason"]) == ("owed", "no route to host")
    assert states(ledger.folder) == [("rfc3161", "owed")]
    assert verify(ledger.folder).ok


def test_a_token_signs_the_head_and_is_kept_under_its_digest(ledger):
    asked = []

    def stamp(message):
        asked.append(message)
        return Stamped(b"token", "2026-01-31T12:00:00Z", "http://tsa.example")

    head = ledger.head()
    anchor_timestamp(ledger, stamp=stamp, authority="http://tsa.example")
    assert asked == [head_bytes(head.count, head.sha256)]
    assert states(ledger.folder, lambda token, message: "2026-01-31T12:00:00Z") == [("rfc3161", "held")]
    assert states(ledger.folder, lambda token, message: "2027-01-31T12:00:00Z") == [("rfc3161", "broken")]
    assert states(ledger.folder) == [("rfc3161", "broken")]
    (ledger.folder / "anchors" / f"{head.count}.tsr").write_bytes(b"another")
    assert not verify(ledger.folder).ok


TSA = """
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
accuracy = secs:1
[tsa_cert]
extendedKeyUsage = critical,timeStamping
keyUsage = critical,digitalSignature
basicConstraints = CA:FALSE
"""


@pytest.fixture
def authority(tmp_path):
    """A time-stamping authority of our own: ``openssl ts`` with a root certificate made on the spot."""
    folder = tmp_path / "tsa"
    folder.mkdir()
    (folder / "tsa.cnf").write_text(TSA.format(folder=folder))
    (folder / "serial").write_text("01\n")

    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "rsa:2048", "-nodes")
    openssl(*new, "-x509", "-days", 2, "-subj", "/CN=root", "-keyout", "root.key", "-out", "root.pem")
    openssl(*new, "-subj", "/CN=tsa", "-keyout", "tsa.key", "-out", "tsa.csr")
    signed = ("x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", 2)
    openssl(*signed, "-extfile", "tsa.cnf", "-extensions", "tsa_cert", "-out", "tsa.pem")

    def send(url, query):
        (folder / "query.tsq").write_bytes(query)
        openssl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query.tsq", "-out", "reply.tsr")
        return (folder / "reply.tsr").read_bytes()

    return send, (folder / "root.pem").read_bytes()


@pytest.mark.slow
def test_a_real_time_stamp_holds_under_its_root_and_for_its_own_head_alone(ledger, authority, tmp_path):
    send, root = authority
    entry = anchor_timestamp(ledger, stamp=stamp_at("http://tsa.example", send=send), authority="http://tsa.example")
    assert entry.body["status"] == "held"
    check = checker(root)
    assert states(ledger.folder, check) == [("rfc3161", "held")]
    token = (ledger.folder / "anchors" / "1.tsr").read_bytes()
    with pytest.raises(Broken):
        check(token, head_bytes(1, "0" * 64))
    with pytest.raises(Broken):
        check(token[:-20], head_bytes(1, entry.body["head"]["sha256"]))


def test_verify_asks_git_and_says_what_rests_on_the_entrys_word_alone(held, work, tmp_path):
    checked, unsure = (getattr(check(held.folder, rederive=False)[0], part) for part in ("checked", "not_proven"))
    assert any("git anchor: commit" in line for line in checked)
    assert not any("own word" in line for line in unsure)
    alone = shutil.copytree(held.folder, tmp_path / "alone")
    git(work, "update-ref", "-d", "refs/remotes/origin/main")
    for folder, words in ((held.folder, "git anchor does not hold here"), (alone, "anchors cannot be checked here")):
        report, problems = check(folder, rederive=False)
        assert problems == []
        assert any(words in line and "own word" in line for line in report.not_proven)


def test_the_folder_can_be_moved_with_its_anchors(held, work, tmp_path):
    moved = shutil.copytree(work, tmp_path / "moved")
    assert states(moved / "runs" / "study") == [("git", "held")]
    assert (moved / "runs" / "study" / LEDGER).is_file()
