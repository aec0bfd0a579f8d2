"""The trained part of the retriever: a residual head on a frozen encoder's image features.

A folder holds `head.json` (width, hidden width, the fingerprint of the encoder that it was trained on) and
`head.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ragdemo.errors import UserError
from ragdemo.models.base import ONE_AT_A_TIME, JointEncoder

CONFIG_FILE, WEIGHTS_FILE = "head.json", "head.safetensors"
HIDDEN = 512
VARIANTS = ("normal", "real")  # the folders of the two heads


class ResidualHead(nn.Module):
    """`normalise(x + MLP(x))`; the last layer starts at zero, so an untrained head is the frozen encoder itself."""

    def __init__(self, width: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.width, self.hidden = width, hidden
        self.first, self.last = nn.Linear(width, hidden), nn.Linear(hidden, width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Unit features `(N, D)` to unit features `(N, D)`."""
        return F.normalize(features + self.last(F.gelu(self.first(features))), dim=-1)


class HeadedEncoder:
    """A `JointEncoder` whose pictures pass through a head; its texts are the frozen encoder's own."""

    def __init__(self, encoder: JointEncoder, head: ResidualHead) -> None:
        self._encoder, self._head = encoder, head.eval().cpu()
        weights = b"".join(value.float().numpy().tobytes() for _, value in sorted(head.state_dict().items()))
        self._fingerprint = hashlib.sha256(encoder.fingerprint.encode() + weights).hexdigest()

    @property
    def fingerprint(self) -> str:
        """sha256 over the encoder's fingerprint and the head's weights, as hex."""
        return self._fingerprint

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """float32 `(N, D)`, unit norm."""
        return self.transform(self._encoder.embed_images(images))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """float32 `(N, D)`, unit norm; the head is for pictures alone."""
        return self._encoder.embed_texts(texts)

    @torch.inference_mode()
    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """The frozen encoder's picture vectors `(N, D)` through the head."""
        return self._head(torch.from_numpy(np.ascontiguousarray(vectors, np.float32))).numpy()


def save_head(head: ResidualHead, folder: Path, encoder_fingerprint: str) -> None:
    """Write a head in half precision with the fingerprint of its encoder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"width": head.width, "hidden": head.hidden, "encoder": encoder_fingerprint}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    save_file(
        {k: v.detach().half().cpu().contiguous() for k, v in head.state_dict().items()}, folder / WEIGHTS_FILE
    )


def load_head(folder: Path, encoder_fingerprint: str) -> ResidualHead:
    """The head of a folder; raises `UserError` if it is missing, damaged, or trained on another encoder."""
    remedy = "train it again with `python -m ragdemo train realrag`"
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        with ONE_AT_A_TIME:
            head = ResidualHead(int(config["width"]), int(config["hidden"]))
        head.load_state_dict({k: v.float() for k, v in load_file(folder / WEIGHTS_FILE).items()})
        trained_on = str(config["encoder"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"The retrieval head in {folder} cannot be loaded ({reason}); {remedy}.") from error
    if trained_on != encoder_fingerprint:
        raise UserError(
            f"The retrieval head in {folder} was trained on the encoder {trained_on[:12]}, not on "
            f"{encoder_fingerprint[:12]}; {remedy}."
        )
    return head
