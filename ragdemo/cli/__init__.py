"""The command line: each command checks its input first and imports models only then.

Results go to stdout, progress to stderr. Bad input ends with one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ragdemo.cli.library import add_library
from ragdemo.cli.runs import add_run, add_search
from ragdemo.cli.training import add_bench, add_train
from ragdemo.cli.values import fail
from ragdemo.cli.world import add_vocabulary, add_world
from ragdemo.errors import ModelError, UserError


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence instead of a usage text."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, 1 if the models broke, 2 on bad input, 130 if it was interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show ends nothing
    try:
        options = build_parser().parse_args(arguments)
        code = options.command(options) or 0
        sys.stdout.flush()
        return code
    except UserError as error:
        return fail(error, 2)
    except ModelError as error:
        return fail(error, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever reads has read enough; Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(prog="python -m ragdemo", description=sys.modules["ragdemo"].__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (add_run, add_search, add_library, add_vocabulary, add_world, add_train, add_bench):
        add(commands)
    return parser
