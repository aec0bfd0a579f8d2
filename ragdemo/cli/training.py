"""`train` and `bench`: what makes the checkpoints and what measures them."""

from __future__ import annotations

import argparse
from typing import Any

from ragdemo.cli.values import output_file, path_of, whole_number

STAGES_HELP = "stages to train, in order; all of them if none is named"


def add_train(commands: Any) -> None:
    """Declare `train`."""
    train = commands.add_parser("train", help="rebuild the pocket checkpoints")
    train.add_argument("stages", nargs="*", metavar="STAGE", help=STAGES_HELP)
    train.add_argument("--device", default="auto")
    train.add_argument("--steps", metavar="N", help="train each stage to N optimiser steps in all")
    train.add_argument("--count", metavar="N", help="how many pictures a stage that draws makes")
    train.add_argument("--warm", action="store_true", help="start from the shipped weights if there are any")
    train.add_argument(
        "--profile", default="pocket", help="whose encoder and generator the stage realrag serves"
    )
    train.add_argument(
        "--library",
        default="pocket",
        help="the shipped library's name, or the folder, that realrag learns from",
    )
    train.add_argument(
        "--allow-download",
        action="store_true",
        default=None,
        help="fetch what the stage realrag lacks of its profile from the hub",
    )
    train.add_argument("--workdir", default="runs", metavar="FOLDER")
    train.set_defaults(command=_train)


def add_bench(commands: Any) -> None:
    """Declare `bench`."""
    bench = commands.add_parser("bench", help="measure a method")
    bench.add_argument("--method", default="imagerag")
    bench.add_argument(
        "--library", default="pocket", help="the name of a library whose rows say `species` and `scene`"
    )
    bench.add_argument("--limit", metavar="N", help="prompts per row")
    bench.add_argument("--seeds", metavar="K", help="seeds per prompt")
    bench.add_argument("--out", required=True, metavar="FILE")
    bench.set_defaults(command=_bench)


def _train(options: argparse.Namespace) -> None:
    steps = None if options.steps is None else whole_number("steps", options.steps, 1, 10**9)
    count = None if options.count is None else whole_number("count", options.count, 1, 10**7)
    from ragdemo.training import main as train

    train(
        options.stages,
        options.device,
        steps,
        path_of(options.workdir),
        options.warm,
        options.profile,
        options.library,
        count,
        options.allow_download,
    )


def _bench(options: argparse.Namespace) -> None:
    from ragdemo.methods import get_method

    get_method(options.method)
    given = {
        name: whole_number(name, value, 1, 100_000)
        for name, value in (("limit", options.limit), ("seeds", options.seeds))
        if value is not None
    }
    out = output_file(options.out)
    from ragdemo.evaluation.bench import main as bench

    bench(method=options.method, out=out, library=options.library, **given)
