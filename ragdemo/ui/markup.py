"""Small pieces of safe HTML: escaped text, inline pictures, marked spans."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Sequence
from functools import lru_cache

from PIL import Image

from ragdemo.ui.vocabulary import GLUE_WORDS

# Gradio's HTML component runs its own templates ("{{…}}", "${…}", "@children"): those characters are text here.
_TEMPLATE_CHARACTERS = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "@": "&#64;", "`": "&#96;"})
_SHOWN_SIDE = 512


def escape(text: str) -> str:
    """Text from a person, a model or a caption, safe in HTML content and in quoted attributes."""
    return html.escape(text, quote=True).translate(_TEMPLATE_CHARACTERS)


def picture(image: Image.Image, alt: str, side: int = _SHOWN_SIDE) -> str:
    """An `<img>` that carries its pixels, at most `side` of them on its longer edge.

    For looking only: the download is a PNG with its recipe.
    """
    scale = min(1.0, side / max(image.size))
    width, height = (max(1, round(edge * scale)) for edge in image.size)
    return f'<img src="{data_url(image, side)}" alt="{escape(alt)}" width="{width}" height="{height}">'


def data_url(image: Image.Image, side: int) -> str:
    """The pixels of an image as a URL, at most `side` on its longer edge."""
    shown = image.convert("RGB")
    shown.thumbnail((side, side))
    return _webp_url(shown.size, shown.tobytes())


# Told while the models work: a third of the encoder's time for a fifth more bytes.
@lru_cache(maxsize=64)  # a story is told again at each of its events, mostly with the same pictures
def _webp_url(size: tuple[int, int], pixels: bytes) -> str:
    buffer = io.BytesIO()
    Image.frombytes("RGB", size, pixels).save(buffer, format="WEBP", quality=92, method=0)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def mark_spans(text: str, spans: Sequence[str]) -> list[tuple[str, bool]]:
    """`text` cut into pieces with whether each belongs to one of `spans`; joined again they are `text`.

    A span that does not stand in the text as a whole marks those of its words that do.
    """
    patterns = [pattern for span in spans for pattern in _patterns(text, span)]
    if not patterns:
        return [(text, False)] if text else []
    pieces = re.split(f"({'|'.join(patterns)})", text, flags=re.IGNORECASE)
    return [(piece, index % 2 == 1) for index, piece in enumerate(pieces) if piece]


def marked(text: str, spans: Sequence[str]) -> str:
    """`text` as HTML with the spans inside `<mark>`."""
    return "".join(
        f"<mark>{escape(piece)}</mark>" if hit else escape(piece) for piece, hit in mark_spans(text, spans)
    )


def plain(text: str) -> str:
    """A paragraph of the page's own words."""
    return f'<p class="plain">{escape(text)}</p>'


def quote(text: str, asked: str) -> str:
    """A model's own words, with what it was asked."""
    return f'<blockquote dir="auto" title="{asked}">“{escape(text.strip())}”</blockquote>'


def duration(seconds: float) -> str:
    """A duration for people: "9 ms", "1.3 s"."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.1f} s"


def _patterns(text: str, span: str) -> list[str]:
    words = span.split()
    candidates = [r"\s+".join(map(re.escape, words))] if words else []
    candidates += [re.escape(word) for word in words if word.lower() not in GLUE_WORDS]
    bounded = [rf"(?<!\w){candidate}(?!\w)" for candidate in candidates]
    found = [pattern for pattern in bounded if re.search(pattern, text, re.IGNORECASE)]
    # The whole span, where it is there; its words otherwise.
    return found[:1] if found and found[0] == bounded[0] else found
