"""What only RealRAG reports."""

from __future__ import annotations

from dataclasses import dataclass

from ragdemo.events import Event, Reference, scored


@dataclass(frozen=True)
class Ranking:
    """What one retriever finds for a query, best first."""

    retriever: str
    references: tuple[Reference, ...]


@dataclass(frozen=True)
class ReflectiveNegative(Event):
    """The real picture nearest to the draft: what the generator draws by itself (RealRAG, section 3.2)."""

    reference: Reference
    seconds: float

    @property
    def summary(self) -> str:
        return f"drawn anyway: {scored(self.reference)}"


@dataclass(frozen=True)
class Rankings(Event):
    """What the retrievers find for the same query, side by side."""

    query: str
    rankings: tuple[Ranking, ...]
    seconds: float

    @property
    def summary(self) -> str:
        return f"first found: {'; '.join(map(_first, self.rankings))}"


def _first(ranking: Ranking) -> str:
    return f"{ranking.retriever} {ranking.references[0].id if ranking.references else 'nothing'}"
