"""What the ledger promises at the sizes it states. Minutes, not seconds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import leonids
from leonids.ledger.chain import Ledger, read_entries
from leonids.ledger.verify import verify

APPENDER = """
import sys
from pathlib import Path
from leonids.ledger.chain import Ledger
ledger = Ledger.open(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    ledger.append("note", {"by": sys.argv[2], "number": number})
"""

DYING = """
import os, random, signal, sys
from pathlib import Path
from leonids.ledger import chain
from leonids.ledger.chain import Ledger

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def half(descriptor, data, *, path):
    os.write(descriptor, data[: 1 + random.randrange(len(data) - 1)])
    die()

def killed(folder, turn):
    random.seed(turn)
    ledger = Ledger.open(folder)
    for number in range(random.randrange(4)):
        ledger.append("note", {"turn": turn, "number": number})
    # Half of the deaths come between the write and its fsync, half in the middle of the write.
    if turn % 2:
        chain.append = half
    else:
        chain.flush = lambda descriptor, *, path: die()
    ledger.append("note", {"turn": turn, "text": "x" * random.randrange(5000)})

folder = Path(sys.argv[1])
refused = 0
for turn in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        killed(folder, turn)
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    refused += Ledger.repair(folder) is not None
print(refused)
"""


def python(script, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(Path(leonids.__file__).parent.parent)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_processes_append_ten_thousand_entries_each_and_lose_none(tmp_path):
    each = 10_000
    writers = [python(APPENDER, tmp_path, name, each) for name in ("one", "two")]
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0]
    entries = read_entries(tmp_path)
    assert [entry.seq for entry in entries] == list(range(2 * each + 1))
    for name in ("one", "two"):
        assert [entry.body["number"] for entry in entries if entry.body.get("by") == name] == list(range(each))
    assert verify(tmp_path).ok


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hundred_deaths_while_writing_leave_a_valid_prefix_each_time(tmp_path):
    told = python(DYING, tmp_path, 200).communicate()[0]
    # What a death left half-written was refused and repaired in view; every whole entry is there.
    repairs = [entry for entry in read_entries(tmp_path) if entry.body.get("about") == "repair"]
    assert int(told) == len(repairs) > 50
    assert verify(tmp_path).ok
    Ledger.open(tmp_path).append("note", {"after": 200})
    assert verify(tmp_path).ok
