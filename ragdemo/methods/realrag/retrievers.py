"""Normal and Real beside the frozen encoder, behind one interface: the same library and texts, an index each."""

from __future__ import annotations

from pathlib import Path
from weakref import WeakKeyDictionary

from ragdemo.errors import UserError
from ragdemo.library.index import VectorIndex
from ragdemo.library.search import Searcher
from ragdemo.methods.realrag.head import VARIANTS, HeadedEncoder, load_head
from ragdemo.profiles import Spec


class Heads:
    """The trained heads of a folder, `normal` and `real`, as `Retrievers`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: WeakKeyDictionary[Searcher, dict[str, Searcher]] = WeakKeyDictionary()

    def searchers(self, frozen: Searcher) -> dict[str, Searcher | UserError]:
        """A searcher for each head by name; a head that is not there is left out.

        A head moves the frozen encoder's vectors, so no picture is embedded anew. A head that is damaged or belongs to
        another encoder is its error instead: whoever asks for it gets the sentence, and everything else goes on; it is
        read again the next time.
        """
        made = self._made.setdefault(frozen, {})
        found: dict[str, Searcher | UserError] = {}
        for name in VARIANTS:
            if name in made:
                found[name] = made[name]
            elif (self._folder / name).is_dir():
                try:
                    found[name] = made[name] = _headed(frozen, self._folder / name)
                except UserError as error:
                    found[name] = error
        return found


def load_heads(spec: Spec, _device: str = "auto") -> Heads:
    """The heads of a spec; each is read when a library's searchers are made."""
    return Heads(Path(spec.weights))


def _headed(searcher: Searcher, folder: Path) -> Searcher:
    encoder = HeadedEncoder(searcher.encoder, load_head(folder, searcher.encoder.fingerprint))
    matrix = encoder.transform(searcher.index.matrix)
    index = VectorIndex(searcher.index.ids, matrix, searcher.index.unreadable)
    return Searcher(searcher.library, encoder, known_words=searcher.known_words, index=index)
