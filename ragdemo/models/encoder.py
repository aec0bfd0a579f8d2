"""A CLIP-class encoder of open_clip behind `JointEncoder`; names are open_clip's own.

A folder for `local-dir:FOLDER` holds `open_clip_config.json`, `open_clip_model.safetensors` (fp16 or fp32),
`tokenizer.json` and `tokenizer_config.json`. Its configuration must set `text_cfg.hf_tokenizer_name`, to any word:
open_clip then reads the tokenizer from the folder itself; without the key it takes CLIP's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors import SafetensorError

from ragdemo.errors import UserError
from ragdemo.files import without_folders
from ragdemo.profiles import Spec

LOCAL = "local-dir:"
HUB = "hf-hub:"
CONFIG_FILE = "open_clip_config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)
READ_BYTES = 1 << 20
BATCH = 64

Item = TypeVar("Item")


class OpenClipEncoder:
    """`JointEncoder` over one open_clip model; weights are cast to float32 and stay on `device`."""

    def __init__(
        self,
        model: torch.nn.Module,
        preprocess: Callable[[Image.Image], torch.Tensor],
        tokenize: Callable[[list[str]], torch.Tensor],
        fingerprint: str,
    ) -> None:
        self._model = model
        self._preprocess = preprocess
        self._tokenize = tokenize
        self._fingerprint = fingerprint
        self._device = next(model.parameters()).device

    @property
    def fingerprint(self) -> str:
        """sha256 over weights, configuration and tokenizer, as hex."""
        return self._fingerprint

    @torch.inference_mode()
    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """float32 `(N, D)`, unit norm; images of any size and mode."""
        rows = []
        for batch in _batches(images):
            pixels = torch.stack([self._preprocess(image.convert("RGB")) for image in batch])  # (B, 3, H, W)
            rows.append(self._model.encode_image(pixels.to(self._device), normalize=True))
        return self._stack(rows)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """float32 `(N, D)`, unit norm; text beyond the context length is cut."""
        rows = []
        for batch in _batches(texts):
            tokens = self._tokenize(list(batch)).to(self._device)  # (B, context)
            rows.append(self._model.encode_text(tokens, normalize=True))
        return self._stack(rows)

    def _stack(self, rows: list[torch.Tensor]) -> np.ndarray:
        if not rows:
            return np.zeros((0, self._width()), np.float32)
        return torch.cat(rows).float().cpu().numpy()

    def _width(self) -> int:
        return int(self._model.encode_text(self._tokenize([""]).to(self._device)).shape[1])


def load_encoder(spec: Spec, device: str = "auto") -> OpenClipEncoder:
    """The encoder of a spec: its weights are a local folder or a hub id. It stays on the CPU."""
    prefix = LOCAL if Path(spec.weights).is_absolute() else HUB
    return open_encoder(f"{prefix}{spec.weights}", "cpu")


def open_encoder(name: str, device: str = "cpu") -> OpenClipEncoder:
    """The encoder of an open_clip name: `local-dir:FOLDER` or `hf-hub:OWNER/NAME`.

    Raises `UserError` if the name has neither form, or if the folder lacks a file or holds a damaged one.
    """
    if name.startswith(LOCAL):
        check_folder(Path(name.removeprefix(LOCAL)))
    elif not name.startswith(HUB):
        raise UserError(f"The encoder {name!r} is not known; name it as {LOCAL}FOLDER or {HUB}OWNER/NAME.")
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            name, device=device, precision="fp32", require_pretrained=True
        )
        tokenize = open_clip.get_tokenizer(name)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        shown = Path(name.removeprefix(LOCAL)).name if name.startswith(LOCAL) else name
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"The encoder {shown} cannot be loaded ({without_folders(reason)}); train or download it again."
        ) from error
    return OpenClipEncoder(model.eval(), preprocess, tokenize, encoder_fingerprint(name, model))


def encoder_fingerprint(name: str, model: torch.nn.Module) -> str:
    """The fingerprint of an encoder: of a local folder's files, or of what was loaded from the hub."""
    is_local = name.startswith(LOCAL)
    return (
        _folder_fingerprint(Path(name.removeprefix(LOCAL))) if is_local else _model_fingerprint(name, model)
    )


def check_folder(folder: Path) -> None:
    """Raise `UserError` if a `local-dir:` folder lacks a file, or would make open_clip take CLIP's own tokenizer."""
    needed = [folder / name for name in (CONFIG_FILE, *TOKENIZER_FILES[:2])]
    missing = [path.name for path in needed if not path.is_file()]
    if missing or not weight_files(folder):
        lacking = ", ".join(missing or ["weights (*.safetensors)"])
        raise UserError(
            f"The encoder folder {folder.name} lacks {lacking}; train or download the encoder again."
        )
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        tokenizer = config["model_cfg"]["text_cfg"].get("hf_tokenizer_name")
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder.name}/{CONFIG_FILE} is damaged; train or download the encoder again."
        ) from error
    if not tokenizer:
        raise UserError(
            f"{folder.name}/{CONFIG_FILE} names no text_cfg.hf_tokenizer_name; set it to 'local'."
        )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, by name; open_clip prefers `open_clip_model.safetensors`."""
    return sorted(folder.glob("*.safetensors"))


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]  # the last one is shorter and counts as well


def _folder_fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    named = [folder / name for name in (CONFIG_FILE, *TOKENIZER_FILES)]
    for path in [path for path in named if path.is_file()] + weight_files(folder):
        stamp = path.stat()
        digest.update(f"{path.name}\0{_file_sha256(path, stamp.st_mtime_ns, stamp.st_size)}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _file_sha256(path: Path, mtime_ns: int, size: int) -> str:
    """Hex sha256 of a file; time and size are part of the cache's key, so a file written anew is read anew."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _model_fingerprint(name: str, model: torch.nn.Module) -> str:
    digest = hashlib.sha256(name.encode())
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key}{tuple(tensor.shape)}".encode())
        digest.update(tensor.float().cpu().numpy().tobytes())
    return digest.hexdigest()
