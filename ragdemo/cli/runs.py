"""`run` and `search`: a method on a prompt, and a look into a library."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ragdemo.cli.values import parse_columns, parse_seed, parse_settings, path_of, whole_number
from ragdemo.errors import UserError
from ragdemo.events import Event, Progress
from ragdemo.images import SUFFIXES, image_sha256, read_image
from ragdemo.profiles import PROFILES
from ragdemo.request import Choices, ImageRef, Request
from ragdemo.run.base import check_request


def add_run(commands: Any) -> None:
    """Declare `run`."""
    run = commands.add_parser("run", help="draw a prompt with and without retrieval")
    run.add_argument("prompt", metavar="PROMPT")
    run.add_argument("--method", default="imagerag")
    run.add_argument("--seed", default="0", metavar="N")
    run.add_argument("--out", required=True, metavar="DIR")
    run.add_argument("--profile", default="pocket", help=f"one of {', '.join(PROFILES)}")
    run.add_argument("--library", default="pocket", help="a shipped library's name or a library's folder")
    run.add_argument("--device", default="auto")
    run.add_argument(
        "--allow-download",
        action="store_true",
        default=None,
        help="fetch what the profile lacks from the hub",
    )
    run.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the method"
    )
    for name in ("reject", "pin", "own"):
        what = "an image file of yours" if name == "own" else f"a library image to {name}"
        run.add_argument(f"--{name}", action="append", default=[], help=f"{what}; may be repeated")
    run.set_defaults(command=_run)


def add_search(commands: Any) -> None:
    """Declare `search`."""
    search = commands.add_parser("search", help="find library images by words or by a picture")
    search.add_argument("query", metavar="TEXT|IMAGE")
    search.add_argument("--k", default="8", help="how many images")
    search.add_argument("--library", default="pocket", help="a library's name or folder")
    search.add_argument("--profile", default="pocket", help="whose encoder compares words and pictures")
    search.add_argument("--split", help="search only this part of the library, such as eval")
    search.add_argument(
        "--where", action="append", default=[], metavar="KEY=VALUE", help="what a picture's metadata must say"
    )
    search.add_argument("--each", action="store_true", help="one picture of each species or group")
    search.add_argument("--json", action="store_true")
    search.add_argument(
        "--hybrid", action=argparse.BooleanOptionalAction, help="whether captions are searched too (they are)"
    )
    search.set_defaults(command=_search)


def _run(options: argparse.Namespace) -> None:
    own, pictures = own_pictures(options.own)
    request = Request(
        prompt=options.prompt,
        method=options.method,
        seed=parse_seed(options.seed),
        profile=options.profile,
        library=options.library,
        settings=parse_settings(options.set),
        choices=Choices(rejected=tuple(options.reject), pinned=tuple(options.pin), own=own),
    )
    check_request(request)
    from ragdemo.run.inprocess import InProcess
    from ragdemo.run.recorder import AUGMENTED, whole_folder, write_run

    out = path_of(options.out)
    with whole_folder(out) as folder:
        runner = InProcess(
            options.device, options.allow_download, True, profile=options.profile, library=options.library
        )
        write_run([_reported(event) for event in runner.run(request, (), pictures)], folder)
    print(out / AUGMENTED)


def own_pictures(paths: Sequence[str]) -> tuple[tuple[ImageRef, ...], dict[str, Image.Image]]:
    """The pictures of some files, by reference and by content."""
    refs, pictures = [], {}
    for path in paths:
        image = read_image(path)
        refs.append(ImageRef(sha256=image_sha256(image), name=Path(path).name))
        pictures[refs[-1].sha256] = image
    return tuple(refs), pictures


def _reported(event: Event) -> Event:
    """Write a line about the event to stderr and return it; progress rewrites its line on a terminal."""
    stream, clear = sys.stderr, "\r\033[K" if sys.stderr.isatty() else ""
    if not isinstance(event, Progress):
        stream.write(f"{clear}{event.summary}\n")
    elif clear:
        stream.write(f"{clear}{event.summary}")
    elif event.step == event.total:
        stream.write(f"{event.summary}\n")
    stream.flush()
    return event


def _search(options: argparse.Namespace) -> None:
    k = whole_number("k", options.k, 1, 1000)
    from ragdemo.run.inprocess import InProcess

    is_image = os.path.isfile(options.query)  # Path.is_file raises on names that are too long
    names_picture = Path(options.query).suffix.lower() in SUFFIXES
    if not is_image and (os.path.exists(options.query) or names_picture):
        raise UserError(
            f"There is no picture {options.query!r}; name an existing image file, or search by words."
        )
    query: str | Image.Image = read_image(options.query) if is_image else options.query
    runner = InProcess(allow_paths=True)
    found = runner.search(
        query,
        k,
        options.library,
        options.profile,
        hybrid=options.hybrid is not False,
        split=options.split,
        where=parse_columns(options.where),
        one_of_each=options.each,
    )
    rows = [
        {"id": hit.id, "caption": hit.caption, "score": hit.score, "keyword_score": hit.keyword_score}
        for hit in found
    ]
    if options.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in rows:
        keyword = "" if row["keyword_score"] is None else f"  {row['keyword_score']:.2f}"
        print(f"{row['score']:.3f}{keyword}  {row['id']}  {row['caption']}")
