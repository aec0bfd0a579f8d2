"""The version of the world: another one draws other pictures, so nothing made from an earlier one may be reused."""

from __future__ import annotations

import ast
import hashlib
from functools import lru_cache
from pathlib import Path

NOT_DRAWING = ("commands.py", "critic_cases.py", "oracle.py", "version.py", "vocabulary.py")
"""Modules that no rendered sample depends on; every other file of this folder is part of the version."""


@lru_cache(maxsize=1)
def world_version() -> str:
    """The first eight hex digits of a sha256 over the world's code and roster; comments and docstrings don't count."""
    folder, digest = Path(__file__).parent, hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        if file.name not in NOT_DRAWING:
            digest.update(f"{file.name}\n{code_of(file.read_text(encoding='utf-8'))}\n".encode())
    digest.update((folder / "roster.json").read_bytes())
    return digest.hexdigest()[:8]


def code_of(source: str) -> str:
    """Python source without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_docstring(line)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _is_docstring(line: ast.AST) -> bool:
    """Whether a statement is a lone string: a docstring, or the description of a constant."""
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )
