"""How soon the page of a large study is on the screen, and how soon a new point: 8 arms x 40,000 steps.

The promise is a first paint under 1 s and a new point under 1 s after it is written. The server is a process of its
own; the browser is the headless Chromium that is installed. `first` is the first look at a server that was just
started on 300 MB of streams: its chart has evenly spaced points, labelled so. `again` is a look when all are read.

    python benchmarks/page_paint.py [--steps 40000] [--keep DIR]
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from judge_speed import ARMS, write_study
from playwright.sync_api import sync_playwright

PAINT = "performance.getEntriesByType('paint').find(e => e.name === 'first-contentful-paint')?.startTime"
PATIENCE_S = 60
POINTS = "Number(document.querySelector('figure[data-points]')?.dataset.points || 0)"


def until(page: Any, says: str) -> float:
    """Return the seconds until an expression holds in the page; after a minute it never will."""
    begun = time.perf_counter()
    while not page.evaluate(says):
        if time.perf_counter() - begun > PATIENCE_S:
            raise SystemExit(f"{says}: not within {PATIENCE_S} s; a study that is kept must have one seed an arm")
        time.sleep(0.01)
    return time.perf_counter() - begun


def look(page: Any, address: str) -> dict[str, float]:
    """Open the page of the arms; return seconds to its first paint and to its chart from all points."""
    begun = time.perf_counter()
    page.goto(address, wait_until="commit")
    until(page, f"{POINTS} > 0")
    drawn = time.perf_counter() - begun
    until(page, PAINT)
    return {"painted_s": round(page.evaluate(PAINT) / 1000, 2), "chart_s": round(drawn, 2)}


def measure(out: Path) -> dict[str, Any]:
    """Serve a folder and look at it."""
    begun = time.perf_counter()
    command = [sys.executable, "-c", "from leonids.cli import main; main()", "serve", str(out)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    link = server.stderr.readline().strip()
    started = time.perf_counter() - begun
    try:
        with sync_playwright() as play:
            flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
            page = play.chromium.launch(executable_path=shutil.which("chromium"), args=flags).new_page()
            page.goto(link.replace("/?", "/static/app.js?"))
            arms = link.split("/?")[0] + "/arms"
            found: dict[str, Any] = {"start_s": round(started, 2), "first": look(page, arms)}
            until(page, "!document.getElementById('trouble').textContent.includes('being read')")
            found["again"] = look(page, arms)
            until(page, "document.getElementById('state').textContent === 'live'")
            # What the reviews said is being put on the page; a point then comes to a page at rest.
            time.sleep(2)
            found["new_point_s"] = round(_grow(page, out), 2)
            found["server_mb"] = round(psutil.Process(server.pid).memory_info().rss / 2**20)
    finally:
        server.terminate()
        server.wait()
    return found


def _grow(page: Any, out: Path) -> float:
    """Write one step more and return the seconds until the chart holds it."""
    path = min(out.glob("*/steps.jsonl"))
    last = path.read_bytes().splitlines()[-1]
    step = int(json.loads(last)["step"]) + 1
    line = last.replace(f'"step":{step - 1}'.encode(), f'"step":{step}'.encode())
    before = path.stat().st_size
    with path.open("ab") as handle:
        handle.write(line + b"\n")
    try:
        return until(page, f"Number(document.querySelector('figure[data-last]')?.dataset.last) >= {step}")
    finally:
        os.truncate(path, before)


def main() -> None:
    """Write the study, look at it, print the figures and write them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--keep", type=Path, help="write the study here and keep it; one that is there is looked at")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = given.keep or Path(scratch) / "study"
        if not out.is_dir():
            write_study(out, steps=given.steps, seeds=1)
        found = measure(out)
    result = {
        "arms": len(ARMS),
        "steps": given.steps,
        **found,
        "promise": {"painted_s": 1, "new_point_s": 1},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
