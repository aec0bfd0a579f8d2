"""The order in which ImageRAG's events may come, as a regular expression over their initials."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ragdemo.events import Event, Progress, References, Result, RetrievalCaptions

_LETTERS = {
    "Draft": "D",
    "Verdict": "V",
    "MissingConcepts": "M",
    "RetrievalCaptions": "C",
    "References": "F",
    "Rephrased": "H",
    "Result": "Z",
}
_ORDERS = {
    "draft": r"DV(MCFV?)*M?Z",
    "personalization": r"DV(MCFV?)*M?Z",
    "generation": r"(MCFV?)+M?Z",
    "rephrase": r"DVH?Z",
}
_STAGES = {
    "D": ("draft",),
    "V": ("critic",),
    "M": ("critic",),
    "C": ("critic",),
    "H": ("critic",),
    "F": ("retrieval",),
}


def assert_grammar(events: Sequence[Event], mode: str = "draft") -> None:
    """Assert the order of events, one caption a concept, and that progress counts up and announces what follows."""
    told = "".join(_LETTERS[type(event).__name__] for event in events if not isinstance(event, Progress))
    assert re.fullmatch(_ORDERS[mode], told), told
    assert isinstance(events[-1], Result)
    before: Progress | None = None
    for event in events:
        if isinstance(event, Progress):
            assert 0 <= event.step <= event.total
            if before is not None and before.stage == event.stage and event.step:
                assert event.step == before.step + 1
            before = event
            continue
        allowed = _STAGES.get(_LETTERS[type(event).__name__])
        assert before is None or allowed is None or before.stage in allowed, (before, event)
        before = None
        if isinstance(event, RetrievalCaptions):
            assert len(event.captions) == len(event.concepts) >= 1
        if isinstance(event, References):
            assert len({reference.id for reference in event.used}) == len(event.used)
            assert not {r.id for r in event.used} & {r.id for r in event.others}
