"""HTML from templates: the environment that they share, its filters, and a run's chapters."""

from __future__ import annotations

import base64
import io
import logging
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from ragdemo.events import Counterfactual, Result
from ragdemo.files import slug
from ragdemo.recipe import png_with_recipe
from ragdemo.ui.gains import carries_the_name, concluded, gained
from ragdemo.ui.story import Phase, Story, chapter_states
from ragdemo.ui.vocabulary import GLUE_WORDS
from ragdemo.vocabulary import plural

if TYPE_CHECKING:
    from ragdemo.methods.chapters import Chapter

_TEMPLATES = Path(__file__).parent / "templates"
_SHOWN_SIDE = 512
_LOG = logging.getLogger(__name__)


def render(template: str | Path, **values: Any) -> Markup:
    """A template with values; a name is one of the page's own, a path one of a method's."""
    return Markup(_environment().get_template(str(template)).render(**values))


def render_chapters(story: Story, chapters: Sequence[Chapter], place: str) -> Markup:
    """The chapters of one place, those of the row numbered."""
    states = chapter_states(story, chapters)
    here = [chapter for chapter in chapters if chapter.place == place]
    numbered = enumerate(here, 1) if place == "row" else ((0, chapter) for chapter in here)
    shown = Markup("").join(_chapter(story, one, states[one.name], number) for number, one in numbered)
    return Markup('<div class="chapters {}">{}</div>').format(place, shown) if shown else shown


def _chapter(story: Story, chapter: Chapter, state: str, number: int) -> Markup:
    values = {"run": story, "chapter": chapter, "number": number}
    try:
        template = _environment().get_template(str(chapter.template))
        content = template.make_module({"run": story, "state": state})
        body = Markup(str(content).strip())
    except Exception:  # noqa: BLE001 (whatever a method's template does: the rest of the page is fine)
        _LOG.exception("The chapter %r cannot be shown.", chapter.name)
        return render("chapter.html", **values, state="broken", body="", aside="")
    if not body and not number:
        return Markup("")
    exported = {"state": state, "aside": ""} | {
        name: value for name in ("state", "aside") if (value := getattr(content, name, None)) is not None
    }
    return render("chapter.html", **values, **exported, body=body)


def announcement(story: Story, chapters: Sequence[Chapter]) -> str:
    """One line on the run as a whole."""
    if story.phase is Phase.RUNNING and story.last(Result):
        return "Drawing the counterfactuals …"
    if story.phase is Phase.RUNNING and not story.message:
        states = chapter_states(story, chapters)
        active = next((chapter for chapter in chapters if states[chapter.name] == "active"), None)
        return f"{active.doing} …" if active else "Finishing …"
    if story.recorded and not story.message and not story.last(Counterfactual):
        return "Recorded earlier; Run draws it anew."
    return story.message or {Phase.DONE: "Done.", Phase.STOPPED: "Stopped."}.get(story.phase, "")


def download(story: Story) -> str:
    """The result as a link to a file that carries its recipe; empty if there is none."""
    result = story.last(Result)
    if result is None:
        return ""
    asked = result.recipe.request
    png = png_with_recipe(result.image, result.recipe)
    return render("download.html", png=png, prompt=asked.prompt, seed=asked.seed)


def picture(image: Image.Image, alt: str, side: int = _SHOWN_SIDE) -> Markup:
    """An `<img>` that carries its pixels, at most `side` of them on its longer edge.

    For looking only: the download is a PNG with its recipe.
    """
    scale = min(1.0, side / max(image.size))
    width, height = (max(1, round(edge * scale)) for edge in image.size)
    return Markup('<img src="{}" alt="{}" width="{}" height="{}">').format(
        data_url(image, side), alt, width, height
    )


def data_url(image: Image.Image, side: int = _SHOWN_SIDE) -> str:
    """The pixels of an image as a URL, at most `side` on its longer edge."""
    shown = image.convert("RGB")
    shown.thumbnail((side, side))
    return _webp_url(shown.size, shown.tobytes())


# Encoded while the models work: a third of the encoder's time for a fifth more bytes.
@lru_cache(maxsize=64)  # a run is shown again at each of its events, mostly with the same pictures
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


def marked(text: str, spans: Sequence[str]) -> Markup:
    """`text` as HTML with the spans inside `<mark>`."""
    return Markup("").join(
        Markup("<mark>{}</mark>").format(piece) if hit else escape(piece)
        for piece, hit in mark_spans(text, spans)
    )


def duration(seconds: float) -> str:
    """A duration for people: "9 ms", "1.3 s"."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.1f} s"


def _patterns(text: str, span: str) -> list[str]:
    words = span.split()
    candidates = [r"\s+".join(map(re.escape, words))] if words else []
    candidates += [re.escape(word) for word in words if word.lower() not in GLUE_WORDS]
    bounded = [rf"(?<!\w){candidate}(?!\w)" for candidate in candidates]
    found = [pattern for pattern in bounded if re.search(pattern, text, re.IGNORECASE)]
    # the whole span, if it is there; its words otherwise
    return found[:1] if found and found[0] == bounded[0] else found


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "picture": picture,
        "data_url": data_url,
        "marked": marked,
        "duration": duration,
        "slug": slug,
        "gained": gained,
        "concluded": concluded,
        "carries_the_name": carries_the_name,
        "plural": plural,
        "stem": lambda name: PurePath(name).stem,
        "base64": lambda data: base64.b64encode(data).decode("ascii"),
    }
    environment.globals["ui"] = environment.get_template("macros.html").module
    return environment


def _source(name: str) -> tuple[str, str, None]:
    path = Path(name) if Path(name).is_absolute() else _TEMPLATES / name
    return path.read_text(encoding="utf-8"), str(path), None
