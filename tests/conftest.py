"""What every test shares: no network, no reports, a cache of its own, and no GPU test without a GPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Set before a test imports a library that reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("GRADIO_SSR_MODE", "false")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where there is no CUDA device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch  # only here: collecting the other tests should not wait for it

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="there is no CUDA device"))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh `$RAGDEMO_CACHE`, so that no test sees what another, or the person's own page, has made."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("RAGDEMO_CACHE", str(folder))
    return folder
