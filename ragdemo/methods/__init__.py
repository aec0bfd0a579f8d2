"""The methods, one folder a paper: a method is a folder and one line in this registry, which loads no model library."""

from __future__ import annotations

from ragdemo.errors import UserError
from ragdemo.methods.ar_rag.method import ARRAG
from ragdemo.methods.base import Method
from ragdemo.methods.imagerag.method import ImageRAG
from ragdemo.methods.realrag.method import RealRAG
from ragdemo.methods.turbo.method import ImageRAGTurbo

METHODS: dict[str, Method] = {
    method.name: method for method in (ImageRAG(), RealRAG(), ImageRAGTurbo(), ARRAG())
}


def get_method(name: str) -> Method:
    """The method of that name; raises `UserError` if there is none."""
    if name not in METHODS:
        raise UserError(f"There is no method {name[:80]!r}; choose one of {', '.join(METHODS)}.")
    return METHODS[name]
