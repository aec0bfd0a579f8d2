"""A small library for tests: coloured pictures, and an encoder that sees nothing but their colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ragdemo.library.store import Library, NewImage, write_library

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (40, 70, 220), "yellow": (230, 210, 40)}


class ColourEncoder:
    """A `JointEncoder` from colours: deterministic, counts what it embeds, and can fail after `patience` images."""

    def __init__(self, version: str = "1", patience: int | None = None) -> None:
        self.fingerprint = f"colours-{version}".ljust(64, "0")
        self.images_seen = 0
        self.batches: list[int] = []
        self._patience = patience

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Mean colour of the four quarters of each image, centred, `(N, 12)`."""
        if self._patience is not None and self.images_seen + len(images) > self._patience:
            raise KeyboardInterrupt
        self.images_seen += len(images)
        self.batches.append(len(images))
        quarters = [np.asarray(image.convert("RGB").resize((2, 2), Image.Resampling.BOX)) for image in images]
        return _unit(np.stack(quarters).reshape(len(images), 12))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """The mean of the colours that a text names, grey where it names none, `(N, 12)`."""
        named = [
            [rgb for name, rgb in COLOURS.items() if name in text] or [(120, 130, 128)] for text in texts
        ]
        return _unit(np.stack([np.tile(np.mean(colours, axis=0), 4) for colours in named]))


def picture(seed: int, colour: str = "red", size: int = 32) -> Image.Image:
    """A noisy square of one colour."""
    noise = np.random.default_rng(seed).normal(0, 40, (size, size, 3)) + np.random.default_rng(seed).normal(
        0, 25, 3
    )
    return Image.fromarray(np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8))


def new_images(count: int) -> list[NewImage]:
    """Captioned pictures, colours in turn, the last quarter in the split "eval"."""
    names = list(COLOURS)
    return [
        NewImage(
            id=f"image-{number:03}",
            caption=f"a {names[number % 4]} square number {number}",
            image=picture(number, names[number % 4]),
            extra={"split": "eval" if number >= count * 3 // 4 else "train", "colour": names[number % 4]},
        )
        for number in range(count)
    ]


def write_small_library(folder: Path, count: int = 20) -> Library:
    """A library of `count` pictures in `folder`."""
    return write_library(folder, "small", new_images(count))


def _unit(vectors: np.ndarray) -> np.ndarray:
    centred = vectors.astype(np.float32) - 128
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)
