"""A run on disk: its pictures, and its events as one JSON object a line."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from ragdemo.events import Draft, Event, Progress, References, Result
from ragdemo.recipe import Recipe, save_png
from ragdemo.types import Ranking, Reference, UserError

BASE, AUGMENTED, EVENTS, REFERENCES = "base.png", "augmented.png", "events.jsonl", "references"
_KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in Event.__subclasses__()}


def write_run(events: Sequence[Event], folder: Path) -> None:
    """Write `base.png` (where there was a draft), `augmented.png`, `events.jsonl` and `references/` into `folder`.

    Both pictures carry the recipe; the base one without references. The last event is the `Result`.
    """
    result = events[-1]
    if not isinstance(result, Result):
        raise ValueError(f"the last event is a {type(result).__name__}; record a run that has ended")
    save_png(result.image, result.recipe, folder / AUGMENTED)
    with (folder / EVENTS).open("w", encoding="utf-8") as lines:
        for event in events:
            if isinstance(event, Draft):
                save_png(event.image, dataclasses.replace(result.recipe, references=()), folder / BASE)
            if isinstance(event, References):
                _save_references(event.used, folder / REFERENCES)
            lines.write(json.dumps(_line(event), ensure_ascii=False) + "\n")


def read_run(folder: Path, library_image: Callable[[str], Image.Image]) -> list[Event]:
    """The events of a recorded run, without its progress; `library_image` gives the pictures that it only names.

    Raises `UserError` where the recording is damaged or names pictures that the library no longer has.
    """
    try:
        lines = (folder / EVENTS).read_text(encoding="utf-8").splitlines()
        events = [_event(json.loads(line), folder, library_image) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"The recording {folder.name} cannot be read ({error}); record it again.") from error
    return [event for event in events if not isinstance(event, Progress)]


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A working folder beside `target` whose files move there when the block ends well, and vanish otherwise.

    Raises `UserError` at once where `target` is a file or cannot be written.
    """
    if target.exists() and not target.is_dir():
        raise UserError(f"The output {target} is a file; choose a folder.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        if target.exists() and not os.access(target, os.W_OK):
            work.rmdir()
            raise PermissionError(13, "not writable")
    except OSError as error:
        raise UserError(
            f"The output folder {target} cannot be written ({error.strerror}); choose another."
        ) from error
    try:
        yield work
        _move(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _move(work: Path, target: Path) -> None:
    work.chmod(0o755)
    if not target.exists():
        os.replace(work, target)
        return
    for stale in (BASE, AUGMENTED, EVENTS):
        (target / stale).unlink(missing_ok=True)
    shutil.rmtree(target / REFERENCES, ignore_errors=True)
    for item in work.iterdir():
        os.replace(item, target / item.name)


def _save_references(references: Sequence[Reference], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for reference in references:
        reference.image.save(folder / _file_name(reference.id))


def prompt_slug(prompt: str) -> str:
    """A folder's name for a prompt: its letters and digits, at most 60."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60].strip("-") or "picture"


def _file_name(reference_id: str) -> str:
    return re.sub(r"[^\w.-]", "_", reference_id) + ".png"


def _event(line: dict[str, Any], folder: Path, library_image: Callable[[str], Image.Image]) -> Event:
    """The inverse of `_line`."""
    kind = _KINDS[line["event"]]
    values = {field.name: line[field.name] for field in dataclasses.fields(kind)}
    for name, value in values.items():
        if name == "image":
            with Image.open(folder / value["file"]) as image:
                values[name] = image.convert("RGB")
        elif name == "recipe":
            values[name] = Recipe.from_json(value)
        elif name in ("used", "others"):
            values[name] = tuple(_reference(row, folder, library_image) for row in value)
        elif name == "reference":
            values[name] = _reference(value, folder, library_image)
        elif name == "rankings":
            values[name] = tuple(
                Ranking(
                    row["retriever"], tuple(_reference(r, folder, library_image) for r in row["references"])
                )
                for row in value
            )
        elif isinstance(value, list):
            values[name] = tuple(value)
    return kind(**values)


def _reference(row: dict[str, Any], folder: Path, library_image: Callable[[str], Image.Image]) -> Reference:
    fields = {name: value for name, value in row.items() if name != "file"}
    if "file" not in row:
        return Reference(**fields, image=library_image(row["id"]))
    with Image.open(folder / row["file"]) as image:
        return Reference(**fields, image=image.convert("RGB"))


def _line(event: Event) -> dict[str, Any]:
    line = event.to_json()
    if isinstance(event, Draft | Result):
        line["image"] = {"file": BASE if isinstance(event, Draft) else AUGMENTED} | line["image"]
    if isinstance(event, References):
        for reference in line["used"]:
            reference["file"] = f"{REFERENCES}/{_file_name(reference['id'])}"
    return line
