"""`vocabulary` and `world`: the words of the pocket world, and its true pictures."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ragdemo.cli.values import fail, output_file, parse_seed, path_of, whole_number
from ragdemo.errors import UserError
from ragdemo.images import read_image
from ragdemo.request import folded


def add_vocabulary(commands: Any) -> None:
    """Declare `vocabulary`."""
    vocabulary = commands.add_parser("vocabulary", help="the words of the pocket world")
    vocabulary.add_argument("--json", action="store_true")
    vocabulary.set_defaults(command=_vocabulary)


def add_world(commands: Any) -> None:
    """Declare `world` and its actions."""
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
    judge = world.add_parser("judge", help="what the oracle sees in pictures")
    judge.add_argument("files", nargs="+", metavar="FILE")
    judge.add_argument("--json", action="store_true")
    judge.set_defaults(command=_judge)


def _vocabulary(options: argparse.Namespace) -> None:
    from ragdemo.world.vocabulary import vocabulary

    lists = vocabulary()
    if options.json:
        print(json.dumps(lists, ensure_ascii=False, indent=2))
        return
    for name, entries in lists.items():
        print(f"{name}: {', '.join(entries)}")


def _render(options: argparse.Namespace) -> None:
    folded(options.prompt)
    seed = parse_seed(options.seed)
    from ragdemo.ui.vocabulary import Vocabulary
    from ragdemo.world.commands import render_prompt
    from ragdemo.world.vocabulary import caption_phrases, vocabulary

    words = Vocabulary.from_lists({**vocabulary(), "words": caption_phrases()})
    if unknown := words.unknown_words(options.prompt):
        print(f"ragdemo: not in this world, so left out: {', '.join(unknown)}", file=sys.stderr)
    render_prompt(options.prompt, seed, output_file(options.out))


def _new_species(options: argparse.Namespace) -> None:
    folded(options.name, "name")
    seed, count = parse_seed(options.seed), whole_number("count", options.count, 1, 10_000)
    from ragdemo.world.commands import new_species

    new_species(seed, options.name, count, path_of(options.out))


def _contact_sheet(options: argparse.Namespace) -> None:
    from ragdemo.world.commands import contact_sheet

    contact_sheet(output_file(options.out))


def _judge(options: argparse.Namespace) -> int:
    """One row per readable picture on stdout, one sentence per other file on stderr; 2 if there was any."""
    pictures, failed = {}, 0
    for file in options.files:
        try:
            pictures[file] = read_image(path_of(file))
        except UserError as error:
            failed = fail(error, 2)
    from ragdemo.profiles import ASSETS
    from ragdemo.world.commands import judge_pictures

    rows = judge_pictures(pictures, ASSETS / "pocket" / "oracle") if pictures else []
    if options.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return failed
    for row in rows:
        look = f"{row['shape']}, {row['main']} with {row['second']} {row['pattern']} and {row['third']} trim"
        print(
            f"{row['file']}: {row['species']} ({row['probabilities']['species']:.2f}), {look}, {row['scene']}"
        )
    return failed
