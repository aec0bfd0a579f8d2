"""Whoever reaches the port, without a browser: raw calls of the page's events, uploads, and what is answered."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx

API = "gradio_api"
FILE = {"_type": "gradio.FileData"}
WAIT = 120.0  # seconds
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Event:
    """One event of the page: its number, its name, the ids of its inputs, and whether it is queued."""

    number: int
    name: str
    inputs: Sequence[int]
    queued: bool
    target: int | None


@dataclass
class Visitor:
    """One session at an address that ends in a slash."""

    address: str
    session: str = field(default_factory=lambda: uuid.uuid4().hex)

    @cached_property
    def http(self) -> httpx.Client:
        """The visitor's connections."""
        return httpx.Client(base_url=self.address, timeout=WAIT)

    @cached_property
    def config(self) -> dict[str, Any]:
        """What the page tells a browser about itself."""
        return self.http.get("config").json()

    @cached_property
    def components(self) -> dict[int, dict[str, Any]]:
        """The page's components by their number."""
        return {one["id"]: one for one in self.config["components"]}

    @cached_property
    def events(self) -> list[Event]:
        """Those that the server answers."""
        return [
            Event(one["id"], one["api_name"], one["inputs"], one["queue"], (one["targets"] or [[None]])[0][0])
            for one in self.config["dependencies"]
            if one["backend_fn"]
        ]

    def event(self, name: str) -> Event:
        """The first event of that name."""
        return next(one for one in self.events if one.name == name)

    def number(self, name: str) -> int:
        """The component of an element."""
        return next(n for n, one in self.components.items() if one["props"].get("elem_id") == name)

    def values(self, event: Event, **given: Any) -> list[Any]:
        """What a browser would send for an event; `given` are other values by the id of an element."""
        ids = {self.components[one]["props"].get("elem_id") or "": one for one in event.inputs}
        other = {ids[name]: value for name, value in given.items() if name in ids}
        return [other.get(one, self._value(one)) for one in event.inputs]

    def _value(self, number: int) -> Any:
        component = self.components.get(number)
        return None if component is None or component["type"] == "state" else component["props"].get("value")

    def call(self, event: Event, data: Any, **said: Any) -> httpx.Response:
        """Send a call as the browser does: into the queue or past it."""
        body = {"data": data, "fn_index": event.number, "session_hash": self.session, **said}
        place = "queue/join" if event.queued else f"run/{event.name}"
        return self.post(place, body)

    def post(self, place: str, body: Any) -> httpx.Response:
        """Send JSON to an endpoint, in ASCII: it may hold half of a letter."""
        return self.http.post(f"{API}/{place}", content=json.dumps(body), headers=JSON)

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the queue says until it has no more."""
        with self.http.stream("GET", f"{API}/queue/data", params={"session_hash": self.session}) as lines:
            for line in lines.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])

    def ends(self) -> list[dict[str, Any]]:
        """The last message of each queued call."""
        return [one for one in self.messages() if one["msg"] == "process_completed"]

    def press(self, act: str = "run", **given: Any) -> list[dict[str, Any]]:
        """Press Run, or another button, and wait until all has happened; the messages."""
        event = self.event("act")
        said = {"act": act} | {"id": given.pop("id", "")}
        answer = self.call(event, self.values(event, **given), event_data=said, trigger_id=event.target)
        answer.raise_for_status()
        return list(self.messages())

    def upload(self, files: Sequence[tuple[str, bytes]]) -> httpx.Response:
        """Upload files in one request."""
        return self.http.post(f"{API}/upload", files=[("files", (name, data)) for name, data in files])

    def files(self, name: str, data: bytes) -> dict[str, Any]:
        """A file that is uploaded, as the values of the components that take one by their elements."""
        sent = file(self.upload([(name, data)]).json()[0])
        return {"own": [sent], "saved": sent, "library-picture": sent, "own-library-files": [sent]}

    def add_own(self, files: Sequence[tuple[str, bytes]]) -> httpx.Response:
        """Upload pictures and put them on the shelf of one's own."""
        event, paths = self.event("_add_own"), self.upload(files).json()
        sent = [file(path) for path in paths]
        return self.call(event, self.values(event, own=sent))

    def run(self, **arguments: Any) -> list[dict[str, Any]]:
        """The messages of a run by the endpoint for programs."""
        event = self.event("run")
        asked = {"prompt": "a quixel butterfly", "method": "imagerag", "seed": 0, "settings": "{}"}
        asked |= {"library": "pocket", "profile": "pocket", "choices": "{}"} | arguments
        self.call(event, list(asked.values())).raise_for_status()
        return list(self.messages())


def file(path: str, **other: Any) -> Mapping[str, Any]:
    """A file as the browser names it after an upload."""
    return {"path": path, "meta": FILE, **other}
