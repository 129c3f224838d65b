"""A planted study behind a real server on a real socket, and a client that can lie about anything."""

import http.client
import importlib.util
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from leonids.study.folder import StudyFolder
from leonids.web.serve import listen, make_server, open_door


def loaded(path: Path, name: str) -> ModuleType:
    """A test's file as a module: files of one folder do not import each other."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


planting = loaded(Path(__file__).parents[1] / "report" / "conftest.py", "tests_planting")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Speaks HTTP to a server, with its cookie once it was let in."""

    port: int
    link: str
    cookie: str = ""

    def ask(self, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        sent = {"Cookie": self.cookie} if self.cookie else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def enter(self) -> "Client":
        answer = self.ask(self.link[self.link.index("/?") :])
        assert answer.status == 303
        self.cookie = answer.headers["set-cookie"].split(";")[0]
        return self

    def settled(self) -> "Client":
        """Wait until reviews and training streams have been read."""
        for _ in range(600):
            read = not self.ask("/version").json["version"].endswith("-0")
            if read and "being read" not in self.ask("/arms").text:
                return self
            time.sleep(0.05)
        raise AssertionError("the reviews were never read")


@contextmanager
def serving(out: Path, *, port: int | None = 0) -> Iterator[Client]:
    """Serve a folder in a thread; port 0 is any free one."""
    with listen("127.0.0.1", port) as bound:
        door, link = open_door(out, bound=bound)
        server = make_server(out, door, bound=bound)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            yield Client(bound.getsockname()[1], link)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of the tests' own for the signing key."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEONIDS_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A finished study."""
    found: StudyFolder = planting.plant(tmp_path_factory.mktemp("whole"), planting.Planted(examples=30))
    return found


@pytest.fixture
def planted(tmp_path: Path) -> Callable[..., StudyFolder]:
    def of(*, where: str = "out", **options: Any) -> StudyFolder:
        found: StudyFolder = planting.plant(tmp_path / where, planting.Planted(**{"examples": 20, **options}))
        return found

    return of


@pytest.fixture(scope="session")
def study_text() -> str:
    return str(planting.STUDY)


@pytest.fixture(scope="session")
def site(whole: StudyFolder) -> Iterator[Client]:
    """The finished study, served, with the cookie."""
    with serving(whole.out) as client:
        yield client.enter().settled()


@pytest.fixture(scope="session")
def serve_folder() -> Callable[..., Any]:
    return serving


def step_line(step: int, *, value: float = 1.0, run: str = "plain.s0") -> bytes:
    """A training step as a run writes it, but for its hash, which a page does not check."""
    metrics = {m: {r: [value * n, n] for r, n in (("decided", 12), ("structure", 24))} for m in ("floor", "loss")}
    line = {"examples": 4, "kind": "step", "lr": 0.001, "metrics": metrics, "split": "train", "step": step,
            "wall_s": 0.25, "sha256": f"{step:064d}"}  # fmt: skip
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


@pytest.fixture(scope="session")
def line_of() -> Callable[..., bytes]:
    return step_line
