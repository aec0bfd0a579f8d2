"""What a run gained, in one line each: of the result beside the draft, and of the reference beside other seeds.

The oracle's checks say it; a method is never told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ragdemo.events import Check, Counterfactual, Draft, Reference, References, Result
from ragdemo.profiles import PROFILES
from ragdemo.vocabulary import read_vocabulary

if TYPE_CHECKING:
    from ragdemo.request import Request
    from ragdemo.ui.story import Story

OTHER_SEED = "another seed"


def gained(run: Story) -> str:
    """How many checks hold before and after, and which are new; or why none is. Empty before the oracle has looked."""
    draft, result = run.last(Draft), run.last(Result)
    before = run.checks(draft) if draft else ()
    after = run.checks(result) if result else ()
    if run.stays and not run.approved:
        return ""  # there is nothing to gain where the models cannot know what is right
    if not before or [check.name for check in before] != [check.name for check in after]:
        return ""
    pairs = list(zip(before, after, strict=True))
    won = [new.name for old, new in pairs if new.shown and not old.shown]
    lost = [new.name for old, new in pairs if old.shown and not new.shown]
    counts = f"{_count(before)} → {_count(after)}"
    if won or lost:
        parts = [", ".join(won), f"lost: {', '.join(lost)}" if lost else ""]
        return f"{counts}: {'; '.join(filter(None, parts))}"
    return f"{counts}: {_why_nothing(run, before)}"


def concluded(run: Story) -> str:
    """Whether it is the retrieval, in one sentence over the other seeds; empty before they are all looked at."""
    result = run.last(Result)
    others = [one for one in run.all(Counterfactual) if one.name == OTHER_SEED]
    looked = [run.checks(one) for one in others]
    if result is None or not others or not all(looked) or not run.checks(result):
        return ""
    right = sum(map(_is_right, looked))
    with_it = "right with it" if _is_right(run.checks(result)) else "and not right with it either"
    return f"Right in {right} of {len(others)} without the reference, {with_it}."


def carries_the_name(reference: Reference, request: Request) -> bool | None:
    """Whether a picture's caption has a name that the prompt asks for; None if the models know no closed vocabulary."""
    profile = PROFILES.get(request.profile)
    if profile is None or profile.vocabulary is None:
        return None
    return read_vocabulary(profile.vocabulary).is_named(request.prompt, reference.caption)


def _is_right(checks: Sequence[Check]) -> bool:
    """Whether the thing that was asked for is there: its name, which asks for all of its look, else every check."""
    named = [check.shown for check in checks if " " in check.name]
    return all(named or (check.shown for check in checks))


def _count(checks: Sequence[Check]) -> str:
    return f"{sum(check.shown for check in checks)} of {len(checks)}"


def _why_nothing(run: Story, before: Sequence[Check]) -> str:
    found = run.last(References)
    if all(check.shown for check in before):
        return "the draft had everything"
    if run.approved:
        return "the critic missed nothing, so nothing was looked up"
    if found is None or not found.used:
        return "no reference was used"
    assert run.request is not None
    if not any(carries_the_name(one, run.request) in (True, None) for one in found.used):
        return "the reference shows something else"
    return "the generator did not take the reference's look over"
