"""Do two checkouts draw the same? Twenty requests through the command line of each, compared by their results' pixels.

    python -m scripts.pixel_hashes OTHER_CHECKOUT

Both run under this interpreter, so with the same torch on the same machine. Exit code 1 if a picture differs.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent.parent
OWN = "assets/pocket/library/images/quixel-butterfly-train-0.webp"
OTHER_OWN = "assets/pocket/library/images/dunis-fish-train-1.webp"
ROUNDS = ("--set", "max_rounds=3", "--set", "references_per_concept=2")
REQUESTS: tuple[tuple[str, ...], ...] = (
    ("a quixel butterfly in the snow", "--seed", "7"),
    ("a dunis fish in the night", "--seed", "1"),
    ("a koi fish in the sea", "--seed", "1"),
    ("a vizor flower and a quusik flower in the snow", "--seed", "0"),
    ("a lusax bird in the city", "--seed", "4294967295"),
    ("a quixel butterfly in the snow", "--seed", "7", *ROUNDS),
    ("a quusik flower in the desert", "--set", "mode=generation"),
    ("a dunis fish and a lusax bird at night", "--set", "mode=generation", *ROUNDS),
    ("a lusax bird in the sea", "--set", "mode=rephrase"),
    ("my thing in the meadow", "--set", "mode=personalization", "--own", OWN),
    ("a quixel butterfly in the forest", "--own", OWN),
    ("a quixel butterfly and a dunis fish in the studio", "--own", OWN, "--own", OTHER_OWN),
    ("a quixel butterfly in the snow", "--reject", "quixel-butterfly-eval-0", "--reject", "quixel-butterfly-eval-1"),
    ("a quixel butterfly in the snow", "--pin", "dunis-fish-eval-2"),
    ("a lusax bird at sunset", "--set", "steps=8", "--set", "guidance_scale=5", "--set", "reference_scale=0.6"),
    ("a dunis fish in the meadow", "--set", "retriever=real", "--set", "similarity_threshold=0.2"),
    ("a quixel butterfly in the snow", "--method", "realrag", "--seed", "7"),
    ("a dunis fish in the night", "--method", "realrag", "--set", "retriever=normal", "--set", "references=3"),
    ("a lusax bird in the sea", "--method", "realrag", "--reject", "lusax-bird-eval-0"),
    ("a quusik flower in the desert", "--method", "realrag", "--own", OWN, "--pin", "quusik-flower-eval-3"),
)  # fmt: skip


def pixels(checkout: Path, request: Sequence[str]) -> str:
    """The sha256 of a request's result, or the sentence that it ends with."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        line = [sys.executable, "-m", "ragdemo", "run", *request, "--out", str(out)]
        done = subprocess.run(line, cwd=checkout, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr.strip().splitlines()[-1]
        with Image.open(out / "augmented.png") as image:
            return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def main() -> int:
    """Compare, a line a request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="another checkout of this project")
    other = parser.parse_args().other.resolve()
    different = 0
    for request in REQUESTS:
        ours, theirs = pixels(HERE, request), pixels(other, request)
        different += ours != theirs
        print(
            f"{'equal' if ours == theirs else 'DIFFERENT'}  {ours[:16]}  {theirs[:16]}  {' '.join(request)}",
            flush=True,
        )
    print(f"{len(REQUESTS) - different} of {len(REQUESTS)} are equal")
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
