"""A critic behind any OpenAI-compatible endpoint (vLLM, llama.cpp, a hosted service) behind `VisionCritic`.

`OPENAI_BASE_URL` names the endpoint ("http://localhost:8000/v1") and `OPENAI_API_KEY` the key, if it wants one.
"""

from __future__ import annotations

import base64
import io
import os

import httpx
from PIL import Image

from ragdemo.errors import UserError

PREFIX = "openai:"
MAX_TOKENS = 128
TIMEOUT_SECONDS = 120.0


class EndpointCritic:
    """Asks one question in one user turn."""

    def __init__(self, model: str, base_url: str, api_key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._model, self._url = model, f"{base_url.rstrip('/')}/chat/completions"
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT_SECONDS)

    def ask(
        self, question: str, image: Image.Image | None, *, temperature: float = 0.0, seed: int = 0
    ) -> str:
        """See `VisionCritic.ask`; raises `UserError` if the endpoint cannot be reached or does not answer."""
        text = {"type": "text", "text": question}
        content = [text] if image is None else [_image_part(image), text]
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "temperature": temperature,
            "seed": seed,
            "max_tokens": MAX_TOKENS,
        }
        try:
            reply = self._client.post(self._url, json=body).raise_for_status().json()
            return (reply["choices"][0]["message"]["content"] or "").strip()
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            ValueError,
            KeyError,
            IndexError,
            TypeError,
            AttributeError,
        ) as error:
            # a visitor may read this: neither address nor the error's own words, which may hold the key
            status = f" {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else ""
            raise UserError(
                f"The critic {self._model!r} did not answer ({type(error).__name__}{status}); check OPENAI_BASE_URL, "
                "OPENAI_API_KEY and that the server runs."
            ) from error


def load_endpoint(name: str) -> EndpointCritic:
    """The critic of a name `openai:MODEL`; raises `UserError` if no endpoint is named."""
    base_url = os.environ.get("OPENAI_BASE_URL")
    if not base_url:
        raise UserError(
            f"The critic {name!r} needs an endpoint; set OPENAI_BASE_URL, such as http://localhost:8000/v1."
        )
    return EndpointCritic(name.removeprefix(PREFIX), base_url, os.environ.get("OPENAI_API_KEY", "").strip())


def _image_part(image: Image.Image) -> dict[str, object]:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
