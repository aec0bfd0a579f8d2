"""The command line: each command checks its input first and imports models only then.

Results go to stdout, progress to stderr. Bad input ends with one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ragdemo.backend.base import BackendError, check_request
from ragdemo.profiles import PROFILES
from ragdemo.types import MAX_SEED, Request, UserError, check_prompt, check_seed

STAGES_HELP = "stages to train, in order; all of them where none is named"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence instead of a usage text."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 where it worked, 1 where the models broke, 2 on bad input, 130 where it was interrupted."""
    try:
        options = build_parser().parse_args(arguments)
        options.command(options)
    except UserError as error:
        return _fail(error, 2)
    except BackendError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(prog="python -m ragdemo", description=sys.modules["ragdemo"].__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_search(commands)
    _add_vocabulary(commands)
    _add_world(commands)
    _add_train(commands)
    _add_bench(commands)
    return parser


def _add_run(commands: Any) -> None:
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


def _add_search(commands: Any) -> None:
    search = commands.add_parser("search", help="find library images by words or by a picture")
    search.add_argument("query", metavar="TEXT|IMAGE")
    search.add_argument("--k", default="8", help="how many images")
    search.add_argument("--library", default="pocket")
    search.add_argument("--split", help="search only this part of the library, such as eval")
    search.add_argument("--json", action="store_true")
    search.add_argument(
        "--hybrid", action=argparse.BooleanOptionalAction, help="whether captions are searched too"
    )
    search.set_defaults(command=_search)


def _add_vocabulary(commands: Any) -> None:
    vocabulary = commands.add_parser("vocabulary", help="the words that the pocket world knows")
    vocabulary.add_argument("--json", action="store_true")
    vocabulary.set_defaults(command=_vocabulary)


def _add_world(commands: Any) -> None:
    world = commands.add_parser("world", help="draw the pocket world itself").add_subparsers(
        required=True, metavar="ACTION"
    )
    render = world.add_parser("render", help="what a prompt truly looks like")
    render.add_argument("prompt", metavar="PROMPT")
    render.add_argument("--seed", default="0")
    render.add_argument("--out", required=True, metavar="FILE")
    render.set_defaults(command=_render)
    species = world.add_parser("new-species", help="a captioned image folder of a fresh species")
    species.add_argument("--seed", default="0")
    species.add_argument("--name", required=True)
    species.add_argument("--count", default="12")
    species.add_argument("--out", required=True, metavar="FOLDER")
    species.set_defaults(command=_new_species)
    sheet = world.add_parser("contact-sheet", help="one picture of every kind and scene")
    sheet.add_argument("--out", required=True, metavar="FILE")
    sheet.set_defaults(command=_contact_sheet)


def _add_train(commands: Any) -> None:
    train = commands.add_parser("train", help="rebuild the pocket checkpoints")
    train.add_argument("stages", nargs="*", metavar="STAGE", help=STAGES_HELP)
    train.add_argument("--device", default="auto")
    train.add_argument("--steps", metavar="N", help="stop each stage after N steps")
    train.add_argument("--warm", action="store_true", help="start from the shipped weights")
    train.add_argument(
        "--profile", default="pocket", help="whose encoder and generator the stage realrag serves"
    )
    train.add_argument(
        "--generator", default="base", help="which generator's own pictures the stage realrag avoids"
    )
    train.add_argument("--workdir", default="runs", metavar="FOLDER")
    train.set_defaults(command=_train)


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser("bench", help="measure a method")
    bench.add_argument("--method", default="imagerag")
    bench.add_argument("--limit", metavar="N", help="prompts per row")
    bench.add_argument("--seeds", metavar="K", help="seeds per prompt")
    bench.add_argument("--out", required=True, metavar="FILE")
    bench.set_defaults(command=_bench)


# The commands


def _run(options: argparse.Namespace) -> None:
    request = Request(
        prompt=options.prompt,
        method=options.method,
        seed=parse_seed(options.seed),
        profile=options.profile,
        library=options.library,
        settings=parse_settings(options.set),
        rejected=tuple(options.reject),
        pinned=tuple(options.pin),
        own_images=tuple(options.own),
    )
    check_request(request)
    from ragdemo.backend.local import LocalBackend
    from ragdemo.backend.recorder import AUGMENTED, whole_folder, write_run
    from ragdemo.backend.telling import tell

    out = _path(options.out)
    with whole_folder(out) as folder:
        backend = LocalBackend(request.profile, request.library, options.device, options.allow_download)
        write_run([tell(event, sys.stderr) for event in backend.run(request)], folder)
    print(out / AUGMENTED)


def _search(options: argparse.Namespace) -> None:
    k = _whole_number("k", options.k, 1, 1000)
    check_prompt(options.query, "query")
    from PIL import Image

    from ragdemo.backend.local import LocalBackend
    from ragdemo.methods.evidence import read_own_image

    is_image = os.path.isfile(options.query)  # Path.is_file raises on names that are too long
    if not is_image and (os.path.exists(options.query) or _names_picture(options.query)):
        raise UserError(
            f"There is no picture {options.query!r}; name an existing image file, or search by words."
        )
    query: str | Image.Image = read_own_image(options.query) if is_image else options.query
    found = LocalBackend(library=options.library).search(query, k, options.hybrid, options.split)
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


def _vocabulary(options: argparse.Namespace) -> None:
    from ragdemo.pocket.vocabulary import vocabulary

    lists = vocabulary()
    if options.json:
        print(json.dumps(lists, ensure_ascii=False, indent=2))
        return
    for name, entries in lists.items():
        print(f"{name}: {', '.join(entries)}")


def _render(options: argparse.Namespace) -> None:
    check_prompt(options.prompt)
    seed = parse_seed(options.seed)
    from ragdemo.pocket.commands import render_prompt
    from ragdemo.pocket.vocabulary import caption_phrases, vocabulary
    from ragdemo.ui.vocabulary import Vocabulary

    words = Vocabulary.from_lists({**vocabulary(), "words": caption_phrases()})
    if unknown := words.unknown_words(options.prompt):
        print(f"ragdemo: not in this world, so left out: {', '.join(unknown)}", file=sys.stderr)
    render_prompt(options.prompt, seed, _output_file(options.out))


def _new_species(options: argparse.Namespace) -> None:
    check_prompt(options.name, "name")
    seed, count = parse_seed(options.seed), _whole_number("count", options.count, 1, 10_000)
    from ragdemo.pocket.commands import new_species

    new_species(seed, options.name, count, _path(options.out))


def _contact_sheet(options: argparse.Namespace) -> None:
    from ragdemo.pocket.commands import contact_sheet

    contact_sheet(_output_file(options.out))


def _train(options: argparse.Namespace) -> None:
    steps = None if options.steps is None else _whole_number("steps", options.steps, 1, 10**9)
    from ragdemo.pocket.train import main as train

    train(
        options.stages,
        options.device,
        steps,
        _path(options.workdir),
        options.warm,
        options.profile,
        options.generator,
    )


def _bench(options: argparse.Namespace) -> None:
    from ragdemo.methods import get_method

    get_method(options.method)
    given = {
        name: _whole_number(name, value, 1, 100_000)
        for name, value in (("limit", options.limit), ("seeds", options.seeds))
        if value is not None
    }
    out = _output_file(options.out)
    from ragdemo.evaluation.bench import main as bench

    bench(method=options.method, out=out, **given)


# Reading values


def _names_picture(text: str) -> bool:
    """Whether a text reads as the path of an image file."""
    return text.lower().endswith((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"))


def parse_seed(text: str) -> int:
    """The seed that a text names; raises `UserError` where it is no whole number in range."""
    try:
        seed = int(text)
    except ValueError as error:
        raise UserError(
            f"The seed {text!r} is no number; choose a whole number from 0 to {MAX_SEED}."
        ) from error
    check_seed(seed)
    return seed


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """The settings of `key=value` texts; values are JSON where they can be (3, 0.5, true, null), words otherwise."""
    settings = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UserError(
                f"The setting {pair!r} is not of the form key=value; write for example max_rounds=3."
            )
        try:
            settings[key] = json.loads(text)
        except json.JSONDecodeError:
            settings[key] = text
    return settings


def _whole_number(name: str, text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise UserError(
            f"The value {text!r} of --{name} is out of range; choose a whole number from {low} to {high}."
        )
    return int(text)


def _path(text: str) -> Path:
    if not text.strip() or "\0" in text:
        raise UserError(f"The path {text!r} names nothing; choose another.")
    return Path(text)


def _output_file(text: str) -> Path:
    """A file that can be written; its folder is made. Raises `UserError` where it cannot be."""
    path = _path(text)
    if path.is_dir():
        raise UserError(f"The output {path} is a folder; choose a file.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The output {path} cannot be written ({error.strerror}); choose another.") from error
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UserError(f"The output {path} cannot be written (permission denied); choose another.")
    return path


def _fail(error: Exception, code: int) -> int:
    print(f"ragdemo: {' '.join(str(error).split())}", file=sys.stderr)
    return code
