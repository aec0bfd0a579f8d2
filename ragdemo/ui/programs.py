"""The endpoints for programs: one that streams a run, one that searches; pictures travel inside the JSON."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from ragdemo.events import Draft, Event, References, Result
from ragdemo.recipe import png_with_recipe
from ragdemo.types import Reference, Request, UserError, check_prompt
from ragdemo.ui.components import ENGINE_QUEUE

if TYPE_CHECKING:
    from ragdemo.backend.base import Backend

MOST_FOUND = 50


def build_programs(backend: Backend, told_errors: tuple[type[Exception], ...]) -> None:
    """Register the endpoints `run` and `search` inside the current Blocks context."""

    def run(prompt: str, method: str = "imagerag", seed: int = 0, settings: str = "{}") -> Iterator[dict]:
        """Draw a prompt, find what is missing, retrieve references and draw again; streams one event at a time.

        Args:
            prompt: what the picture should show, up to 500 characters
            method: the method's name, such as imagerag
            seed: a whole number from 0 to 4294967295; the same request gives the same pixels
            settings: the method's settings as a JSON object, such as {"max_rounds": 3}

        Returns:
            one event: `event` is its kind (Progress, Draft, Verdict, MissingConcepts, RetrievalCaptions, Rephrased,
            ReflectiveNegative, Rankings, References, Result); pictures of drafts, used references and results are PNG
            data URLs, the result's with its recipe
        """
        with _sentences(told_errors):
            request = Request.from_json(
                {"prompt": prompt, "method": method, "seed": seed, "settings": _settings(settings)}
            )
            with closing(backend.run(request)) as events:
                for event in events:
                    yield _told(event)

    def search(query: str, k: int = 8) -> list[dict]:
        """Find the reference pictures of the library that are nearest to words.

        Args:
            query: the words
            k: how many pictures, 1 to 50

        Returns:
            id, caption, score (cosine), keyword_score and the picture as a PNG data URL, best first
        """
        with _sentences(told_errors):
            check_prompt(query, "query")
            if not isinstance(k, int) or not 1 <= k <= MOST_FOUND:
                raise UserError(
                    f"The value {k} of k is out of range; choose a whole number from 1 to {MOST_FOUND}."
                )
            return [_found(reference) for reference in backend.search(query, k)]

    for job in (run, search):
        gr.api(job, api_name=job.__name__, **ENGINE_QUEUE)


class _sentences:  # noqa: N801 (reads as words: with sentences)
    """Errors that carry a sentence reach the caller as that sentence."""

    def __init__(self, told_errors: tuple[type[Exception], ...]) -> None:
        self._told_errors = told_errors

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, self._told_errors):
            raise gr.Error(str(error), print_exception=False) from error


def _settings(text: str) -> dict[str, Any]:
    try:
        settings = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise UserError(
            f"The settings {text!r} are no JSON object ({error}); write for example {{}}."
        ) from error
    if not isinstance(settings, dict):
        raise UserError(f"The settings {text!r} are no JSON object; write for example {{}}.")
    return settings


def _told(event: Event) -> dict[str, Any]:
    told = event.to_json()
    if isinstance(event, Result):
        told["image"]["png"] = _url(png_with_recipe(event.image, event.recipe))
    elif isinstance(event, Draft):
        told["image"]["png"] = _url(_png(event.image))
    elif isinstance(event, References):
        told["used"] = [
            _found(reference) | row for reference, row in zip(event.used, told["used"], strict=True)
        ]
    return told


def _found(reference: Reference) -> dict[str, Any]:
    return {
        "id": reference.id,
        "caption": reference.caption,
        "score": reference.score,
        "keyword_score": reference.keyword_score,
        "png": _url(_png(reference.image)),
    }


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
