"""`python -m ragdemo`."""

from __future__ import annotations

import sys

from ragdemo.cli import main

if __name__ == "__main__":
    sys.exit(main())
