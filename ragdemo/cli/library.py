"""`library`: make libraries of one's own pictures, list, show and remove them."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ragdemo.cli.patches import add_patches
from ragdemo.cli.values import path_of, whole_number
from ragdemo.errors import UserError
from ragdemo.profiles import PROFILES, get_profile

if TYPE_CHECKING:
    from ragdemo.library.ingest import Ingested
    from ragdemo.library.store import Library

MOST_NAMED = 20


def add_library(commands: Any) -> None:
    """Declare `library` and its tasks."""
    tasks = commands.add_parser("library", help="make and look after libraries of reference images")
    tasks = tasks.add_subparsers(required=True, metavar="TASK")
    _add_build(tasks)
    listing = tasks.add_parser("list", help="every library there is")
    listing.set_defaults(command=_list)
    show = tasks.add_parser("show", help="what a library contains")
    show.add_argument("library", metavar="NAME", help="a library's name or folder")
    show.add_argument("--verify", action="store_true", help="compare every file with its checksum")
    show.set_defaults(command=_show)
    remove = tasks.add_parser("remove", help="delete one of your libraries and what was computed of it")
    remove.add_argument("library", metavar="NAME")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.set_defaults(command=_remove)
    for one in (listing, show):
        one.add_argument("--json", action="store_true")
    add_patches(tasks)


def _add_build(tasks: Any) -> None:
    build = tasks.add_parser("build", help="make a library of pictures, and embed them")
    build.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder of pictures, a zip archive of one, a parquet file, a data set that was saved by `datasets`, or "
        "the id of a data set of the hub",
    )
    build.add_argument("--name", required=True, help="what every command and the page will call it")
    build.add_argument("--max-side", default="1024", metavar="PIXELS", help="longer sides are shrunk to this")
    build.add_argument("--profile", default="pocket", help=f"whose encoder; one of {', '.join(PROFILES)}")
    build.add_argument(
        "--no-embed", action="store_true", help="leave embedding to the first search, which then takes longer"
    )
    build.add_argument(
        "--allow-download", action="store_true", default=None, help="fetch what is not there from the hub"
    )
    build.set_defaults(command=_build)


def _build(options: argparse.Namespace) -> None:
    from ragdemo.library.catalogue import Catalogue
    from ragdemo.library.hub import downloaded, is_hub_id
    from ragdemo.library.ingest import ingest, made_from
    from ragdemo.library.store import open_library

    max_side = whole_number("max-side", options.max_side, 16, 8192)
    profile = get_profile(options.profile)
    catalogue = Catalogue()
    target = catalogue.new_folder(options.name)
    source = path_of(options.source)
    if is_hub_id(options.source):
        source = downloaded(options.source, options.allow_download)
    if options.name in catalogue.names() and made_from(
        library := open_library(target), source, options.name, max_side
    ):
        print(f"The library {options.name!r} is made of this already.", file=sys.stderr)
    else:
        made = ingest(source, target, options.name, max_side=max_side, progress=_progress("taken in"))
        _name_left_out(made)
        library = made.library
    if not options.no_embed:
        _embed(library, profile.name, options.allow_download)
    print(f"{library.name}: {len(library):,} pictures in {library.folder}")


def _embed(library: Library, profile: str, may_download: bool | None) -> None:
    """Compute what is missing of the vectors and the index, under the encoder of a profile."""
    from ragdemo.library.index import open_index
    from ragdemo.models.base import ENCODER
    from ragdemo.models.downloads import require_downloads
    from ragdemo.models.registry import Models

    require_downloads(get_profile(profile), [ENCODER.name], may_download)
    encoder = Models(get_profile(profile), "auto").get(ENCODER)
    say = _progress("embedded")
    index = open_index(library, encoder, progress=lambda embedded: say(embedded.done, embedded.total))
    for image_id in index.unreadable[:MOST_NAMED]:
        print(f"cannot be read any more: {image_id}", file=sys.stderr)


def _name_left_out(made: Ingested) -> None:
    """What of a source did not come into the library, each file with its reason, as far as a screen holds it."""
    lines = [f"left out: {one.file_name}: {one.reason}" for one in made.skipped]
    lines += [f"same picture as {one.id}: {one.file_name}" for one in made.duplicates]
    if len(lines) > MOST_NAMED:
        from ragdemo.library.building import REPORT_FILE

        rest = f"… and {len(lines) - MOST_NAMED:,} more; {made.library.folder / REPORT_FILE} lists all"
        lines = [*lines[:MOST_NAMED], rest]
    for line in lines:
        print(line, file=sys.stderr)
    if made.skipped or made.duplicates:
        said = f"{len(made.skipped):,} left out, {len(made.duplicates):,} the same as others"
        print(said, file=sys.stderr)


def _list(options: argparse.Namespace) -> None:
    from ragdemo.library.catalogue import Catalogue
    from ragdemo.library.store import SHIPPED

    catalogue, rows = Catalogue(), []
    for name in catalogue.names():
        row: dict[str, Any] = {
            "name": name,
            "shipped": name in SHIPPED,
            "folder": str(catalogue.folder(name)),
        }
        try:
            rows.append(row | {"pictures": len(catalogue.open(name))})
        except UserError as error:
            rows.append(row | {"pictures": None, "fault": str(error)})
    if options.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in rows:
        size = "damaged" if row["pictures"] is None else f"{row['pictures']:,} pictures"
        print(f"{row['name']}  {size}  {'shipped' if row['shipped'] else row['folder']}")


def _show(options: argparse.Namespace) -> int:
    from ragdemo.library.catalogue import Catalogue
    from ragdemo.library.contents import derived_paths

    library = Catalogue(allow_paths=True).open(options.library)
    columns = Counter(name for row in library.rows for name in row.extra)
    shown: dict[str, Any] = {
        "name": library.name,
        "folder": str(library.folder),
        "pictures": len(library),
        "splits": {name: len(library.rows_of(name)) for name in library.splits},
        "columns": dict(columns),
        "fingerprint": library.fingerprint,
        "computed": [str(path) for path in derived_paths(library)],
        "captions": [row.caption for row in library.rows[:5]],
    }
    wrong = _damaged(library) if options.verify else []
    shown |= {"damaged": wrong} if options.verify else {}
    if options.json:
        print(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        for key, value in shown.items():
            print(f"{key}: {_plain(value)}")
    return 2 if wrong else 0


def _damaged(library: Library) -> list[str]:
    """The ids of images whose files are gone or are not what they were."""
    from ragdemo.library.store import file_sha256

    return [row.id for row in library.rows if file_sha256(library.path(row.id)) != row.sha256]


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} ({number:,})" for key, number in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(value) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _remove(options: argparse.Namespace) -> None:
    from ragdemo.library.catalogue import Catalogue

    catalogue = Catalogue()
    folder = catalogue.new_folder(options.library)
    if options.library in catalogue.names() and not options.yes:
        if not sys.stdin.isatty():
            raise UserError(f"The library in {folder} would be deleted; say so with --yes.")
        if input(f"Delete {folder} and all that was computed of it? [y/N] ").strip().lower() not in (
            "y",
            "yes",
        ):
            return
    catalogue.remove(options.library)
    print(f"removed {options.library}")


def _progress(what: str) -> Callable[[int, int], None]:
    """Says how far a task is: on a terminal in one line that changes, else every tenth of it."""
    said: list[int] = []

    def say(done: int, total: int) -> None:
        text = f"{done:,} of {total:,} pictures {what}"
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="\n" if done >= total else "", file=sys.stderr, flush=True)
        elif not said or done >= total or done >= said[-1] + max(total // 10, 1):
            said.append(done)
            print(text, file=sys.stderr, flush=True)

    return say
