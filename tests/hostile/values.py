"""Values that no browser sends: of every type, too large, too deep, half of something, or naming what is not theirs."""

from __future__ import annotations

import io
import json
import random
import unicodedata
import zipfile
from collections.abc import Iterator
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ragdemo.library.session import UNNAMED
from ragdemo.recipe import PNG_KEY
from tests.hostile.visitor import FILE

TEXTS = [
    "",
    " ",
    "a" * 501,
    "a" * 50_000,
    "\ud800",
    "\x00",
    "\u202e\u2066 x",
    "../../../etc/passwd",
    "/proc/self/environ",
    "<script>alert(1)</script>",
    "{{7*7}} ${7*7} @children",
    "%s%n%x",
    "'; drop table pictures;--",
    "{}",
    "[" * 2000,
    '{"a":' * 200,
    '{"steps": 1' + "0" * 400 + "}",
    '{"steps": 200}',
    '{"max_rounds": true}',
    '{"reference_scale": NaN}',
    '{"own": [{"name": "x", "png": "data:image/png;base64,AAAA"}]}',
    '{"pinned": ["' + "x" * 300 + '"], "rejected": ["../../x"]}',
    "pocket",
    "imagerag",
    "all kinds",
    "openai:gpt",
]
OTHERS: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    7,
    2**31,
    2**64,
    10**400,
    1.5,
    1e308,
    float("nan"),
    float("inf"),
    [],
    [[]],
    [None] * 50,
    {},
    {"value": 1},
    {"path": "/etc/passwd"},
    {"path": "http://127.0.0.1:9/x.png", "meta": FILE},
    {"path": "/etc/hostname", "meta": FILE, "is_stream": True},
    {"__type__": "update", "value": 3},
    {"props": {"value": "x"}},
]
ACTS = "run redraw check own use reject pin unpin restore rename remove nothing".split()
CHOICE = {
    "kind": "fish",
    "shape": "round",
    "pattern": "halves",
    "main": "gold",
    "second": "teal",
    "third": "red",
}


def value(rng: random.Random) -> Any:
    """Any of them, now and then several in a list or an object."""
    if rng.random() < 0.1:
        inner = [value(rng) for _ in range(rng.randrange(4))]
        return inner if rng.random() < 0.5 else {str(one)[:20]: one for one in inner}
    return rng.choice(TEXTS) if rng.random() < 0.5 else rng.choice(OTHERS)


def event_data(rng: random.Random) -> Any:
    """What an event may be said to carry."""
    if rng.random() < 0.3:
        return value(rng)
    choice = rng.choice([{**CHOICE, "name": rng.choice(["zorby", value(rng)])}, value(rng)])
    said = {"act": rng.choice([*ACTS, "", value(rng)]), "id": rng.choice([UNNAMED, value(rng)])}
    said |= {"name": value(rng), "value": value(rng), "choice": choice}
    return {name: one for name, one in said.items() if rng.random() < 0.8}


def prompts(count: int, seed: int = 0) -> Iterator[str]:
    """Texts of letters of every Unicode category, each category now and then alone."""
    by_category: dict[str, list[str]] = {}
    for number in range(0x110000):
        by_category.setdefault(unicodedata.category(chr(number)), []).append(chr(number))
    rng, categories = random.Random(seed), sorted(by_category)
    for number in range(count):
        mine = [categories[number % len(categories)]] if number % 3 else rng.sample(categories, 5)
        letters = [rng.choice(by_category[rng.choice(mine)]) for _ in range(rng.randrange(1, 60))]
        yield "".join(rng.choice([letter, f"{letter} quixel butterfly", " "]) for letter in letters)


def recipes(count: int, seed: int = 0) -> Iterator[bytes]:
    """PNG files whose recipes are other than this program writes them."""
    rng = random.Random(seed)
    whole = {
        "request": {"prompt": "a quixel butterfly", "method": "imagerag", "seed": 1, "settings": {}},
        "references": ["x"],
        "library_fingerprint": "f" * 16,
        "versions": {"ragdemo": "1"},
        "weights": {},
    }
    for number in range(count):
        recipe = json.loads(json.dumps(whole))
        place = recipe if rng.random() < 0.4 else recipe["request"]
        name = rng.choice([*place, "profile", "library", "choices", "own_images", "steps"])
        place[name] = value(rng)
        if number % 4 == 0 and isinstance(recipe["request"], dict):
            recipe["request"]["settings"] = {rng.choice(["steps", "mode", "x"]): value(rng)}
        text = json.dumps(recipe) if number % 7 else json.dumps(recipe)[: rng.randrange(200)]
        yield png_with(text)


def png_with(text: str) -> bytes:
    """A PNG file with a text in the place of its recipe."""
    info, buffer = PngInfo(), io.BytesIO()
    info.add_itxt(PNG_KEY, text.encode("utf-8", "replace").decode())
    Image.new("RGB", (32, 32), "teal").save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def archives(count: int, seed: int = 0) -> dict[str, bytes]:
    """Archives that unpack to much or elsewhere, and some of which a few bytes are changed, by name."""
    rows = b"".join(b'{"file_name": "%d.png", "x": [%s]}\n' % (i, b"[]," * 200 + b"0") for i in range(20_000))
    made = {
        "bomb.zip": zipped({"zeros.png": bytes(50_000_000)}),
        "rows.zip": zipped({"a.png": png_with("{}"), "metadata.jsonl": rows}),
        "deep.zip": zipped({"a.png": png_with("{}"), "metadata.jsonl": b"[" * 200_000}),
        "climbing.zip": zipped(
            {"../../../../tmp/climbed.png": png_with("{}"), "/climbed.png": png_with("{}")}
        ),
        "many.zip": zipped({f"{number}.png": b"" for number in range(6000)}),
    }
    made["half.zip"] = made["bomb.zip"][:99]
    rng = random.Random(seed)
    row = b'{"file_name": "a.png", "text": "x", "split": [], "kind": {}, "id": [1], "group": 5}\n'
    for number in range(count):
        kind = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
        hurt = bytearray(
            zipped({"a.png": png_with("{}"), "b/c.png": png_with(str(number)), "metadata.jsonl": row}, kind)
        )
        for _ in range(rng.choice([0, 1, 3])):
            hurt[rng.choice([rng.randrange(len(hurt)), -rng.randrange(1, 200)])] = rng.randrange(256)
        made[f"hurt-{number}.zip"] = bytes(hurt)
    return made


def zipped(members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive of members by name."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return packed.getvalue()
