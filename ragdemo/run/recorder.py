"""A run on disk: its events as one JSON object a line, and every picture once, by its content."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from ragdemo import files
from ragdemo.codec import decode_event, encode_event
from ragdemo.errors import UserError
from ragdemo.events import Draft, Event, Progress, Result
from ragdemo.images import image_sha256
from ragdemo.methods import METHODS  # noqa: F401 (their events are known once they are imported)
from ragdemo.recipe import save_png

BASE, AUGMENTED, EVENTS, IMAGES = "base.png", "augmented.png", "events.jsonl", "images"
whole_folder = partial(files.whole_folder, replaces=(BASE, AUGMENTED, EVENTS, IMAGES))


def write_run(events: Sequence[Event], folder: Path) -> None:
    """Write `base.png` (if there was a draft), `augmented.png`, `events.jsonl` and `images/` into `folder`.

    Both pictures carry the recipe; the base one without references. The last event is the `Result`.
    """
    result = events[-1]
    if not isinstance(result, Result):
        raise ValueError(f"the last event is a {type(result).__name__}; record a run that has ended")
    (folder / IMAGES).mkdir()

    def keep(image: Image.Image) -> dict[str, Any]:
        ending = "webp" if image.mode == "RGB" else "png"  # WebP has no masks
        file = f"{IMAGES}/{image_sha256(image)[:24]}.{ending}"
        if not (folder / file).exists():
            image.save(folder / file, lossless=True)
        return {"width": image.width, "height": image.height, "file": file}

    kept = [dataclasses.replace(one, preview=None) if isinstance(one, Progress) else one for one in events]
    lines = [json.dumps(encode_event(event, keep), ensure_ascii=False) for event in kept]
    (folder / EVENTS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    draft = next((event for event in reversed(events) if isinstance(event, Draft)), None)
    if draft is not None:
        save_png(draft.image, dataclasses.replace(result.recipe, references=()), folder / BASE)
    save_png(result.image, result.recipe, folder / AUGMENTED)


def read_run(folder: Path) -> list[Event]:
    """The events of a recorded run without its progress; raises `UserError` if the recording is damaged."""

    def load(kept: Mapping[str, Any]) -> Image.Image:
        with Image.open(folder / IMAGES / Path(kept["file"]).name) as image:
            pixels = image.copy() if image.format == "PNG" else image.convert("RGB")
        pixels.info.clear()
        return pixels

    try:
        lines = (folder / EVENTS).read_text(encoding="utf-8").splitlines()
        events = [decode_event(json.loads(line), load) for line in lines]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"The recording {folder.name} cannot be read ({error}); record it again.") from error
    return [event for event in events if not isinstance(event, Progress)]
