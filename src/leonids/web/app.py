"""The application: addresses to pages, charts and the stream of changes. Every answer is read from the folder."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from leonids.errors import LeonidsError, UsageError
from leonids.report.escape import visible
from leonids.web import pages
from leonids.web.chart import MOST_POINTS, as_csv, as_json, thinned
from leonids.web.drawing import svg
from leonids.web.examples import examples
from leonids.web.pages import Page, asked_of
from leonids.web.series import READ_AFTER_S
from leonids.web.shelf import Shelf

HERE = Path(__file__).parent
LOOK_EVERY_S = 0.25
HEARTBEAT_S = 15.0
MOST_STREAMS = 64
NAME_CHARS = 64
REVIEWS_AT_ONCE_BYTES, NOBODY_CAME_S = 4 << 20, 5.0
"""Reviews of more bytes are read once a first page was made, or when none was asked for so long: reading takes time."""
REFRESHED = "x-refreshed"
"""The header of a page that asks for itself anew: its charts are drawn already, and ask for their data."""

PAGES: tuple[tuple[str, str, str, Page], ...] = (
    ("/", "board", "Board", pages.board),
    ("/prediction", "prediction", "Prediction", pages.prediction),
    ("/arms", "arms", "Arms", pages.arms),
    ("/anatomy", "anatomy", "Anatomy", pages.anatomy),
    ("/confidence", "confidence", "Confidence", pages.confidence),
    ("/examples", "examples", "Examples", examples),
    ("/ledger", "ledger", "Ledger", pages.ledger),
    ("/report", "report", "Report", pages.report),
)
"""One row a page: its address, its template, its name, and what gathers what it holds."""


@final
class Pulse:
    """Looks at the folder's sizes, has its reviews read, and wakes whoever waits for a change."""

    def __init__(self, shelf: Shelf, ending: Callable[[], bool]) -> None:
        self._shelf = shelf
        self._changed = asyncio.Event()
        self.ending = ending
        self.version = shelf.version()
        self.streams = 0
        self._reading: asyncio.Task[None] | None = None
        self._reads_from = time.monotonic() + NOBODY_CAME_S

    def answered(self) -> None:
        """Take note of a page that was made: whoever asked has it on the screen before much is read."""
        self._reads_from = min(self._reads_from, time.monotonic() + READ_AFTER_S)

    async def beat(self) -> None:
        """Look for ever."""
        while True:
            now = self._shelf.version()
            idle = self._reading is None or self._reading.done()
            due = now.reviews < REVIEWS_AT_ONCE_BYTES or time.monotonic() >= self._reads_from
            if self._shelf.behind and idle and due:
                self._reading = asyncio.create_task(run_in_threadpool(self._shelf.read))
            if now != self.version or self.ending():
                self.version = now
                changed, self._changed = self._changed, asyncio.Event()
                changed.set()
            await asyncio.sleep(LOOK_EVERY_S)

    async def after(self, seen: str) -> str:
        """Return the version as soon as it is not ``seen``; the same one after ``HEARTBEAT_S``."""
        changed = self._changed
        if str(self._shelf.version()) == seen:
            try:
                await asyncio.wait_for(changed.wait(), HEARTBEAT_S)
            except TimeoutError:
                return seen
        return str(self._shelf.version())


@final
class Site:
    """The pages of one folder. Streams end as soon as ``ending`` says so: a server waits for its last answer."""

    def __init__(self, shelf: Shelf, *, ending: Callable[[], bool]) -> None:
        self._shelf = shelf
        self._pulse = Pulse(shelf, ending)
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["name"] = lambda text: visible(str(text), most=NAME_CHARS)
        self._templates.filters["figure"] = lambda value, form, scale=1: (
            "-" if value is None else form % (scale * value)
        )
        self._templates.filters["line"] = lambda text: visible(str(text), most=2000)

    def application(self) -> Starlette:
        """Return the application. It has no door of its own: ``gate.Gate`` stands before it."""
        shown = [Route(address, self._page(template, title, gather)) for address, template, title, gather in PAGES]
        return Starlette(
            routes=[
                *shown,
                Route("/chart/{name}.{form}", self._chart),
                Route("/version", self._version),
                Route("/events", self._events),
                Mount("/static", StaticFiles(directory=HERE / "static")),
            ],
            exception_handlers={HTTPException: self._refused, LeonidsError: self._failed, UsageError: self._failed},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        # Nobody waits yet: the first page need not wait for its template either.
        for row in PAGES:
            self._templates.get_template(f"{row[1]}.html")
        beat = asyncio.create_task(self._pulse.beat())
        yield
        beat.cancel()
        await asyncio.gather(beat, return_exceptions=True)

    def _page(self, template: str, title: str, gather: Page) -> Callable[[Request], Response]:
        def page(request: Request) -> Response:
            findings = self._shelf.findings()
            held = gather(self._shelf, findings, request.query_params)
            frame = {"study": findings.folder.study, "full_page": REFRESHED not in request.headers}
            answer = HTMLResponse(self._html(f"{template}.html", title, {**frame, **held}))
            self._pulse.answered()
            return answer

        return page

    def _html(self, template: str, title: str, held: Mapping[str, Any]) -> str:
        frame = {
            "title": title,
            "pages": [(address, name) for address, _, name, _ in PAGES],
            "trouble": self._shelf.trouble,
            "version": str(self._shelf.version()),
            "reading": self._shelf.blocks() is None,
        }
        return self._templates.get_template(template).render({**frame, **held})

    def _chart(self, request: Request) -> Response:
        """Return one chart as JSON, SVG or CSV; JSON and SVG thinned to what can be seen unless ``full=1``."""
        form, name = request.path_params["form"], request.path_params["name"]
        asked = asked_of(request.query_params)
        tag = f'"{hashlib.sha256(f"{self._shelf.version()} {request.url.query} {form}".encode()).hexdigest()[:24]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        # What is saved has every point, or the least and greatest of every stretch: it waits until all are read.
        wanted = asked if form == "json" else replace(asked, full=True)
        whole, drawn = pages.charted(self._shelf, self._shelf.findings(), name, wanted)
        if form == "json":
            return JSONResponse(as_json(drawn), headers={} if whole.partial else headers)
        headers["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
        if form == "svg":
            return Response(
                svg(whole if asked.full else thinned(whole, most=MOST_POINTS)),
                media_type="image/svg+xml",
                headers=headers,
            )
        if form == "csv":
            return Response(as_csv(whole), media_type="text/csv; charset=utf-8", headers=headers)
        raise UsageError(f"no form {form[:20]!r}", rule="a chart comes as json, svg or csv")

    def _version(self, request: Request) -> Response:
        return JSONResponse({"version": str(self._shelf.version())})

    async def _events(self, request: Request) -> Response:
        """Stream the folder's versions; an id that was seen last is not sent again."""
        if self._pulse.streams >= MOST_STREAMS:
            return Response("Too many pages are open.\n", 503, media_type="text/plain")
        seen = request.headers.get("last-event-id", "")[:100]
        return StreamingResponse(self._stream(seen), media_type="text/event-stream")

    async def _stream(self, seen: str) -> AsyncIterator[str]:
        self._pulse.streams += 1
        try:
            yield "retry: 500\n\n"
            while not self._pulse.ending():
                now = await self._pulse.after(seen)
                yield ": still here\n\n" if now == seen else f"id: {now}\nevent: moved\ndata: {json.dumps(now)}\n\n"
                seen = now
        finally:
            self._pulse.streams -= 1

    def _refused(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        says = "There is no such page." if status == 404 else "This cannot be shown."
        return HTMLResponse(self._html("message.html", "Not shown", {"says": says}), status)

    def _failed(self, request: Request, error: Exception) -> Response:
        status = 400 if isinstance(error, UsageError) else 500
        return HTMLResponse(self._html("message.html", "Not shown", {"says": str(error)}), status)
