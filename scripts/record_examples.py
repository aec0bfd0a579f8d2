"""Record the runs of the example prompts, which the page then shows at once.

    python -m scripts.record_examples [--seed 2]

The seed is the first at which the critic says of no draft that it shows what it misses. Each run becomes a folder of
`assets/pocket/recordings/`, as `python -m ragdemo run --out` would write it.
"""

from __future__ import annotations

import argparse

from ragdemo.files import slug
from ragdemo.profiles import ASSETS
from ragdemo.request import Request
from ragdemo.run.examples import RECORDINGS
from ragdemo.run.inprocess import InProcess
from ragdemo.run.recorder import whole_folder, write_run
from ragdemo.ui.ask import EXAMPLES
from ragdemo.ui.vocabulary import Vocabulary
from ragdemo.world.vocabulary import vocabulary


def main() -> None:
    """Record every example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=2)
    seed = parser.parse_args().seed
    runner = InProcess()
    for prompt in Vocabulary.from_lists(vocabulary()).examples(EXAMPLES):
        with whole_folder(ASSETS / "pocket" / RECORDINGS / slug(prompt)) as folder:
            write_run(list(runner.run(Request(prompt=prompt, seed=seed))), folder)
        print(prompt)


if __name__ == "__main__":
    main()
