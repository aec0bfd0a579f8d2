"""Any transformers image-text-to-text model with a chat template behind `VisionCritic`."""

from __future__ import annotations

import torch
import transformers
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from ragdemo.models.base import VisionCritic
from ragdemo.models.endpoint import PREFIX, load_endpoint
from ragdemo.models.loading import choose_device, number_format, reading
from ragdemo.profiles import Spec

MAX_NEW_TOKENS = 64


class TransformersCritic:
    """Asks one question in one user turn; the reply's text comes back without special tokens."""

    def __init__(self, model: torch.nn.Module, processor: transformers.ProcessorMixin) -> None:
        """`model` and `processor` belong to one checkpoint, which has a chat template."""
        self._model = model.eval()
        self._processor = processor

    def ask(
        self, question: str, image: Image.Image | None, *, temperature: float = 0.0, seed: int = 0
    ) -> str:
        """See `VisionCritic.ask`; at most 64 tokens."""
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": _content(question, image)}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._model.device, self._model.dtype)
        tokens = self._generate(inputs, temperature, seed)
        return self._processor.decode(
            tokens[inputs["input_ids"].shape[1] :], skip_special_tokens=True
        ).strip()

    def _generate(self, inputs: transformers.BatchFeature, temperature: float, seed: int) -> torch.Tensor:
        """Token ids `(T,)` of question and reply."""
        sampling = (
            {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
        )
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        # `generate` draws from the global generator: fork it, so that a seed here changes nothing elsewhere
        with torch.random.fork_rng(devices), torch.inference_mode():
            torch.manual_seed(seed)
            return self._model.generate(**inputs, **sampling, max_new_tokens=MAX_NEW_TOKENS)[0]


def load_critic(spec: Spec, device: str = "auto") -> VisionCritic:
    """The critic of a folder or hub id on `device`, from local files only, or the endpoint's of `openai:MODEL`.

    Raises `UserError` if the folder is missing or damaged, or no endpoint is named.
    """
    if spec.weights.startswith(PREFIX):
        return load_endpoint(spec.weights)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    target = choose_device(device)
    with reading(spec.weights, spec.remedy):
        model = AutoModelForImageTextToText.from_pretrained(
            spec.weights, dtype=number_format(target, spec), revision=spec.revision, local_files_only=True
        ).to(target)
        processor = AutoProcessor.from_pretrained(spec.weights, revision=spec.revision, local_files_only=True)
    return TransformersCritic(model, processor)


def _content(question: str, image: Image.Image | None) -> list[dict]:
    text = {"type": "text", "text": question}
    return [text] if image is None else [{"type": "image", "image": image.convert("RGB")}, text]
