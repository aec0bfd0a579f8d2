"""The methods, one folder a paper; this registry loads none of them and is what the page's toggle reads."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from ragdemo.types import UserError

if TYPE_CHECKING:
    from ragdemo.methods.base import Method, Toolbox


@dataclass(frozen=True)
class MethodSpec:
    """A row of the registry: `module` holds the class `class_name`, which is built from a `Toolbox`."""

    name: str
    title: str
    description: str
    module: str
    class_name: str

    def build(self, toolbox: Toolbox) -> Method:
        """The method itself; imports its module."""
        return self.load()(toolbox)

    def load(self) -> type[Method]:
        """The method's class; imports its module."""
        return getattr(import_module(self.module), self.class_name)


METHODS: dict[str, MethodSpec] = {
    spec.name: spec
    for spec in (
        MethodSpec(
            name="imagerag",
            title="ImageRAG",
            description="A critic names what the draft lacks; references for it guide a second drawing.",
            module="ragdemo.methods.imagerag.flow",
            class_name="ImageRAG",
        ),
        MethodSpec(
            name="realrag",
            title="RealRAG",
            description="A retriever trained to find what the generator would not draw by itself.",
            module="ragdemo.methods.realrag.flow",
            class_name="RealRAG",
        ),
    )
}


def get_method(name: str) -> MethodSpec:
    """The method of that name; raises `UserError` where there is none."""
    if name not in METHODS:
        raise UserError(f"There is no method {name!r}; choose one of {', '.join(METHODS)}.")
    return METHODS[name]
