"""Serving a folder's page on this machine: what `leonids serve` does."""

import ipaddress
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from leonids.errors import OutputError, UsageError, missing_dependency
from leonids.floor.base_files import cache_folder
from leonids.study.folder import StudyFolder
from leonids.web.session import Door, key_of

if TYPE_CHECKING:
    import uvicorn

PORT = 8757
"""Tried first, so that a page outlives a restart of its server."""

MOST_CONNECTIONS = 256
LOOPBACK = "127.0.0.1"


def listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens: on ``port``; on ``PORT`` or any free one where none is named.

    Raises ``UsageError`` for an address that is not this machine's own, ``OutputError`` for a port that is taken.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise UsageError(
            f"--host is {host!r}", rule="it is an address, such as 127.0.0.1", way_out="name an address"
        ) from None
    if address.is_unspecified:
        raise UsageError(
            f"--host {host} is every address of this machine",
            rule="the page is served to one address, which a request must name",
            way_out="name that address, or leave --host out and reach it through ssh -L",
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    error: OSError | None = None
    for tried in (PORT, 0) if port is None else (port,):
        opened = socket.socket(family)
        # A port that was served a moment ago may be served again: a page finds its server after a restart.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((host, tried))
            opened.listen(MOST_CONNECTIONS)
        except OSError as refused:
            error = refused
            opened.close()
        else:
            return opened
    raise OutputError(
        f"{host} port {port} cannot be served ({error.strerror if error else 'unknown'})",
        rule="a port has one server",
        way_out="choose another --port, or leave it out",
    )


def names_of(host: str, port: int) -> frozenset[str]:
    """Return the exact values of the header Host under which an address is served."""
    address = ipaddress.ip_address(host)
    written = f"[{host}]" if address.version == 6 else host
    hosts = {written, "localhost"} if address.is_loopback else {written}
    return frozenset({f"{name}:{port}" for name in hosts} | (hosts if port == 80 else set()))


def open_door(out: Path, *, bound: socket.socket) -> tuple[Door, str]:
    """Return the door of a folder's page, and the link that opens it once, on a listening socket.

    Raises ``UsageError`` where the folder holds no study, ``IntegrityError`` where its ledger was changed.
    """
    StudyFolder.open(out)
    host, port = bound.getsockname()[:2]
    door = Door(key_of(cache_folder()), scope=str(out.resolve()))
    written = f"[{host}]" if ":" in host else host
    return door, f"http://{written}:{port}/?token={door.token}"


def make_server(out: Path, door: Door, *, bound: socket.socket) -> "uvicorn.Server":
    """Return a server of a folder's page behind its door."""
    # Some hundreds of modules: whoever has the link opens a browser meanwhile.
    import uvicorn  # noqa: PLC0415

    from leonids.web.app import Site  # noqa: PLC0415
    from leonids.web.gate import Gate  # noqa: PLC0415
    from leonids.web.shelf import Shelf  # noqa: PLC0415

    shelf = Shelf(out)
    servers: list[uvicorn.Server] = []
    site = Site(shelf, ending=lambda: any(server.should_exit for server in servers))
    config = uvicorn.Config(
        Gate(site.application(), door, names_of(*bound.getsockname()[:2])),
        access_log=False,
        log_level="error",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        ws="none",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=16 * 1024,
    )
    servers.append(uvicorn.Server(config))
    return servers[0]


def serve(out: Path, *, host: str = LOOPBACK, port: int | None = None) -> None:
    """Serve a folder's page until interrupted, and say on stderr where. Raises ``LeonidsError``."""
    for name in ("uvicorn", "starlette", "jinja2"):
        if find_spec(name) is None:
            raise missing_dependency(ModuleNotFoundError(name=name))
    with listen(host, port) as bound:
        door, link = open_door(out, bound=bound)
        if not ipaddress.ip_address(host).is_loopback:
            sys.stderr.write("anyone between here and there can read along: the page is not encrypted\n")
        sys.stderr.write(f"{link}\nopens once, in one browser; Ctrl-C ends it, a run goes on\n")
        sys.stderr.flush()
        server = make_server(out, door, bound=bound)
        # Streams are read beside. A page that is asked for meanwhile reads the ends of many files, and after each waits
        # so long for its turn, not five milliseconds (LOG.md: the first page of 40 runs in half a second, not in 1.35).
        sys.setswitchinterval(0.0001)
        server.run(sockets=[bound])
