"""Reading the values of options; each function raises `UserError` with one sentence."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ragdemo.errors import UserError
from ragdemo.request import MAX_SEED, check_seed, shown


def parse_seed(text: str) -> int:
    """The seed that a text names; raises `UserError` if it is not a whole number in range."""
    try:
        return check_seed(int(text))
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"The seed {text[:80]!r} is no number; choose a whole number from 0 to {MAX_SEED}."
        ) from error


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """The settings of `key=value` texts; values are JSON if they can be (3, 0.5, true, null), words otherwise."""
    settings = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UserError(
                f"The setting {shown(pair)} is not of the form key=value; write for example max_rounds=3."
            )
        try:
            settings[key] = json.loads(text)
        except json.JSONDecodeError:
            settings[key] = text
        except (ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits
            raise UserError(
                f"The setting {shown(key)} is nested too deeply or too large; give a plain value."
            ) from error
    return settings


def parse_columns(pairs: Sequence[str]) -> dict[str, str]:
    """The columns of `key=value` texts, such as kind=fish."""
    columns = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(
                f"The filter {shown(pair)} is not of the form key=value; write for example kind=fish."
            )
        columns[key] = value
    return columns


def whole_number(name: str, text: str, low: int, high: int) -> int:
    """The number of an option `--name` in low..high."""
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise UserError(
            f"The value {text!r} of --{name} is out of range; choose a whole number from {low} to {high}."
        )
    return int(text)


def path_of(text: str) -> Path:
    """The path that a text names."""
    if not text.strip() or "\0" in text:
        raise UserError(f"The path {text!r} names nothing; choose another.")
    return Path(text)


def output_file(text: str) -> Path:
    """A file that can be written; its folder is made."""
    path = path_of(text)
    try:
        if path.is_dir():  # raises for a name that is too long
            raise UserError(f"The output {path} is a folder; choose a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The output {path} cannot be written ({error.strerror}); choose another.") from error
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UserError(f"The output {path} cannot be written (permission denied); choose another.")
    return path


def fail(error: Exception, code: int) -> int:
    """Write an error's sentence to stderr; returns the exit code."""
    print(f"ragdemo: {' '.join(str(error).split())}", file=sys.stderr)
    return code
