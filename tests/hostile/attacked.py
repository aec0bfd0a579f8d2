"""`app.py` with tiny profiles beside its own."""

from __future__ import annotations

from ragdemo.run import inprocess
from tests.hostile import tiny

if __name__ == "__main__":
    tiny.register()
    inprocess.InProcess = tiny.Runner  # type: ignore[misc]  # what the models' process makes

    import app

    app.main()
