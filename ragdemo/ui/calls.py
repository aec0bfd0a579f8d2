"""What a call must be before Gradio works on it: a session, an event of the page, and files that were uploaded."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
from fastapi import HTTPException, Request, status

MOST_BYTES = 100_000  # the log and the session may keep them
MOST_BYTES_OF_PROGRAMS = 32_000_000  # pictures travel inside the JSON of an endpoint
MOST_SESSIONS = 500  # whose last run and pictures are kept
MOST_SESSIONS_OF_AN_ADDRESS = 250
_MOST_VALUES = 10_000
_DEEPEST = 20
_SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)


class _RefusedError(ValueError):
    """A call that is turned away; the message is its sentence."""


async def check_call(request: Request) -> None:
    """Answer 422 and one sentence to a call that no browser and no client makes.

    Two calls that wait with an empty session hash end Gradio's queue for everybody; some components open any file that
    a call names, and fetch any address.
    """
    if "json" not in request.headers.get("content-type", "").lower():
        return  # an upload, which its endpoint reads as it comes
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        return  # the endpoint says so
    if not isinstance(body, dict):
        return
    try:
        _check_session(body.get("session_hash"))
        _check_values(body, request.app.uploaded_file_dir)
        if "data" in body or "api_name" in request.path_params:
            _check_event(body, request, len(await request.body()))
            if body.get("session_hash"):
                _forget_oldest(request, body["session_hash"])
    except _RefusedError as error:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, str(error)) from error


def _forget_oldest(request: Request, session: str) -> None:
    """Of the sessions of the caller's address beyond its half: left to itself Gradio would forget anybody's."""
    address, state = request.client.host if request.client else "", request.app.state
    if not hasattr(state, "addresses"):
        state.addresses = OrderedDict()  # of the sessions, the one that was heard of last at the end
    addresses: OrderedDict[str, str] = state.addresses
    addresses[session] = address
    addresses.move_to_end(session)
    theirs = [one for one, whose in addresses.items() if whose == address]
    for one in theirs[:-MOST_SESSIONS_OF_AN_ADDRESS]:
        del addresses[one]
        request.app.state_holder.session_data.pop(one, None)
    while len(addresses) > MOST_SESSIONS:
        addresses.popitem(last=False)


def _check_session(session: Any) -> None:
    if session == "":
        raise _RefusedError("The session_hash is empty; send one of your own, or none to /gradio_api/call.")
    if session is not None and not (isinstance(session, str) and _SESSION.fullmatch(session)):
        raise _RefusedError("The session_hash is none; send up to 64 letters, digits, - and _.")


def _check_values(body: Mapping[str, Any], folder: str) -> None:
    """Of every value in a call, however deep."""
    for count, value in enumerate(_values(body)):
        if count >= _MOST_VALUES:
            raise _RefusedError(f"The call holds over {_MOST_VALUES:,} values; send fewer.")
        if (
            isinstance(value, dict)
            and isinstance(path := value.get("path"), str)
            and not _is_in(folder, path)
        ):
            raise _RefusedError("The call names a file that was not uploaded to this page; upload it first.")


def _values(body: Any) -> Iterator[Any]:
    waiting = [(body, 0)]
    while waiting:
        value, depth = waiting.pop()
        yield value
        if isinstance(value, dict | list):
            if depth >= _DEEPEST:
                raise _RefusedError(f"The call is nested over {_DEEPEST} deep; send plain values.")
            inner = value.values() if isinstance(value, dict) else value
            waiting.extend((one, depth + 1) for one in inner)


def _is_in(folder: str, path: str) -> bool:
    """Whether a path is an ordinary file in a folder, links followed."""
    try:
        real = os.path.realpath(path)
        return os.path.isfile(real) and os.path.commonpath(
            [real, os.path.realpath(folder)]
        ) == os.path.realpath(folder)
    except (OSError, ValueError):  # ValueError: a null byte, or half of a surrogate pair
        return False


def _check_event(body: Mapping[str, Any], request: Request, size: int) -> None:
    """Of a call of an event: that there is one, and that it is given what it takes."""
    blocks: gr.Blocks = request.app.get_blocks()
    number, name = body.get("fn_index"), request.path_params.get("api_name")
    if number is None:  # a program
        public = (one for one in blocks.fns.values() if one.api_visibility == "public")
        event = next((one for one in public if name is not None and one.api_name == name), None)
    else:
        event = blocks.fns.get(number) if isinstance(number, int) else None
    if event is None or event.fn is None:
        raise _RefusedError("The page has no such event; reload it.")
    data, trigger = body.get("data"), body.get("trigger_id")
    if number is not None and isinstance(data, list) and len(data) != len(event.inputs):
        raise _RefusedError(
            f"The event takes {len(event.inputs)} values and not {len(data)}; reload the page."
        )
    if trigger is not None and not isinstance(trigger, int):
        raise _RefusedError("The trigger_id is no number; send one, or none.")
    if size > (MOST_BYTES_OF_PROGRAMS if event.api_visibility == "public" else MOST_BYTES):
        raise _RefusedError("The call is too large; make what it holds smaller.")
