"""The commands of `python -m ragdemo world`: ground truth, new species, a poster of all species, judging pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ragdemo.errors import UserError
from ragdemo.world.captions import caption, read
from ragdemo.world.kinds import KINDS
from ragdemo.world.look import Look, random_look
from ragdemo.world.palette import COLOURS, INK, mix
from ragdemo.world.parts import SHAPES
from ragdemo.world.render import Picture, Pose, draw_object, look_distance
from ragdemo.world.sampling import compose
from ragdemo.world.scenes import SCENES, paint
from ragdemo.world.species import MIN_DISTANCE, Species, by_name, roster

MOST_THINGS = 2
METADATA_FILE = "metadata.jsonl"
"""The captions of an imagefolder, one JSON row an image."""
_TAKEN_WORDS = {"a", "an", "the", "and", *KINDS, *COLOURS, *SHAPES}
MOST_DRAWS = 5_000
PAPER, BAND = (250, 246, 236), (240, 233, 218)
CELL, MARGIN, LABEL, HEADER, GAP = 60, 26, 94, 84, 10


def render_prompt(prompt: str, seed: int, out: Path) -> None:
    """Draw what a prompt asks for; what it leaves open is chosen by the seed.

    Raises `UserError` if the prompt names nothing that the world holds, or more than two things.
    """
    rng = Random(f"render/{seed}/{prompt}")
    reading = read(prompt, rng)
    if not reading.things:
        raise UserError(f"The prompt {prompt!r} names nothing of this world; name one of {', '.join(KINDS)}.")
    if len(reading.things) > MOST_THINGS:
        raise UserError(f"The prompt {prompt!r} names {len(reading.things)} things; name one or two.")
    looks = [thing.look if isinstance(thing, Species) else thing for thing in reading.things]
    scene = reading.scene or rng.choice(SCENES)
    _save(compose(looks, scene, rng).render(), out)


def new_species(seed: int, name: str, count: int, out: Path) -> None:
    """Write `count` captioned pictures of a species that no model knows, as an imagefolder.

    A name that ends with no kind gets one from the seed. Raises `UserError` if the name is no invented word (and a
    kind) or is taken, or if the folder cannot be written or is not empty.
    """
    words = _species_name(name, seed)
    if out.exists() and not out.is_dir():
        raise UserError(f"The output {out} is a file; choose a folder.")
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"The folder {out} is not empty; choose another one.")
    try:
        (out / "images").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {out} cannot be written ({error.strerror}); choose another one."
        ) from error
    look = fresh_look(words.split()[-1], Random(f"new-species/{seed}/{words}"))
    rows = [json.dumps(_new_picture(look, words, seed, index, out)) for index in range(count)]
    (out / METADATA_FILE).write_text("\n".join(rows) + "\n", encoding="utf-8")


def _species_name(name: str, seed: int) -> str:
    """The full name of a new species, lower case, its kind last."""
    words = name.lower().split()
    if words and words[-1] not in KINDS:
        words.append(Random(f"new-species/{seed}").choice(tuple(KINDS)))
    full = " ".join(words)
    if len(words) != 2 or not re.fullmatch(r"[a-z]{2,24}", words[0]) or words[0] in _TAKEN_WORDS:
        raise UserError(f"The name {name!r} is no invented word before a kind; try one like 'zorby fish'.")
    if full in by_name():
        raise UserError(f"The species {full!r} exists already; choose another name.")
    return full


def fresh_look(kind: str, rng: Random) -> Look:
    """A look at least `MIN_DISTANCE` from every named species of its kind."""
    named = [species.look for species in roster() if species.look.kind == kind]
    for _ in range(MOST_DRAWS):
        look = random_look(kind, rng)
        if all(look_distance(look, other) >= MIN_DISTANCE for other in named):
            return look
    raise UserError(f"No look of a {kind} is left that differs from all named ones; choose another kind.")


def contact_sheet(out: Path) -> None:
    """One poster: every species in the row of its kind, everyday names before invented ones, and all scenes."""
    columns = max(sum(s.look.kind == kind for s in roster()) for kind in KINDS)
    width = 2 * MARGIN + LABEL + columns * CELL + GAP
    strip = (width - 2 * MARGIN - LABEL) // len(SCENES)
    rows_top = HEADER + strip + 18
    sheet = Image.new("RGB", (width, rows_top + len(KINDS) * CELL + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 22), "The pocket universe", fill=INK, font=_font(30))
    summary = f"{len(roster())} species of {len(KINDS)} kinds in {len(SCENES)} scenes"
    draw.text((width - MARGIN, 34), summary, fill=mix(INK, PAPER, 0.35), font=_font(15), anchor="ra")
    _scenes_row(sheet, HEADER, strip)
    for row, kind in enumerate(KINDS):
        _kind_row(sheet, kind, rows_top + row * CELL, shaded=row % 2 == 0)
    _save(sheet, out)


def judge_pictures(pictures: Mapping[str, Image.Image], folder: Path) -> list[dict[str, Any]]:
    """What the oracle in `folder` sees, a JSON-ready row per picture: its `file` (the key), each answer, probabilities.

    Each picture is taken to show one thing. Raises `UserError` if the oracle is missing or damaged.
    """
    from ragdemo.world.oracle import load_oracle  # imports torch

    seen = load_oracle(folder).judge(list(pictures.values()))
    rows = []
    for file, judgement in zip(pictures, seen, strict=True):
        row = asdict(judgement)
        probabilities = {head: round(p, 4) for head, p in row.pop("probabilities").items()}
        rows.append({"file": file, **row, "probabilities": probabilities})
    return rows


def _scenes_row(sheet: Image.Image, top: int, strip: int) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, top + strip // 2), "scenes", fill=INK, font=_font(15), anchor="lm")
    for column, scene in enumerate(SCENES):
        picture = paint(scene, 2 * (strip - 6), Random(column)).reduce(2)
        sheet.paste(picture, (MARGIN + LABEL + column * strip, top))
        box = (MARGIN + LABEL + column * strip, top)
        draw.text(
            (box[0] + 5, box[1] + 3),
            scene,
            fill=(255, 255, 255),
            font=_font(12),
            stroke_width=2,
            stroke_fill=INK,
        )


def _kind_row(sheet: Image.Image, kind: str, top: int, shaded: bool) -> None:
    draw = ImageDraw.Draw(sheet)
    if shaded:
        draw.rectangle((MARGIN // 2, top, sheet.width - MARGIN // 2, top + CELL - 1), fill=BAND)
    draw.text((MARGIN, top + CELL // 2), kind, fill=INK, font=_font(15), anchor="lm")
    known = 0
    for column, species in enumerate(s for s in roster() if s.look.kind == kind):
        known += species.tier == "common"
        gap = GAP if column >= known else 0  # a gap before the invented names
        pose = Pose(0.5, 0.5, 0.44, 0.0, False)
        image, mask = draw_object(species.look, pose, 2 * CELL)
        box = (MARGIN + LABEL + column * CELL + gap, top)
        sheet.paste(image.reduce(2), box, mask.reduce(2))


def _new_picture(look: Look, name: str, seed: int, index: int, folder: Path) -> dict[str, str]:
    rng = Random(f"new-species/{seed}/{name}/{index}")
    scene = rng.choice(SCENES)
    words = caption([name], scene, rng)
    picture: Picture = compose([look], scene, rng)
    file_name = f"images/{name.replace(' ', '-')}-{index:03d}.png"
    _save(picture.render(), folder / file_name)
    return {"file_name": file_name, "text": words}


def _save(image: Image.Image, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    suffix = out.suffix.lower()
    if suffix not in Image.registered_extensions():
        raise UserError(
            f"The file {out} has no ending of a picture; name it like {out.with_suffix('.png').name}."
        )
    image.save(out, optimize=True)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
