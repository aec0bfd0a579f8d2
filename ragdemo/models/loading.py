"""What every loader shares: the device, its number format, and one clear sentence for a missing or damaged folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from ragdemo.errors import UserError
from ragdemo.files import without_folders
from ragdemo.profiles import Spec

# What the libraries' own loaders raise on truncated, mixed-up or half-deleted checkpoints.
_DAMAGE = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" is the GPU if there is one. Raises `UserError` for one that is not here."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise UserError(f"There is no device {name!r} here; choose auto, cpu or cuda.") from error
    return device


def number_format(device: torch.device, spec: Spec) -> torch.dtype:
    """The spec's own on a GPU; float32 on a CPU, where half precision is slow and not reproducible."""
    return getattr(torch, spec.dtype) if device.type == "cuda" else torch.float32


@contextmanager
def reading(name: str, remedy: str) -> Iterator[None]:
    """Turn a loader's failure on checkpoint `name` (a folder or a hub id) into a `UserError` that ends in `remedy`.

    Visitors read it: where a folder lies is not said.
    """
    shown = Path(name).name if Path(name).is_absolute() else name
    if shown != name and not Path(name).is_dir():
        raise UserError(f"The checkpoint folder {shown} is missing; {remedy}.")
    try:
        yield
    except (UserError, torch.OutOfMemoryError):
        raise
    except _DAMAGE as error:
        cause = without_folders(" ".join(str(error).split()))[:160]
        raise UserError(
            f"The checkpoint {shown} is damaged or incomplete ({type(error).__name__}: {cause}); {remedy}."
        ) from error
