"""`library patches`: what AR-RAG needs of a whole library, computed once."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from ragdemo.profiles import PROFILES, get_profile

if TYPE_CHECKING:
    from ragdemo.library.vectors import Embedded


def add_patches(tasks: Any) -> None:
    """Declare `library patches`."""
    patches = tasks.add_parser(
        "patches", help="encode every picture for AR-RAG and make its patches searchable"
    )
    patches.add_argument("--library", default="pocket", help="a library's name or folder")
    patches.add_argument("--profile", default="pocket", help=f"whose tokenizer; one of {', '.join(PROFILES)}")
    patches.add_argument("--device", default="auto")
    patches.add_argument(
        "--graph", action="store_true", help="also build the approximate search, and say how much it finds"
    )
    patches.set_defaults(command=_patches)


def _patches(options: argparse.Namespace) -> None:
    get_profile(options.profile).spec("autoregressive")
    from ragdemo.library.catalogue import Catalogue
    from ragdemo.methods.ar_rag.datastore import build_datastore, codes_folder, library_patches
    from ragdemo.methods.ar_rag.index import EXACT_LIMIT, build_graph, recall
    from ragdemo.methods.ar_rag.patches import ExactSearch
    from ragdemo.models.base import AUTOREGRESSIVE
    from ragdemo.models.registry import Models

    library = Catalogue(allow_paths=True).open(options.library)
    tokenizer = Models(get_profile(options.profile), options.device).get(AUTOREGRESSIVE).tokenizer
    start = time.perf_counter()
    build_datastore(library, tokenizer, _say)
    seconds = time.perf_counter() - start
    patches = library_patches(library, tokenizer)
    keys = patches.keys.element_size() * patches.keys.nelement()
    print(
        f"{len(patches.ids):,} pictures, {len(patches):,} patches: {patches.grids.nbytes / 1e6:.1f} MB of codes "
        f"on disk, {keys / 1e6:.1f} MB of keys in memory, {seconds:.1f} s"
    )
    searched = library_patches(library, tokenizer, library.searched_split)
    exact = ExactSearch(searched, tokenizer.codebook)
    sample = searched.keys.T[:: max(len(searched) // 200, 1)].long()
    print(f"exact search of {len(searched):,}: {_milliseconds(exact, sample):.2f} ms a code")
    if options.graph or len(searched) > EXACT_LIMIT:
        start = time.perf_counter()
        graph = build_graph(searched, tokenizer.codebook, codes_folder(library, tokenizer))
        print(
            f"graph: built in {time.perf_counter() - start:.0f} s, {_milliseconds(graph, sample):.2f} ms a code, "
            f"recall@64 {recall(graph, exact, sample, 64):.3f}"
        )


def _say(progress: Embedded) -> None:
    print(f"{progress.done:,} of {progress.total:,} pictures", file=sys.stderr)


def _milliseconds(search: Any, keys: Any) -> float:
    start = time.perf_counter()
    for key in keys:
        search.nearest(key, 64, 0)
    return 1000 * (time.perf_counter() - start) / len(keys)
