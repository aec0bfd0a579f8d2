"""Picture files in uncommon modes, with strange metadata, damaged, or huge once unpacked."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

DATA = Path(__file__).parent / "data"
RAMP = np.tile(np.linspace(0, 1, 64), (48, 1))  # 0..1, (48, 64)
MODES = "1 L LA P PA RGB RGBA CMYK YCbCr LAB HSV I F I;16 I;16B La RGBa RGBX".split()
FORMATS = "PNG JPEG WEBP GIF BMP TIFF PPM AVIF".split()


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def corner(kind: str = "PNG", **options: object) -> bytes:
    """A white 60×40 picture whose upper left quarter is red."""
    image = Image.new("RGB", (60, 40), "white")
    image.paste((255, 0, 0), (0, 0, 30, 20))
    return encoded(image, kind, **options)


def chunk(kind: bytes, data: bytes, is_whole: bool = True) -> bytes:
    """A chunk of a PNG file; its checksum is wrong unless `is_whole`."""
    checksum = zlib.crc32(kind + data) ^ (not is_whole)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def with_chunk(png: bytes, extra: bytes) -> bytes:
    """A PNG file with a chunk after its header."""
    return png[:33] + extra + png[33:]


def with_segment(jpeg: bytes, marker: int, data: bytes) -> bytes:
    """A JPEG file with a segment at its beginning."""
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data + jpeg[2:]


def png(width: int, height: int, depth: int, colour: int, rows: bytes = b"", *extra: bytes) -> bytes:
    """A PNG file of any header with given raw rows."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(extra)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def modes() -> Iterator[tuple[str, bytes]]:
    """A ramp in every mode and format that Pillow can write."""
    grey = Image.fromarray((RAMP * 255).astype(np.uint8))
    for mode in MODES:
        for kind in FORMATS:
            try:
                yield f"{mode}.{kind}", encoded(grey.convert("RGB").convert(mode), kind)
            except (OSError, ValueError, KeyError, SyntaxError, SystemError, struct.error):
                continue


def damaged(count: int) -> Iterator[tuple[str, bytes]]:
    """Files of all formats with a few bytes changed, or the end cut off."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x" * 40
    whole = {
        kind: corner(kind, **({} if kind in ("GIF", "BMP", "PPM") else {"exif": exif})) for kind in FORMATS
    }
    for number in range(count):
        kind = FORMATS[number % len(FORMATS)]
        data = bytearray(whole[kind])
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(0, min(len(data), 300))] = rng.integers(0, 256)
        if number % 3 == 0:
            del data[rng.integers(0, len(data)) :]
        yield f"damaged-{number}.{kind}", bytes(data)


def bombs() -> dict[str, bytes]:
    """Small files that would unpack to more than the reader takes."""
    return {
        "square.png": png(13000, 13000, 8, 0),
        "tall.png": png(1, 40_000_000, 8, 0),
        "wide.png": png(40_000_000, 1, 8, 0),
        "endless.png": png(2**31 - 1, 2**31 - 1, 8, 0),
        "large.png": png(9000, 9000, 1, 0, bytes(9000 * 1126)),
    }
