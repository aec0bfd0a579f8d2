"""What a request asks for as the end of an address, and back; pictures of one's own do not travel."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from ragdemo.errors import UserError
from ragdemo.request import Choices, Request, json_object

LONGEST = 8000  # characters; what stands before a server often takes no longer address
_FIELDS = ("prompt", "method", "seed", "profile", "library", "settings", "choices")
OWN = "own"
"""The parameter that counts the pictures of its maker's own, which do not travel."""


def link_to(request: Request) -> str:
    """The end of an address that asks the same; without the choices if they made it longer than `LONGEST`."""
    asked = {name: getattr(request, name) for name in ("prompt", "method", "seed")}
    for name in ("profile", "library"):
        if getattr(request, name) != Request.model_fields[name].default:
            asked[name] = getattr(request, name)
    if request.settings:
        asked["settings"] = _json(request.settings)
    chosen = {name: ids for name, ids in request.choices.to_json().items() if ids and name != "own"}
    if request.choices.own:
        asked[OWN] = len(request.choices.own)
    link = f"?{urlencode(asked | ({'choices': _json(chosen)} if chosen else {}))}"
    return link if len(link) <= LONGEST else f"?{urlencode(asked)}"


def fields_of(address: Mapping[str, str]) -> dict[str, str]:
    """What an address says about a request; its other parameters are not the page's."""
    return {name: address[name] for name in _FIELDS if name in address}


def request_of(fields: Mapping[str, str], unsaid: Mapping[str, Any]) -> Request:
    """The request of an address's fields, with `unsaid` for those that it lacks.

    Raises `UserError` if they are longer than `LONGEST` together or one of them cannot be.
    """
    length = sum(map(len, fields.values()))
    if length > LONGEST:
        raise UserError(f"The address has {length:,} characters; shorten it to {LONGEST:,} or fewer.")
    asked: dict[str, Any] = {**unsaid, **fields}
    seed = fields.get("seed", "")
    if seed.isascii() and seed.isdigit() and len(seed) < 12:
        asked["seed"] = int(seed)
    if "settings" in fields:
        asked["settings"] = json_object(fields["settings"], "settings")
    if "choices" in fields:
        asked["choices"] = Choices.from_json(json_object(fields["choices"], "choices"))
        if asked["choices"].own:
            raise UserError("An address cannot carry pictures of your own; add them on the page.")
    return Request(**asked)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
