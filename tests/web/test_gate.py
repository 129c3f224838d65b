"""Who may read: everything that docs/security.md says of a request, asked of a real server."""

import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.errors import UsageError
from leonids.study.folder import StudyFolder
from leonids.web.serve import listen, names_of
from leonids.web.session import SESSION_S, Door, key_of

ADDRESSES = ("/", "/prediction", "/arms", "/anatomy", "/confidence", "/examples", "/ledger", "/report",
             "/chart/train.json", "/chart/train.csv", "/version", "/events", "/static/app.js", "/nothing")  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_nothing_is_read_without_the_session_static_files_and_absent_pages_among_it(site: Any, address: str) -> None:
    for cookie in ("", "leonids_=1.2", f"{site.cookie}0", site.cookie.replace(".", ".0", 1), "a=\x01"):
        assert site.ask(address, Cookie=cookie).status == 401


def test_the_token_opens_once_and_leaves_the_address(whole: StudyFolder, serve_folder: Callable[..., Any]) -> None:
    with serve_folder(whole.out) as client:
        link = client.link[client.link.index("/?") :]
        assert client.ask("/?token=guess").status == 401
        first, second = client.ask(link.replace("/?", "/arms?metric=loss&")), client.ask(link)
        assert (first.status, first.headers["location"]) == (303, "/arms?metric=loss")
        assert second.status == 401
        marks = first.headers["set-cookie"].lower()
        assert "httponly" in marks
        assert "samesite=strict" in marks
        assert "path=/" in marks
        client.cookie = first.headers["set-cookie"].split(";")[0]
        assert client.ask("/").status == 200
        assert client.ask(f"//evil.example/{link[1:]}").headers["location"].startswith("/evil.example")


def test_a_session_outlives_the_server_but_opens_no_other_folder(
    whole: StudyFolder, planted: Callable[..., StudyFolder], serve_folder: Callable[..., Any], site: Any
) -> None:
    with serve_folder(whole.out) as again:
        again.cookie = site.cookie
        assert again.ask("/").status == 200
    with serve_folder(planted(progress=0.3).out) as other:
        other.cookie = site.cookie
        assert other.ask("/").status == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example", ""])
def test_another_host_name_is_refused(site: Any, host: str) -> None:
    assert site.ask("/", Host=host).status == 400


def test_the_own_names_are_served(site: Any) -> None:
    for name in ("localhost", "LocalHost", "127.0.0.1"):
        assert site.ask("/version", Host=f"{name}:{site.port}").status == 200


def test_another_origin_is_refused_and_none_is_ever_let_in(site: Any) -> None:
    for origin in ("http://evil.example", "null", "http://localhost:1", f"https://127.0.0.1:{site.port}"):
        answer = site.ask("/version", Origin=origin)
        assert answer.status == 403
        assert not any(name.startswith("access-control") for name in answer.headers)
    assert site.ask("/version", Origin=f"http://127.0.0.1:{site.port}").status == 200
    for other in ("cross-site", "same-site"):
        assert site.ask("/version", Sec_Fetch_Site=other, Sec_Fetch_Mode="no-cors").status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_the_page_is_only_read(site: Any, method: str) -> None:
    assert site.ask("/", method=method).status in (400, 405)


def test_bodies_and_long_addresses_are_refused_unread(site: Any) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as wire:
        head = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nCookie: {site.cookie}\r\n"
        wire.sendall(head.encode() + b"Content-Length: 104857600\r\n\r\n")
        assert wire.recv(100).startswith(b"HTTP/1.1 413")
    assert site.ask("/", Transfer_Encoding="chunked", body=b"0\r\n\r\n").status == 413
    assert site.ask("/?" + "a" * 5000).status == 414
    assert site.ask("/version").status == 200


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd",
     "/static/%252e%252e/app.py", "/chart/..%2f..%2fledger.jsonl", "/report/../ledger.jsonl", "/static/\\..\\app.py",
     "/ledger.jsonl", "/plain.s0/steps.jsonl"],
)  # fmt: skip
def test_no_path_of_a_client_reaches_a_file(site: Any, path: str) -> None:
    answer = site.ask(path)
    assert answer.status in (400, 404)
    assert b"root:" not in answer.body
    assert b"import" not in answer.body


@pytest.mark.parametrize("address", [*ADDRESSES[:8], "/chart/train.json", "/nothing", "/arms?metric=x"])
def test_every_answer_carries_the_policy(site: Any, address: str) -> None:
    for client in (site.ask(address), site.ask(address, Cookie="")):
        policy = client.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert client.headers["x-content-type-options"] == "nosniff"
        assert client.headers["referrer-policy"] == "no-referrer"
        assert client.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in client.headers


def test_more_connections_than_are_served_are_told_so_and_the_page_lives_on(site: Any) -> None:
    wires = [socket.create_connection(("127.0.0.1", site.port), timeout=10) for _ in range(400)]
    try:
        request = f"GET /version HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nCookie: {site.cookie}\r\n\r\n".encode()
        for wire in wires:
            wire.sendall(request)
        words = [wire.recv(20)[9:12] for wire in wires]
        assert b"503" in words
        assert set(words) <= {b"200", b"503"}
    finally:
        for wire in wires:
            wire.close()
    for _ in range(100):
        if site.ask("/version").status == 200:
            break
    assert site.ask("/version").status == 200


def test_the_page_is_served_on_this_machine_unless_an_address_is_named() -> None:
    with listen("127.0.0.1", 0) as bound:
        assert bound.getsockname()[0] == "127.0.0.1"
    for host in ("0.0.0.0", "::", "localhost", "evil.example", ""):
        with pytest.raises(UsageError):
            listen(host, 0)
    assert names_of("192.0.2.7", 80) == {"192.0.2.7:80", "192.0.2.7"}
    assert names_of("::1", 8757) == {"[::1]:8757", "localhost:8757"}


def test_the_signing_key_is_its_owners_alone_and_stays(tmp_path: Path) -> None:
    first = key_of(tmp_path / "home")
    assert key_of(tmp_path / "home") == first
    assert stat.S_IMODE((tmp_path / "home" / "web.key").stat().st_mode) == 0o600
    (tmp_path / "file").write_text("")
    assert len(key_of(tmp_path / "file")) == len(first)


@given(st.integers(0, 2**40), st.integers(-2 * SESSION_S, 2 * SESSION_S), st.text(max_size=80))
def test_a_cookie_is_good_in_its_time_and_no_other_text_is(now: int, later: int, text: str) -> None:
    door = Door(b"k" * 32, scope="folder")
    cookie = door.cookie(now_s=now)
    assert door.knows(cookie, now_s=now + later) == (0 <= later <= SESSION_S)
    assert not door.knows(text, now_s=now)
    assert not Door(b"l" * 32, scope="folder").knows(cookie, now_s=now)
    assert not Door(b"k" * 32, scope="other").knows(cookie, now_s=now)
