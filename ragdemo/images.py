"""The one reader of pictures that come from outside, and pictures as bytes.

A file may be damaged, huge once unpacked, or no picture at all. Format and size are checked before anything is decoded,
and whatever a library raises on the way becomes a `UserError` of one sentence that names the file without its folder.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import os
import stat
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from ragdemo.errors import UserError
from ragdemo.files import shown_name

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = frozenset(".avif .bmp .gif .jpeg .jpg .png .ppm .tif .tiff .webp".split())
LONGEST_SIDE = 1024
MAX_PIXELS = 64_000_000  # a camera's JPEG has fewer, and is decoded at a fraction of its size
MAX_WHOLE_PIXELS = 36_000_000  # of other formats: some hundred bytes may unpack to half a gigabyte
MAX_ASPECT = 64
MAX_BYTES = 200_000_000
MAX_DATA_URL = 48_000_000  # characters
DATA_URL_START = "data:image/"
_DEEP_MODES = (
    "I",
    "I;16",
    "I;16B",
    "I;16L",
    "I;16N",
    "F",
)  # Pillow clips these to 8 bit instead of scaling them
_PNG_START = b"\x89PNG\r\n\x1a\n"
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# The limits here are narrower than those that Pillow warns about, and damaged metadata is ignored.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


class _UndecodableError(UserError):
    """The decoder failed."""


def read_image(
    source: str | Path | bytes,
    name: str | None = None,
    *,
    longest_side: int = LONGEST_SIDE,
    shortest_side: int = 1,
) -> Image.Image:
    """A picture as 8-bit RGB: upright, on white where transparent, its longer side at most `longest_side` pixels.

    `source` is a file or its bytes; `name` stands in messages instead of the file's own. The first frame of an
    animation counts; 16-bit, 32-bit and float values are scaled to 8 bit. Raises `UserError` if the file is no
    picture, is damaged, has a side below `shortest_side`, more than `MAX_PIXELS` (`MAX_WHOLE_PIXELS` if it is no JPEG),
    or one side over `MAX_ASPECT` times the other.
    """
    label = _label(source, name)
    data = _bytes_of(source, label)

    def read(data: bytes) -> Image.Image:
        with checked_image(data, label, shortest_side=shortest_side) as image:
            image.draft("RGB", (longest_side, longest_side))  # a JPEG is decoded at a fraction of its size
            image.load()
            turn = _TURNS.get(_orientation(image))
            pixels = _to_rgb(image if turn is None else image.transpose(turn), longest_side)
            pixels.info = {}  # what a file said beside its pixels goes no further
            return pixels

    try:
        return read(data)
    except _UndecodableError:
        bare = _without_metadata(data)
        if bare == data:
            raise
    return read(bare)


@contextmanager
def checked_image(
    source: str | Path | bytes,
    name: str | None = None,
    *,
    formats: Sequence[str] = FORMATS,
    shortest_side: int = 1,
) -> Iterator[Image.Image]:
    """A picture that is opened and has passed the checks of `read_image` but is not decoded yet.

    What decoding it raises within the block becomes a `UserError` too.
    """
    label = _label(source, name)
    data = _bytes_of(source, label)
    try:
        with Image.open(io.BytesIO(data), formats=_available(formats)) as image:
            _check_sides(
                label, image.size, MAX_PIXELS if image.format == "JPEG" else MAX_WHOLE_PIXELS, shortest_side
            )
            yield image
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(f"{label} has over {MAX_PIXELS:,} pixels; make it smaller.") from error
    except Exception as error:  # decoders raise errors of any class on strange files
        kinds = "PNG, JPEG or WebP" if formats is FORMATS else " or ".join(formats)
        raise _UndecodableError(f"{label} cannot be read; choose a {kinds} file.") from error


def image_sha256(image: Image.Image) -> str:
    """Hex sha256 of a picture's mode, size and pixels: the same however a file encodes them."""
    digest = hashlib.sha256(f"{image.mode} {image.width}x{image.height} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def encode_png(image: Image.Image) -> bytes:
    """A picture as a PNG file without metadata."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def data_url(image: Image.Image) -> str:
    """A picture as a `data:` URL that holds a PNG."""
    return png_url(encode_png(image))


def png_url(png: bytes) -> str:
    """A PNG file as a `data:` URL."""
    return f"{DATA_URL_START}png;base64,{base64.b64encode(png).decode()}"


def from_data_url(url: str, name: str | None = None, *, longest_side: int = LONGEST_SIDE) -> Image.Image:
    """The picture that a `data:` URL holds, as `read_image` reads it; raises `UserError` if it holds none."""
    label = _label(b"", name)
    if len(url) > MAX_DATA_URL:
        raise UserError(
            f"{label} is larger than {MAX_DATA_URL // 1_000_000} MB as a data URL; make it smaller."
        )
    header, _, text = url.partition(",")
    if not header.startswith(DATA_URL_START) or not header.endswith(";base64"):
        raise UserError(f"{label} is not a data URL of a picture; begin it with {DATA_URL_START}png;base64,.")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise UserError(f"{label} is damaged base64; encode the picture again.") from error
    return read_image(data, label, longest_side=longest_side)


def _label(source: str | Path | bytes, name: str | None) -> str:
    return shown_name(name or ("" if isinstance(source, bytes) else source)) or "The picture"


def _bytes_of(source: str | Path | bytes, label: str) -> bytes:
    if isinstance(source, bytes):
        data = source
    else:
        try:
            if not stat.S_ISREG(os.stat(source).st_mode):  # a pipe or a device may never end
                raise UserError(f"{label} is not an ordinary file; choose another.")
            with open(source, "rb") as file:
                data = file.read(MAX_BYTES + 1)
        except UserError:
            raise
        except (OSError, ValueError) as error:  # ValueError: a null byte or a lone surrogate in the path
            reason = error.strerror if isinstance(error, OSError) else "its name is not valid"
            raise UserError(f"{label} cannot be read ({reason}); choose another file.") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{label} has over {MAX_BYTES // 1_000_000} MB; make it smaller.")
    return data


def _available(formats: Sequence[str]) -> list[str]:
    Image.init()
    return [name for name in formats if name in Image.OPEN]


def _check_sides(label: str, size: tuple[int, int], most_pixels: int, shortest_side: int) -> None:
    if size[0] * size[1] > most_pixels:
        raise UserError(f"{label} has over {most_pixels:,} pixels; make it smaller.")
    if min(size) < shortest_side:
        raise UserError(f"{label} has only {size[0]}×{size[1]} pixels; choose a larger picture.")
    if max(size) > MAX_ASPECT * min(size):
        raise UserError(
            f"{label} has {size[0]}×{size[1]} pixels; crop it to a shape of {MAX_ASPECT}:1 at most."
        )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 if there is none or it cannot be read; no other tag is decoded."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - metadata may be damaged in any way, and the picture is as good without it
        return 1
    return value if isinstance(value, int) else 1


def _without_metadata(data: bytes) -> bytes:
    """A PNG or JPEG file with nothing but what its pixels and orientation need; any other file as it is.

    Pillow gives up a picture for a damaged or very long comment or colour profile.
    """
    if data.startswith(_PNG_START):
        return _PNG_START + b"".join(_png_chunks(data))
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd8" + b"".join(_jpeg_segments(data))
    return data


def _png_chunks(data: bytes) -> Iterator[bytes]:
    start = len(_PNG_START)
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        kind, checksum = data[start + 4 : start + 8], int.from_bytes(data[end - 4 : end], "big")
        is_whole = checksum == zlib.crc32(data[start + 4 : end - 4])
        if kind[:1].isupper() or (kind in (b"tRNS", b"eXIf") and is_whole):  # capitals: the pixels need it
            yield data[start:end]
        start = end


def _jpeg_segments(data: bytes) -> Iterator[bytes]:
    start = 2
    while data[start : start + 1] == b"\xff" and start + 4 <= len(data):
        marker, end = data[start + 1], start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if marker == 0xDA:  # from here on there are pixels
            break
        segment = data[start:end]
        is_comment = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if not is_comment or segment[4:10] == b"Exif\0\0" or (marker == 0xEE and len(segment) >= 16):
            yield segment
        start = end
    yield data[start:]


def _to_rgb(image: Image.Image, longest_side: int) -> Image.Image:
    """A decoded picture as RGB of at most `longest_side`; shrunk first if that saves memory."""
    size = (longest_side, longest_side)
    if image.mode in _DEEP_MODES:
        return _to_grey(image, size).convert("RGB")
    if not image.has_transparency_data:
        return _shrunk(image, "RGB", size)
    layer = _shrunk(image, "RGBA", size)
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _shrunk(image: Image.Image, mode: str, size: tuple[int, int]) -> Image.Image:
    """A picture in a mode and of at most a size; one that has the mode already is not copied whole."""
    converted = image if image.mode == mode else image.convert(mode)
    converted.thumbnail(size)
    return converted.copy()  # without its file


def _to_grey(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Grey values of 16 or 32 bit or floats as 8 bit; a 16-bit value that stands for transparent becomes white.

    White is 65535 in 16 bit. Other values have no fixed white: it is 1, 255 or 65535 if they seem to be made for one of
    these, else they are stretched from the smallest to the largest.
    """
    values = np.asarray(image)
    is_short = values.dtype.itemsize == 2
    if "transparency" in image.info:
        values = np.where(values == image.info["transparency"], 65535, values)
    finite = np.nan_to_num(values.astype(np.float32), copy=False, nan=0, posinf=0, neginf=0)
    small = Image.fromarray(finite)
    small.thumbnail(size)
    grey = np.asarray(small)
    black, white = (0.0, 65535.0) if is_short else _black_and_white(grey)
    return Image.fromarray(np.rint((grey - black) * (255 / (white - black))).clip(0, 255).astype(np.uint8))


def _black_and_white(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    for white in (1.0, 255.0, 65535.0):
        if low >= 0 and white / 16 < high <= white:
            return 0.0, white
    return low, high if high > low else low + 1
