"""The server's doors: which calls it takes, how much of each, and what every answer carries.

A middleware around Gradio. What goes wrong behind it is one line in the log and one sentence to the caller.
"""

from __future__ import annotations

import errno
import logging
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs

import gradio as gr
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ragdemo.files import NO_SPACE
from ragdemo.ui.calls import MOST_BYTES_OF_PROGRAMS

LISTENERS = "ragdemo.listeners"  # where a call's scope holds them
MAX_FILE_BYTES = 20_000_000
MOST_PARTS = 32  # each is an open file while an upload goes on
MOST_UPLOADED = 8 * MAX_FILE_BYTES + 1_000_000
LEAST_FREE = 500_000_000  # bytes that uploads leave to everything else on the disk

# What Gradio offers and this page does not use: it fetches addresses, keeps files, runs programs.
_CLOSED = (
    "component_server",
    "custom_component",
    "deep_link",
    "file/",
    "file=http:",
    "file=https:",
    "process_recording",
    "proxy=",
    "stream/",
    "undo-vibe-",
    "vibe-",
)
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # Gradio's page and its templates are made of both
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self' https://huggingface.co https://*.hf.space",
    )
)
_NO_ROOM = 507, "The server has no room for files; try again later."
_LOG = logging.getLogger(__name__)


class Listeners:
    """The sessions, and the calls of programs, that somebody listens to now."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def hearing(self, session: str) -> Iterator[None]:
        """Somebody listens for as long as this lasts."""
        self._open[session] += 1
        try:
            yield
        finally:
            self._open[session] -= 1
            self._open += Counter()  # without those at nought

    def __contains__(self, session: str) -> bool:
        return session in self._open


def caller_of(visit: gr.Request) -> tuple[str, Callable[[], bool]]:
    """The address that a call came from, and whether anybody listens to its session; without doors somebody does."""
    scope = visit.request.scope if visit.request else {}
    session, listeners = visit.session_hash or "", scope.get(LISTENERS)
    address = (scope.get("client") or ("",))[0]
    return address, lambda: listeners is None or session in listeners


class Doors:
    """The middleware; `Listeners` go with every call, as its scope's `LISTENERS`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._listeners = app, Listeners()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[LISTENERS] = self._listeners
        place = scope["path"].partition("/gradio_api/")[2]
        body, answer = _Body(scope, receive, place), _Answer(send)
        if place.startswith(_CLOSED):
            body.fault = 404, "This page has no such endpoint."
        if body.fault is None:
            answer.body = body
            with self._listeners.hearing(_session(scope, place)):
                await self._behind(scope, place, body, answer)
        if body.fault is not None and not answer.begun:
            answer.body = None
            number, sentence = body.fault
            await JSONResponse({"detail": sentence}, number)(scope, receive, answer.send)

    async def _behind(self, scope: Scope, place: str, body: _Body, answer: _Answer) -> None:
        try:
            await self._app(scope, body.receive, answer.send)
        except Exception as error:  # noqa: BLE001 (whatever a stranger's call may raise behind the doors)
            if body.fault is None:
                where = traceback.extract_tb(error.__traceback__)[-1]
                _LOG.error("%r: %.200r at %s:%s", place[:80], error, where.filename, where.lineno)
                body.fault = _fault_of(error, place)


def _fault_of(error: Exception, place: str) -> tuple[int, str]:
    number = error.errno if isinstance(error, OSError) else None
    if number in NO_SPACE:
        return _NO_ROOM
    # Gradio sorts these by name; and a refusal repeats what was sent, half a letter or no number as well
    is_theirs = place.startswith("call/v2/") or isinstance(error, ValueError) or number == errno.ENAMETOOLONG
    return 422 if is_theirs else 500, "The server could not answer this call."


class _Body:
    """A call's body as it comes; `fault` is why it is refused, as a status and a sentence."""

    def __init__(self, scope: Scope, receive: Receive, place: str) -> None:
        headers = Headers(scope=scope)
        self.fault: tuple[int, str] | None = None
        self._receive = receive
        self._is_upload = place.startswith("upload") and scope["method"] == "POST"
        self._most = MOST_UPLOADED if self._is_upload else MOST_BYTES_OF_PROGRAMS
        boundary = parse_options_header(headers.get("content-type", ""))[1].get(b"boundary")
        self._boundary = b"--" + boundary if boundary else None
        self._size, self._parts, self._tail = 0, 0, b""
        length = headers.get("content-length", "")
        self._take(int(length) if length.isdecimal() and len(length) < 20 else 0)
        if self._is_upload and not self.fault and _is_full(scope["app"].uploaded_file_dir):
            self.fault = _NO_ROOM

    async def receive(self) -> Message:
        """The next piece; the caller seems gone once there is a fault."""
        message = await self._receive()
        if message["type"] == "http.request":
            piece = message.get("body", b"")
            self._size += len(piece)
            self._take(self._size)
            self._count(piece)
        return {"type": "http.disconnect"} if self.fault else message

    def _take(self, size: int) -> None:
        if size > self._most:
            self.fault = 413, f"The call has over {self._most // 1_000_000} MB; send less at once."

    def _count(self, piece: bytes) -> None:
        if self._boundary is None:
            return
        # a boundary may lie across two pieces
        piece = self._tail + piece
        self._parts += piece.count(self._boundary)
        self._tail = piece[max(0, len(piece) - len(self._boundary) + 1) :]
        if self._parts > MOST_PARTS + 1:  # the last one ends the upload
            self.fault = 413, f"The upload has over {MOST_PARTS} files; send fewer at once."


class _Answer:
    """Sends what is answered, with the headers of every answer; nothing of a `body` that is refused meanwhile."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        self.body: _Body | None = None

    async def send(self, message: Message) -> None:
        if self.body is not None and self.body.fault is not None and not self.begun:
            return
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "same-origin"
            headers["Content-Security-Policy"] = _POLICY
        await self._send(message)


def _session(scope: Scope, place: str) -> str:
    """Whose events a call listens to; empty if it is no such call."""
    if scope["method"] != "GET":
        return ""
    if place == "queue/data":
        return parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
    return place.rstrip("/").rpartition("/")[2] if place.startswith("call/") else ""


def _is_full(folder: str) -> bool:
    try:
        return shutil.disk_usage(folder).free < LEAST_FREE
    except OSError:
        return False  # it is made by the first upload
