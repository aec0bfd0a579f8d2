"""One way to write events as JSON and to read them back, driven by the type hints of their dataclasses.

Hints may be numbers, texts, literals, images, arrays, dataclasses, and of these `X | None`, tuples, lists and mappings
by text. Images are left to the caller: `keep_image` stores one and returns what the JSON says of it, `load_image` is
its inverse. Arrays travel inside the JSON. A new event class needs no line here.
"""

from __future__ import annotations

import base64
import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
from PIL import Image

from ragdemo.events import Event

KeepImage = Callable[[Image.Image], dict[str, Any]]
LoadImage = Callable[[Mapping[str, Any]], Image.Image]


def encode_event(event: Event, keep_image: KeepImage) -> dict[str, Any]:
    """The event as JSON-ready values; `event` is the name of its class."""
    return _encode(event, keep_image) | {"event": type(event).__name__}


def decode_event(data: Mapping[str, Any], load_image: LoadImage) -> Event:
    """The inverse of `encode_event`; raises `KeyError`, `TypeError` or `ValueError` if the data is not its output."""
    return _decode(Event.kinds[data["event"]], {k: v for k, v in data.items() if k != "event"}, load_image)


def _encode(value: Any, keep: KeepImage) -> Any:
    if isinstance(value, Image.Image):
        return keep(value)
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject or value.dtype.names:
            raise TypeError(f"an event holds an array of {value.dtype}; give it numbers")
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {"dtype": value.dtype.str, "shape": list(value.shape), "data": data}
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value):
        return {field.name: _encode(getattr(value, field.name), keep) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _encode(item, keep) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_encode(item, keep) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _decode(kind: Any, data: Any, load: LoadImage) -> Any:
    if kind is Image.Image:
        return load(data)
    if np.ndarray in (kind, get_origin(_named(kind))):
        return np.frombuffer(base64.b64decode(data["data"]), data["dtype"]).reshape(data["shape"]).copy()
    if get_origin(kind) is not None:
        return _decode_generic(get_origin(kind), get_args(kind), data, load)
    if hasattr(kind, "from_json"):
        return kind.from_json(data)
    if is_dataclass(kind):
        hints, make = _hints(cast(type, kind)), cast(Callable[..., Any], kind)
        return make(**{name: _decode(hints[name], value, load) for name, value in data.items()})
    return data


def _decode_generic(origin: Any, arguments: tuple[Any, ...], data: Any, load: LoadImage) -> Any:
    """A value whose hint has arguments: `X | None`, a tuple, a list, a mapping or a literal."""
    if origin is Literal:
        return data
    if origin in (Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return None if data is None else _decode(inner, data, load)
    if origin is tuple:
        inner = [arguments[0]] * len(data) if arguments[-1] is Ellipsis else arguments
        return tuple(_decode(one, item, load) for one, item in zip(inner, data, strict=True))
    if isinstance(data, list):
        return [_decode(arguments[0], item, load) for item in data]
    return {key: _decode(arguments[1], item, load) for key, item in data.items()}


def _named(kind: Any) -> Any:
    """What a `type X = …` statement stands for, or the hint itself: NumPy's `NDArray` is one from Python 3.12 on."""
    return getattr(get_origin(kind) or kind, "__value__", kind)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
