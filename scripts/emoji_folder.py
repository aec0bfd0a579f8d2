"""Draw every emoji of a colour font as a named picture, in a folder that `library build` reads.

    python -m scripts.emoji_folder NotoColorEmoji.ttf --out emoji
    python -m ragdemo library build emoji --name emoji

Names are Unicode's own; of a sequence, such as a flag or a person at work, they are those of its parts. Source and
licence are what the font says of itself.
"""

from __future__ import annotations

import argparse
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

SIZE = 109  # the one size that bitmap fonts of this kind have
SIDE = 136
COPYRIGHT, FAMILY, LICENCE = 0, 1, 13
_TONES = dict(
    zip(range(0x1F3FB, 0x1F400), ("light", "medium-light", "medium", "medium-dark", "dark"), strict=True)
)
_SILENT = {0x200D, 0xFE0F, 0x20E3}
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)
_TAGS = range(0xE0020, 0xE0080)


def main() -> None:
    """Write the pictures and their metadata."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("font", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    font, drawn = TTFont(options.font), ImageFont.truetype(str(options.font), SIZE)
    about = {"source": _said(font, FAMILY), "license": _said(font, LICENCE) or _said(font, COPYRIGHT)}
    rows, seen = [], set()
    for text in sequences(font):
        name, image = named(text), _picture(text, drawn)
        if not name or image is None or image.tobytes() in seen:
            continue
        seen.add(image.tobytes())
        file = f"{'-'.join(f'{ord(letter):x}' for letter in text)}.png"
        image.save(options.out / file)
        rows.append(json.dumps({"file_name": file, "text": name, "emoji": text, **about}, ensure_ascii=False))
    (options.out / "metadata.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    print(f"{len(rows):,} pictures in {options.out}")


def sequences(font: TTFont) -> Iterator[str]:
    """Every text that the font draws as one picture: single letters, then what its ligatures join."""
    letters = {glyph: code for code, glyph in sorted(font.getBestCmap().items(), reverse=True)}
    yield from (chr(code) for code in sorted(letters.values()) if code > 0xA8)
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for table in lookup.SubTable:
            table = getattr(table, "ExtSubTable", table)
            for first, ligatures in getattr(table, "ligatures", {}).items():
                for ligature in ligatures:
                    glyphs = [first, *ligature.Component]
                    if all(glyph in letters for glyph in glyphs):
                        yield "".join(chr(letters[glyph]) for glyph in glyphs)


def named(text: str) -> str:
    """The name of a sequence in plain words, empty if a part of it has none."""
    flag = "".join(chr(ord(c) - _FLAG_LETTERS.start + ord("A")) for c in text if ord(c) in _FLAG_LETTERS)
    if flag:
        return f"flag {flag}" if len(flag) == 2 else ""
    parts = [letter for letter in text if ord(letter) not in _SILENT and ord(letter) not in _TAGS]
    words = [
        f"{_TONES[ord(letter)]} skin tone" if ord(letter) in _TONES else unicodedata.name(letter, "").lower()
        for letter in parts
    ]
    return ", ".join(words) if all(words) else ""


def _picture(text: str, font: ImageFont.FreeTypeFont) -> Image.Image | None:
    """A sequence on white; None if the font draws nothing."""
    layer = Image.new("RGBA", (4 * SIDE, SIDE))
    ImageDraw.Draw(layer).text((0, 4), text, font=font, embedded_color=True)
    box = layer.getbbox()
    if box is None or box[2] > SIDE:  # nothing, or several pictures beside each other
        return None
    paper = Image.new("RGBA", (SIDE, SIDE), "white")
    return Image.alpha_composite(paper, layer.crop((0, 0, SIDE, SIDE))).convert("RGB")


def _said(font: TTFont, number: int) -> str:
    return str(font["name"].getDebugName(number) or "")


if __name__ == "__main__":
    main()
