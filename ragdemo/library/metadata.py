"""`metadata.jsonl`: one JSON object a line about one file beside it, as imagefolders have it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from ragdemo.errors import UserError


def read_metadata(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number (from 1) and object of each line of a `metadata.jsonl`; nothing if there is no such file.

    A bad line raises `UserError`.
    """
    return metadata_rows(read_text(path), path) if path.is_file() else iter(())


def metadata_rows(text: str, place: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number (from 1) and object of each line of a text; a bad line raises `UserError` that names the place."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        data = parse_json(line)
        if not isinstance(data, dict):
            raise UserError(f"Line {number} of {place} is not a JSON object; correct it.")
        yield number, data


def line_of(row: Mapping[str, Any]) -> str:
    """A row as a line of `metadata.jsonl`."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def is_text(value: object) -> TypeGuard[str]:
    """Whether a value is a text that UTF-8 can encode; JSON and file names may contain lone surrogates."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def is_inside(file_name: str) -> bool:
    """Whether a relative file name stays within its folder."""
    path = Path(file_name)
    return bool(file_name) and "\0" not in file_name and not path.is_absolute() and ".." not in path.parts


def read_text(path: Path) -> str:
    """A UTF-8 file, with or without a byte order mark; raises `UserError` if it is none or cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); correct its permissions.") from error


def parse_json(text: str) -> object:
    """The value of a JSON text, `None` if it is malformed or nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # ValueError: also a number of too many digits
        return None
