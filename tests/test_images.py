"""The one reader of pictures: what every viewer shows, whatever a file's mode or metadata, and one sentence else."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from strange_images import (
    DATA,
    RAMP,
    bombs,
    chunk,
    corner,
    damaged,
    encoded,
    modes,
    png,
    with_chunk,
    with_segment,
)

from ragdemo.errors import UserError
from ragdemo.images import data_url, encode_png, from_data_url, image_sha256, read_image

WORDS = (RAMP * 65535).astype(">u2")


def grey_levels(image: Image.Image) -> int:
    return len(np.unique(np.asarray(image)))


def test_a_photo_with_damaged_metadata_is_upright() -> None:
    read = np.asarray(read_image(DATA / "exif_xres.jpg")).astype(int)
    stored = np.asarray(Image.open(DATA / "exif_xres.jpg").convert("RGB")).astype(int)
    np.testing.assert_array_equal(read, np.rot90(stored, -1))  # Orientation 6: turn it clockwise
    assert not np.array_equal(read, stored)


def test_sixteen_bits_become_eight() -> None:
    read = np.asarray(read_image(DATA / "gray16.png"))
    stored = np.asarray(Image.open(DATA / "gray16.png"))
    assert len(np.unique(stored)) == grey_levels(Image.fromarray(read)) == 32
    np.testing.assert_allclose(read[..., 0], stored / 257, atol=0.51)


def test_what_is_transparent_is_white() -> None:
    read = np.asarray(read_image(DATA / "black_on_transparent.png"))
    alpha = np.asarray(Image.open(DATA / "black_on_transparent.png"))[..., 3:]
    np.testing.assert_array_equal(read, np.broadcast_to(255 - alpha, read.shape))


@pytest.mark.parametrize(
    "data",
    [
        encoded(Image.fromarray((RAMP * 65535).astype(np.uint16)), "TIFF"),
        encoded(Image.fromarray((RAMP * 2**30).astype(np.int32)), "TIFF"),
        encoded(Image.fromarray(((RAMP - 0.5) * 2**30).astype(np.int32)), "TIFF"),
        encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
        encoded(Image.fromarray((1.2 * RAMP).astype(np.float32)), "TIFF"),
        encoded(Image.fromarray((255 * RAMP).astype(np.float32)), "TIFF"),
        encoded(Image.fromarray(np.where(RAMP == 0, np.nan, RAMP).astype(np.float32)), "TIFF"),
        encoded(Image.fromarray(RAMP.astype(np.float32)), "PPM"),
        b"P5 64 48 65535\n" + WORDS.tobytes(),
        png(64, 48, 16, 2, b"".join(b"\0" + np.repeat(row, 3).tobytes() for row in WORDS)),
    ],
    ids="tiff16 int32 negative float above255 float255 nan pfm ppm16 rgb48".split(),
)
def test_deep_pictures_keep_their_levels(data: bytes) -> None:
    read = np.asarray(read_image(data))
    np.testing.assert_allclose(read[..., 0], RAMP * 255, atol=1.01)
    assert grey_levels(Image.fromarray(read)) == 64


@pytest.mark.parametrize("kind", ["LA", "P", "L key", "1 key", "16-bit key", "GIF"])
def test_transparent_grey_and_palettes_are_on_white(kind: str) -> None:
    black = Image.new("L", (8, 8))
    data = {
        "LA": encoded(Image.new("LA", (8, 8), (0, 0))),
        "P": encoded(black.convert("P"), transparency=bytes(256)),
        "L key": encoded(black, transparency=0),
        "1 key": encoded(black.convert("1"), transparency=0),
        "16-bit key": encoded(Image.new("I;16", (8, 8)), transparency=0),
        "GIF": encoded(black.convert("P"), "GIF", transparency=0),
    }[kind]
    assert np.asarray(read_image(data)).min() == 255


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_in_every_format(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = corner(kind, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    np.testing.assert_array_equal(np.asarray(read_image(data)), np.asarray(expected))


@pytest.mark.parametrize(
    "data",
    [
        with_chunk(corner(), chunk(b"tEXt", b"comment\0x", is_whole=False)),
        with_chunk(corner(), chunk(b"iCCP", b"profile")),
        with_chunk(corner(), chunk(b"pHYs", b"1")),
        with_chunk(corner(), chunk(b"acTL", b"1")),
        with_chunk(corner(), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000)))),
        with_segment(corner("JPEG"), 0xE2, b"ICC_PROFILE\0"),
        with_segment(corner("JPEG"), 0xEE, b"Adobe"),
        with_segment(corner("JPEG"), 0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
    ],
)
def test_comments_and_profiles_never_matter(data: bytes) -> None:
    plain = corner("JPEG") if data.startswith(b"\xff\xd8") else corner()
    np.testing.assert_array_equal(np.asarray(read_image(data)), np.asarray(read_image(plain)))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("name", "data"), bombs().items(), ids=list(bombs()))
def test_a_bomb_is_refused_by_its_header(name: str, data: bytes) -> None:
    with pytest.raises(UserError, match=rf"^{name} has (over (36|64),000,000|\d+×\d+) pixels; (make|crop) "):
        read_image(data, name)


def test_limits_are_the_callers() -> None:
    data = encoded(Image.new("RGB", (300, 100)))
    assert read_image(data, longest_side=60).size == (60, 20)
    with pytest.raises(UserError, match="has only 300×100 pixels"):
        read_image(data, shortest_side=101)


@pytest.mark.filterwarnings("ignore")
def test_strange_files_are_a_picture_or_one_sentence() -> None:
    read, refused = [], []
    for name, data in [*modes(), *damaged(400)]:
        try:
            read.append(read_image(data, name).mode)
        except UserError as error:
            refused.append(str(error).startswith(f"{name} "))
    assert len(read) > 100 < len(refused)
    assert set(read) == {"RGB"}
    assert all(refused)


@pytest.mark.parametrize("content", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_other_files_are_named_without_their_folder(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_image(tmp_path / "broken.png")
    assert str(caught.value) == "broken.png cannot be read; choose a PNG, JPEG or WebP file."


@pytest.mark.parametrize(
    "path",
    ["/dev/zero", "/proc/self/mem", "/", "nowhere.png", "a" * 300, "a\0b", "\udcff.png", ""],
)
def test_what_is_no_file_is_one_printable_sentence(path: str) -> None:
    with pytest.raises(UserError) as caught:
        read_image(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 160


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match="not an ordinary file"):
        read_image(tmp_path / "pipe.png")


def test_the_hash_follows_pixels_not_files() -> None:
    image = read_image(corner())
    assert image_sha256(image) == image_sha256(read_image(encoded(image, "BMP")))
    assert image_sha256(image) != image_sha256(image.transpose(Image.Transpose.ROTATE_90))
    assert image_sha256(Image.new("RGB", (2, 8))) != image_sha256(Image.new("RGB", (8, 2)))


def test_a_data_url_is_read_back_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    image = read_image(corner())
    assert image_sha256(from_data_url(data_url(image))) == image_sha256(image)
    assert image_sha256(read_image(encode_png(image))) == image_sha256(image)
    for url in ("http://example.org/x.png", "data:text/html;base64,AAAA", "data:image/png,AAAA", ""):
        with pytest.raises(UserError, match="not a data URL"):
            from_data_url(url)
    for text in ("A", "Ä", "!!!!"):
        with pytest.raises(UserError, match="fox is damaged base64"):
            from_data_url(f"data:image/png;base64,{text}", "fox")
    with pytest.raises(UserError, match="fox cannot be read"):
        from_data_url("data:image/png;base64,AAAA", "fox")
    monkeypatch.setattr("ragdemo.images.MAX_DATA_URL", 50)
    with pytest.raises(UserError, match="make it smaller"):
        from_data_url(data_url(image))
