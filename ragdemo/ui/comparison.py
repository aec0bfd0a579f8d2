"""Before and after: the two pictures under a slider and side by side, what to keep of them, and the controls."""

from __future__ import annotations

import base64
import re
from urllib.parse import urlencode

from PIL import Image

from ragdemo.recipe import png_with_recipe
from ragdemo.types import Check, Reference
from ragdemo.ui.markup import data_url, escape, picture, plain, quote
from ragdemo.ui.story import Phase, Story

_MEASURED = "Measured by a classifier that no method ever asks"
_CONTROLS_PREVIEW = (
    "Three controls, on the same prompt: another reference of the same kind, the same wish in words alone, and other "
    "seeds without any reference."
)


def comparison(story: Story) -> str:
    """Draft and result of a story that has both; the result alone where nothing was drafted."""
    if story.result is None or story.approved:
        return ""
    return f'<div class="comparison">{_wipe(story)}<div class="beside">{pair(story)}</div></div>'


def pair(story: Story) -> str:
    """Draft and result side by side, with what the oracle finds in them and the critic's word."""
    if story.result is None:
        return ""
    before, words = "", ""
    if story.draft is not None:
        before = _figure(story.draft.image, "draft", f"Draft: {story.prompt}", story.draft_checks)
    after_title = _after_title(story)
    alt = f"{after_title.capitalize()}: {story.prompt}"
    if story.result_verdict is not None:
        words = quote(story.result_verdict.reply, "critic on the new picture")
    if story.result_checks:
        words += f'<p class="measured">✓ ✗ {_MEASURED.lower()}.</p>'
    return (
        f'<div class="pair">{before}{_figure(story.result.image, after_title, alt, story.result_checks)}</div>'
        f"{_used_names(story.references.used if story.references is not None else ())}{words}"
    )


def keep(story: Story) -> str:
    """What asks for the result as a file, and a link to the run; nothing while it still runs."""
    if story.result is None or story.phase is Phase.RUNNING:
        return ""
    asked = story.result.recipe.request
    link = urlencode({"prompt": asked.prompt, "method": asked.method, "seed": asked.seed})
    return (
        '<p class="keep"><button type="button" class="pressable" data-act="download">Download with recipe</button>'
        f'<button type="button" class="pressable" data-link="{escape(f"?{link}")}">Copy link</button></p>'
    )


def download(story: Story) -> str:
    """The result as a link to a file that carries its recipe; made when asked for, as nobody waits for it before."""
    if story.result is None:
        return ""
    recipe = story.result.recipe
    png = base64.b64encode(png_with_recipe(story.result.image, recipe)).decode("ascii")
    name = _file_name(recipe.request.prompt, recipe.request.seed)
    return f'<a download="{name}" href="data:image/png;base64,{png}">{name}</a>'


def controls(story: Story) -> str:
    """ "Is it the retrieval?": the pictures that answer it, or what they will be."""
    if story.result is None or story.references is None or not story.references.used:
        return ""
    figures = "".join(
        _figure(
            control.image,
            f"<b>{escape(control.title)}</b> {escape(control.text)}",
            control.title,
            control.checks,
        )
        for control in story.controls
    )
    # not `disabled`: that would take the focus from whoever has just pressed it
    disabled = "" if story.can_change_references else ' aria-disabled="true"'
    told = f'<div class="controls">{figures}</div>' if figures else plain(_CONTROLS_PREVIEW)
    return (
        '<section class="check" aria-labelledby="title-check"><div class="ask-check"><h2 id="title-check">'
        f'Is it the retrieval?</h2><button type="button" class="pressable" data-act="check"{disabled}>Check it</button>'
        f"</div>{told}</section>"
    )


def checklist(checks: tuple[Check, ...]) -> str:
    """What the oracle finds in a picture; nothing where nothing was checked."""
    if not checks:
        return ""
    rows = "".join(
        f'<li class="{"shown" if check.shown else "absent"}"><span aria-hidden="true">{"✓" if check.shown else "✗"}'
        f'</span> {escape(check.name)}<span class="unseen">{": shown" if check.shown else ": not shown"}</span></li>'
        for check in checks
    )
    return f'<ul class="checklist" title="{_MEASURED}" aria-label="{_MEASURED}">{rows}</ul>'


def _wipe(story: Story) -> str:
    """The two pictures on top of each other; the range input says where one ends, by mouse, finger or arrow keys."""
    if story.result is None or story.draft is None:
        return ""
    sources = [data_url(image, 512) for image in (story.draft.image, story.result.image)]
    pictures = "".join(f'<img src="{source}" alt="">' for source in sources)
    return (
        f'<div class="wipe">{pictures}<i aria-hidden="true"></i><span>draft</span><span>{_after_title(story)}</span>'
        '<input type="range" min="0" max="100" value="50" aria-label="How much of the draft is shown">'
        '<button type="button" data-enlarge aria-label="Enlarge">⤢</button></div>'
    )


def _figure(image: Image.Image, caption: str, alt: str, checks: tuple[Check, ...] = ()) -> str:
    return f"<figure>{picture(image, alt)}<figcaption>{caption}</figcaption>{checklist(checks)}</figure>"


def _used_names(used: tuple[Reference, ...]) -> str:
    if not used:
        return ""
    captions = " · ".join(f'<em dir="auto">{escape(reference.caption)}</em>' for reference in used)
    return f'<p class="queries">Drawn while looking at {captions}</p>'


def _after_title(story: Story) -> str:
    return "in other words" if story.mode == "rephrase" else "with references"


def _file_name(prompt: str, seed: int) -> str:
    """Made of plain letters, so that nothing typed reaches anybody's disk as a path."""
    name = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:48].strip("-") or "picture"
    return f"{name}-{seed}.png"
