"""The four chapters of a run as HTML: pure functions of the story, so that they can be read in a test."""

from __future__ import annotations

from ragdemo.ui.cards import evidence_cards, skeleton_cards
from ragdemo.ui.comparison import checklist, comparison, keep
from ragdemo.ui.markup import duration, escape, marked, picture, plain, quote
from ragdemo.ui.ranks import ranks
from ragdemo.ui.story import CHAPTERS, Chapter, Phase, Story, chapter_state

_TITLES: dict[Chapter, str] = {
    "draft": "The draft",
    "missing": "What is missing",
    "evidence": "The evidence",
    "after": "Before and after",
}
_PREVIEWS: dict[Chapter, str] = {
    "draft": "The generator draws the prompt from memory, with no help.",
    "missing": "A vision-language model looks at the draft and names what does not match the prompt.",
    "evidence": "Pictures of the missing thing are looked up in a library of references.",
    "after": "The same prompt and seed once more, now with those pictures to look at.",
}
_DOINGS: dict[Chapter, str] = {
    "draft": "Drawing the draft",
    "missing": "Asking what is missing",
    "evidence": "Searching the library",
    "after": "Drawing again with the references",
}
_REFLECTIVE = {
    _TITLES["missing"]: "What it draws anyway",
    _PREVIEWS[
        "missing"
    ]: "The real picture nearest to the draft is looked up: what the generator draws by itself.",
    _DOINGS["missing"]: "Looking at what it draws anyway",
}
"""How RealRAG's story says it; the retriever was trained to look elsewhere."""
_ANYWAY = (
    "The real picture nearest to the draft: this is what the model would have drawn anyway. The reflective retriever "
    "was trained to look elsewhere."
)
_COMPARED = "The prompt under three retrievers, best first; a line joins the same picture."
_HALTED = "Stopped before this."
_NO_DRAFT = "No draft in this mode: the critic says at once what must be seen."
_NO_SEARCH = "Nothing is looked up: this control only says the prompt in other words."


def draft(story: Story) -> str:
    """Chapter 1: the generator's own picture, or how far it is."""
    if story.draft is None:
        words = plain(_NO_DRAFT) if "draft" in story.skipped else _waiting(story, "draft")
        return _chapter(story, "draft", "", f'<div class="frame void">{words}</div>')
    image = picture(story.draft.image, f"Draft: {story.prompt}")
    aside = "recorded" if story.recorded else duration(story.draft.seconds)
    body = f'<div class="frame">{image}</div>{checklist(story.draft_checks)}'
    return _chapter(story, "draft", aside, body)


def missing(story: Story) -> str:
    """Chapter 2: the prompt with its missing spans marked, and the critic's own words; or the reflection."""
    if story.reflects:
        return _reflection(story)
    lines = []
    if story.verdict is not None or story.missing is not None:
        concepts = story.missing.concepts if story.missing is not None else ()
        lines.append(f'<p class="prompt-line" dir="auto">{marked(story.prompt, concepts)}</p>')
    if story.approved:
        lines.append('<p class="plain">Nothing: the critic finds everything that the prompt asks for.</p>')
    lines += _critic_words(story) + _queries(story)
    if chapter_state(story, "missing") != "done":
        lines.append(_waiting(story, "missing"))
    return _chapter(story, "missing", _critic_aside(story), "".join(lines))


def _reflection(story: Story) -> str:
    """What the generator draws by itself: the real picture nearest to the draft."""
    if story.negative is None:
        return _chapter(story, "missing", "", _waiting(story, "missing"))
    found = story.negative.reference
    body = (
        f'<div class="reflection">{picture(found.image, found.caption, 256)}<div><p class="prompt-line" dir="auto">'
        f"{escape(found.caption)}</p>{plain(_ANYWAY)}</div></div>"
    )
    return _chapter(story, "missing", f"similarity {found.score:.2f}", body)


def evidence(story: Story) -> str:
    """Chapter 3: a card for each reference found."""
    if story.references is not None:
        found = story.references
        aside = f"{found.library_size:,} images searched · {duration(found.seconds)}"
        pinned = story.request.pinned if story.request is not None else ()
        body = evidence_cards(found.used, found.others, pinned if story.can_change_references else None)
        body = (body or plain("The library holds nothing like it.")) + _turned_down(story)
        if story.rankings is not None:
            compared = plain(_COMPARED) + ranks(story.rankings.rankings)
            body = f'<div class="compared">{compared}</div>{body}'
        return _chapter(story, "evidence", aside, body)
    if "evidence" in story.skipped:
        words = "Not needed, so nothing was searched." if story.approved else _NO_SEARCH
        return _chapter(story, "evidence", "", plain(words))
    cards = skeleton_cards() if chapter_state(story, "evidence") == "active" else ""
    return _chapter(story, "evidence", "", cards + _waiting(story, "evidence"))


def after(story: Story) -> str:
    """Chapter 4: before and after, and what to keep."""
    if story.result is None:
        return _chapter(story, "after", "", _waiting(story, "after"))
    if story.approved:
        told = plain("The draft stays as it is: it already shows the prompt.")
        return _chapter(story, "after", "", told + keep(story))
    seed = story.request.seed if story.request is not None else story.result.recipe.request.seed
    took = "recorded" if story.recorded else duration(story.result.seconds)
    return _chapter(story, "after", f"same seed {seed} · {took}", comparison(story) + keep(story))


IN_LINE = '<p class="announce running" role="status">In line for the models …</p>'
"""Said by the browser itself: the server's first word comes only once it is this visitor's turn."""


def announcement(story: Story) -> str:
    """One line on the run as a whole, read out by screen readers as it changes."""
    if story.phase is Phase.FAILED:
        return f'<p class="announce failed" role="alert">{escape(story.message)}</p>'
    active = next((name for name in CHAPTERS if chapter_state(story, name) == "active"), None)
    text = {
        Phase.IDLE: "",
        Phase.RUNNING: story.message
        or (f"{_wording(story, _DOINGS, active)} …" if active else "Finishing …"),
        Phase.STOPPED: "Stopped.",
        Phase.DONE: "Done.",
    }[story.phase]
    running = " running" if story.phase is Phase.RUNNING else ""
    return f'<p class="announce{running}" role="status">{text}</p>'


def _chapter(story: Story, name: Chapter, aside: str, body: str) -> str:
    note = f'<span class="aside">{escape(aside)}</span>' if aside else ""
    return (
        f'<section class="chapter {name} is-{chapter_state(story, name)}" aria-labelledby="title-{name}">'
        f'<span class="badge" aria-hidden="true">{CHAPTERS.index(name) + 1}</span>'
        f'<h2 id="title-{name}">{_wording(story, _TITLES, name)}{note}</h2>{body}</section>'
    )


def _waiting(story: Story, name: Chapter) -> str:
    state = chapter_state(story, name)
    if state == "active":
        return _progress(story, name)
    return plain(_HALTED if state == "halted" else _wording(story, _PREVIEWS, name))


def _wording(story: Story, words: dict[Chapter, str], name: Chapter) -> str:
    """A chapter's words, in the terms of the story's method."""
    return _REFLECTIVE.get(words[name], words[name]) if story.reflects else words[name]


def _progress(story: Story, name: Chapter) -> str:
    progress = story.progress
    if progress is None or progress.total < 1:
        return f'<p class="progress"><span class="meter busy"><i></i></span>{_wording(story, _DOINGS, name)} …</p>'
    share = 100 * progress.step / progress.total
    return (
        f'<p class="progress"><span class="meter" role="progressbar" aria-label="{_DOINGS[name]}" '
        f'aria-valuemin="0" aria-valuemax="{progress.total}" aria-valuenow="{progress.step}">'
        f'<i style="width:{share:.0f}%"></i></span>{_DOINGS[name]} · {progress.step} of {progress.total}</p>'
    )


def _critic_words(story: Story) -> list[str]:
    words = []
    if story.verdict is not None:
        words.append(quote(story.verdict.reply, "asked whether the picture shows the prompt"))
    if story.rephrased is not None:
        words.append(quote(story.rephrased.prompt, "asked to say it without rare words"))
    if story.missing is not None:
        words.append(quote(story.missing.reply, "asked what is missing"))
        if not story.missing.understood:
            words.append(plain(f"That could not be read as a list, after {story.missing.tries} tries."))
    return words


def _queries(story: Story) -> list[str]:
    if story.captions is None:
        return []
    captions = " · ".join(f'<em dir="auto">{escape(caption)}</em>' for caption in story.captions.captions)
    return [f'<p class="queries">Looked up as {captions}</p>'] if captions else []


def _critic_aside(story: Story) -> str:
    seconds = [event.seconds for event in (story.verdict, story.missing, story.captions) if event is not None]
    return f"critic, {duration(sum(seconds))}" if seconds else ""


def _turned_down(story: Story) -> str:
    """The references that the person does not want, with the way back."""
    if story.request is None or not story.request.rejected:
        return ""
    count = len(story.request.rejected)
    button = (
        '<button type="button" data-act="restore" data-id="">take back</button>'
        if story.can_change_references
        else ""
    )
    return f'<p class="turned-down">{count} turned down {button}</p>'
