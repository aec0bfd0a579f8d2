"""The endpoints for programs: whatever the page can do, a program can; pictures travel inside the JSON."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from ragdemo.codec import encode_event
from ragdemo.errors import ModelError, UserError
from ragdemo.events import Event, Reference, Result
from ragdemo.images import data_url, from_data_url, png_url
from ragdemo.recipe import png_with_recipe
from ragdemo.request import MAX_OWN_IMAGES, Choices, Request, folded, json_object, shown
from ragdemo.ui.doors import caller_of
from ragdemo.ui.line import Batches, Lines, Place
from ragdemo.ui.own import Shelf

if TYPE_CHECKING:
    from ragdemo.ui.blocks import Services

MOST_FOUND = 50


def build_api(services: Services, lines: Lines) -> None:
    """Register the endpoints `run`, `search` and `settings` inside the current Blocks context.

    Programs wait where the page's visitors do: a search never waits behind a run.
    """
    endpoints = Endpoints(services, lines)
    gr.api(endpoints.run, api_name="run", concurrency_limit=None)
    gr.api(endpoints.search, api_name="search", concurrency_limit=None)
    gr.api(endpoints.settings, api_name="settings", queue=False)


class Endpoints:
    """What each endpoint does; their docstrings are what programs read."""

    def __init__(self, services: Services, lines: Lines) -> None:
        self._services, self._lines = services, lines

    async def run(
        self,
        prompt: str,
        method: str = "imagerag",
        seed: int = 0,
        settings: str = "{}",
        library: str = "pocket",
        profile: str = "pocket",
        choices: str = "{}",
        visit: gr.Request | None = None,
    ) -> AsyncGenerator[dict, None]:
        """Draw a prompt, find what is missing, retrieve references and draw again; streams one event at a time.

        Args:
            prompt: what the picture should show, up to 500 characters
            method: the method's name, such as imagerag
            seed: a whole number from 0 to 4294967295; the same request gives the same pixels
            settings: the method's settings as a JSON object, such as {"max_rounds": 3}; `settings` describes them
            library: the name of the reference library
            profile: the name of the models' profile
            choices: a JSON object; "pinned" and "rejected" are lists of library ids, "own" is a list of your pictures,
                each {"name": "a.png", "png": "data:image/png;base64,..."}

        Returns:
            one event: `event` is its kind (Progress, OutsideVocabulary, Draft, Verdict, MissingConcepts,
            RetrievalCaptions, Rephrased, ReflectiveNegative, Rankings, References, Result); pictures are PNG data URLs,
            the result's with its recipe
        """
        fields = {"prompt": prompt, "method": method, "seed": seed, "library": library, "profile": profile}
        assert visit is not None, "Gradio gives every call its request"
        address, is_heard = caller_of(visit)
        shelf = Shelf()
        try:
            with _answering(visit):
                request, shelf = await self._lines.reading.do(address, self._asked, fields, settings, choices)
                with self._lines.runs.place(uuid.uuid4().hex, address, is_heard) as place:
                    async with aclosing(self._events(request, shelf, place)) as events:
                        async for event in events:
                            yield event
        finally:
            shelf.delete()

    async def search(
        self,
        query: str,
        k: int = 8,
        library: str = "pocket",
        where: str = "{}",
        hybrid: bool = True,
        visit: gr.Request | None = None,
    ) -> list[dict]:
        """Find the reference pictures of a library that words describe; those with a name in the words come first.

        Args:
            query: the words
            k: how many pictures, 1 to 50
            library: the name of the reference library
            where: a JSON object of what a picture's metadata must say, such as {"kind": "fish", "tier": "rare"}
            hybrid: whether captions are searched too, not the pictures' looks alone

        Returns:
            id, caption, score (cosine), keyword_score and the picture as a PNG data URL, best first
        """
        assert visit is not None, "Gradio gives every call its request"
        with _answering(visit):
            if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MOST_FOUND:
                raise UserError(
                    f"The value {shown(k)} of k is out of range; choose a whole number from 1 to {MOST_FOUND}."
                )
            wanted = {key: str(value) for key, value in json_object(where, "where").items()}
            search = partial(self._search, folded(query, "query"), k, library, wanted, hybrid is not False)
            return await self._lines.searching.do(caller_of(visit)[0], search)

    def _search(self, query: str, k: int, library: str, where: Mapping[str, str], hybrid: bool) -> list[dict]:
        found = self._services.runner.search(query, k, library, hybrid=hybrid, where=where)
        return [_found(reference) for reference in found]

    def settings(self, method: str = "imagerag", visit: gr.Request | None = None) -> dict:
        """Describe the settings of a method.

        Args:
            method: the method's name, such as imagerag

        Returns:
            the JSON schema of the object that `run` takes as settings; what is null there is left to the profile
        """
        assert visit is not None, "Gradio gives every call its request"
        with _answering(visit):
            methods = self._services.methods
            found = next((one for one in methods if one.name == method), None)
            if found is None:
                names = ", ".join(one.name for one in methods)
                raise UserError(f"There is no method {shown(method)}; choose one of {names}.")
            return found.Settings.model_json_schema()

    def _asked(self, fields: Mapping[str, Any], settings: str, choices: str) -> tuple[Request, Shelf]:
        """The request of a call, and its own pictures, which are read here and not while others wait."""
        chosen, shelf = _choices(json_object(choices, "choices"))
        request = Request(**fields, settings=json_object(settings, "settings"), choices=chosen)
        self._services.check(request)
        return request, shelf

    async def _events(self, request: Request, shelf: Shelf, place: Place) -> AsyncGenerator[dict, None]:
        """The events of a run as they happen, once its turn has come."""
        async with aclosing(self._lines.runs.turn(place)) as waits:
            async for _ in waits:
                pass
        if place.left:
            return
        pictures = await asyncio.to_thread(shelf.pictures, request.choices.own)
        with Batches(self._services.runner.run(request, (), pictures), place) as batches:
            async for batch in batches:
                for event in batch:
                    yield await asyncio.to_thread(event_json, event)


def event_json(event: Event) -> dict[str, Any]:
    """An event with its pictures as data URLs; a picture inside a reference is the reference's `png`."""

    def keep(image: Image.Image) -> dict[str, Any]:
        if isinstance(event, Result) and image is event.image:
            url = png_url(png_with_recipe(image, event.recipe))
        else:
            url = data_url(image)
        return {"width": image.width, "height": image.height, "png": url}

    data = encode_event(event, keep)
    return {key: _flat(value) if key != "image" else value for key, value in data.items()}


def _flat(value: Any) -> Any:
    if isinstance(value, list):
        return [_flat(item) for item in value]
    if not isinstance(value, dict):
        return value
    image = value.get("image")
    if not isinstance(image, dict) or "png" not in image:
        return {key: _flat(item) for key, item in value.items()}
    return {key: _flat(item) for key, item in value.items() if key != "image"} | {"png": image["png"]}


def _found(reference: Reference) -> dict[str, Any]:
    return {
        "id": reference.id,
        "caption": reference.caption,
        "score": reference.score,
        "keyword_score": reference.keyword_score,
        "png": data_url(reference.image),
    }


def _choices(data: Mapping[str, Any]) -> tuple[Choices, Shelf]:
    """The choices of a JSON object, and its own pictures."""
    rows = data.get("own", [])
    if not isinstance(rows, list) or len(rows) > MAX_OWN_IMAGES:
        raise UserError(f"The pictures of your own must be a list of {MAX_OWN_IMAGES} or fewer.")
    shelf = Shelf()
    for row in rows:
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("name", "png")):
            raise UserError('A picture of your own must be an object of "name" and "png", a PNG data URL.')
        shelf = shelf.holding(row["name"], from_data_url(row["png"], row["name"]))
    return Choices.from_json({**data, "own": [ref.to_json() for ref in shelf.refs]}), shelf


@contextmanager
def _answering(visit: gr.Request) -> Iterator[None]:
    """Errors that carry a sentence reach the caller as that sentence, and Gradio keeps nothing of the call.

    Its pictures are megabytes, and in the place of its session a visitor's could be kept.
    """
    try:
        yield
    except (UserError, ModelError) as error:
        raise gr.Error(str(error), print_exception=False) from error
    finally:
        if visit.request and visit.session_hash:
            visit.request.app.state_holder.session_data.pop(visit.session_hash, None)
