"""Pictures with made-up metadata, in every mode and size, whole and damaged, through every door that takes one."""

from __future__ import annotations

import io
import random
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from strange_images import FORMATS, MODES

from ragdemo.errors import UserError
from ragdemo.images import from_data_url, read_image
from ragdemo.library.ingest import ingest
from ragdemo.library.session import MOST_PICTURES, SessionLibrary, uploaded
from ragdemo.recipe import PNG_KEY, read_png
from ragdemo.ui.own import Shelf

pytestmark = [pytest.mark.slow, pytest.mark.hostile]
SUFFIX = {"JPEG": "jpg", "TIFF": "tif"}


def strange_pictures(count: int) -> Iterator[tuple[str, bytes]]:
    """Files of which a third is damaged; what Pillow cannot write is tried again."""
    rng, number = random.Random(0), 0
    while number < count:
        kind, size = rng.choice(FORMATS), (rng.randrange(1, 120), rng.randrange(1, 120))
        image = Image.effect_noise(size, 80).convert("RGB").convert(rng.choice(MODES))
        buffer = io.BytesIO()
        try:
            image.save(buffer, kind, **_metadata(rng, kind))
        except Exception:  # noqa: BLE001 (SyntaxError, struct.error, AttributeError: whatever Pillow cannot write)
            continue
        data = bytearray(buffer.getvalue())
        for _ in range(rng.choice([0, 0, 1, 3])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.1:
            del data[rng.randrange(len(data)) :]
        number += 1
        yield f"{number}.{SUFFIX.get(kind, kind.lower())}", bytes(data)


def _metadata(rng: random.Random, kind: str) -> dict[str, object]:
    """Made-up EXIF, a colour profile and texts, each now and then."""
    found: dict[str, object] = {}
    if kind not in ("GIF", "BMP", "PPM") and rng.random() < 0.6:
        exif = Image.Exif()
        for _ in range(rng.randrange(1, 6)):
            tag = rng.choice([0x0112, 0x010E, 0x011A, 0x8769, 0x8825, rng.randrange(2**16)])
            exif[tag] = rng.choice([rng.randrange(12), "x" * rng.randrange(50), rng.randbytes(9), 1.5])
        found["exif"] = rng.choice([exif, b"Exif\0\0" + rng.randbytes(40)])
    if rng.random() < 0.3:
        found["icc_profile"] = rng.randbytes(rng.randrange(300))
    if kind == "PNG" and rng.random() < 0.5:
        info = PngInfo()
        info.add_text(
            rng.choice(["Comment", PNG_KEY]), rng.choice(["{}", "null", "x" * 5000, '{"request": 1}'])
        )
        info.add_itxt(PNG_KEY, rng.choice(["[]", '{"request": {"prompt": 1}}', "{" * 400]), zip=True)
        found["pnginfo"] = info
    return found


@pytest.mark.filterwarnings("ignore")
def test_any_picture_is_read_or_refused_in_one_sentence(whole: bool, tmp_path: Path) -> None:
    source, refused, read = tmp_path / "source", [], 0
    source.mkdir()
    files = []
    for name, data in strange_pictures(5000 if whole else 150):
        files.append(source / name)
        files[-1].write_bytes(data)
    for file in files:
        for door in (_own, read_image, read_png, _taken, _sent):
            try:
                door(file)
                read += 1
            except UserError as error:
                refused.append((file.name, str(error)))
    assert read > len(files)
    for name, sentence in refused:
        assert name in sentence, sentence
        assert sentence.isprintable()
        assert str(tmp_path) not in sentence
    made = ingest(source, tmp_path / "library")
    listed = {one.file_name for one in (*made.skipped, *made.duplicates)}
    assert len(made.library.rows) + len(listed) == len(files)
    for start in range(0, len(files), MOST_PICTURES):
        _check_archive(files[start : start + MOST_PICTURES], tmp_path / "many.zip")


def _check_archive(files: list[Path], archive: Path) -> None:
    """All pictures of an archive are taken, known or named."""
    with zipfile.ZipFile(archive, "w") as packing:
        for file in files:
            packing.write(file, file.name)
    library = SessionLibrary()
    with uploaded(archive) as source:
        found = [library.take(entry) for entry in source.entries()]
        assert len(source.skipped) + len(found) == len(files)
    assert all(len(one.ids) + one.known + len(one.skipped) == 1 for one in found)
    assert len(library) == sum(len(one.ids) for one in found)


def _taken(file: Path) -> None:
    library = SessionLibrary()
    with uploaded(file) as source:
        (found,) = (library.take(entry) for entry in source.entries())
    for one in found.skipped:
        raise UserError(f"{one.file_name}: {one.reason}")
    assert library.library.image(*found.ids).mode == "RGB"


def _sent(file: Path) -> None:
    """As programs send it."""
    from_data_url(f"data:image/x;base64,{b64encode(file.read_bytes()).decode()}", file.name)


def _own(file: Path) -> None:
    shelf = Shelf().added(file)
    (picture,) = shelf.pictures(shelf.refs).values()
    assert picture.mode == "RGB"
    shelf.delete()
