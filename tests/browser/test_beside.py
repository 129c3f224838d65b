"""A page on a run that is really training: it follows it, and whatever happens to the page, the run goes on."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leonids.study.folder import StudyFolder

pytestmark = pytest.mark.browser

STEPS, MEGABYTES, CONNECTIONS = 160, 100, 1000

STUDY = f"""
study: beside
title: A run beside its page
arms:
  plain: {{universe: consistent, rank: 8}}
seeds: [0]
reviews: [100%]
scales:
  nano: {{base: nano, steps: {STEPS}, batch_size: 4, lr: 0.001, review_examples: 12, test_examples: 8}}
hypotheses:
  only:
    claim: The loss falls.
    because: It is trained.
    predictions:
      - id: P1
        says: The answer loss ends below 9 nats.
        measure: {{metric: loss, tokens: answer, arm: plain, seed: 0, final: true}}
        expect: {{below: 9}}
        scope: run
"""

FLOOD = """if True:
    import json, resource, socket, sys
    port, cookie, connections, megabytes = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    head = f"GET /version HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nCookie: {cookie}\\r\\n"
    wires = []
    for _ in range(connections):
        wires.append(socket.create_connection(("127.0.0.1", port), timeout=30))
        wires[-1].sendall(head.encode() + b"\\r\\n")
    words = {}
    for wire in wires:
        try:
            word = wire.recv(12)[9:].decode() or "closed"
        except OSError:
            word = "closed"
        words[word] = words.get(word, 0) + 1
        wire.close()
    said, sent = "", 0
    while said in ("", "503"):
        wire = socket.create_connection(("127.0.0.1", port), timeout=30)
        try:
            wire.sendall(head.encode() + f"Content-Length: {megabytes << 20}\\r\\n\\r\\n".encode())
            for sent in range(megabytes):
                wire.sendall(bytes(1 << 20))
        except OSError:
            pass
        try:
            said = wire.recv(12)[9:].decode()
        except OSError:
            said = "closed"
    print(json.dumps({"words": words, "said": said, "sent": sent}))
"""


def steps_in(out: Path) -> int:
    path = out / "plain.s0" / "steps.jsonl"
    return path.read_bytes().count(b'"kind":"step"') if path.is_file() else 0


def test_a_flooded_page_follows_a_training_that_goes_on_to_its_end(
    tmp_path: Path, serve_folder: Callable[..., Any], window: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    study, out = tmp_path / "beside.yaml", tmp_path / "out"
    study.write_text(STUDY, "utf-8")
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, "-m", "leonids", "run", str(study), "--out", str(out)]
        run = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while steps_in(out) < 1:
            assert run.poll() is None, (tmp_path / "log").read_text("utf-8")
            time.sleep(0.02)
        with serve_folder(out) as client, window(client.enter(), flooded=True) as page:
            page.goto(f"http://127.0.0.1:{client.port}/arms")

            def shown(points: int) -> float:
                begun = time.perf_counter()
                while (
                    page.evaluate("Number(document.querySelector('figure[data-points]')?.dataset.points || 0)") < points
                ):
                    assert time.perf_counter() - begun < 60
                    time.sleep(0.01)
                return time.perf_counter() - begun

            shown(1)
            waits = [shown(steps_in(out)) for _ in range(5)]
            before = steps_in(out)
            assert before < STEPS
            flood = [sys.executable, "-c", FLOOD, str(client.port), client.cookie, str(CONNECTIONS), str(MEGABYTES)]
            found = json.loads(subprocess.run(flood, capture_output=True, text=True, check=True).stdout)
            assert set(found["words"]) <= {"200", "503", "closed"}
            assert sum(found["words"].values()) == CONNECTIONS
            assert found["said"] in ("413", "closed")
            assert found["sent"] < MEGABYTES - 1
            assert steps_in(out) > before
            assert run.wait(120) == 0, (tmp_path / "log").read_text("utf-8")
            shown(STEPS)
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait()
    assert steps_in(out) == STEPS
    assert [verdict["prediction"] for verdict in StudyFolder.open(out).verdicts] == ["P1"]
    with capsys.disabled():
        print(f"\na step of a real run was on the screen {max(waits):.2f} s after it was written, at most; {found}")
