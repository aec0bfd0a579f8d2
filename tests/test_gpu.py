"""The same flow on a CUDA device; skipped if there is none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from event_grammar import assert_grammar
from tiny_models import build_assets, build_profile, with_spec

from ragdemo import profiles
from ragdemo.events import Progress
from ragdemo.models.base import GENERATOR, Drawing
from ragdemo.request import Request
from ragdemo.run.inprocess import InProcess

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Request]:
    """A request of a profile of tiny checkpoints and its library."""
    assets = build_assets(tmp_path_factory.mktemp("assets")) / "pocket"
    profile = build_profile(tmp_path_factory.mktemp("profile"))
    profiles.PROFILES["tiny"] = with_spec(profile, "encoder", weights=str(assets / "encoder"))
    yield Request(prompt="a fox in the snow", seed=3, profile="tiny", library=str(assets / "library"))
    del profiles.PROFILES["tiny"]


def test_a_run_on_the_gpu_repeats_its_pixels(request_: Request) -> None:
    runner = InProcess("cuda", allow_paths=True)
    first, second = list(runner.run(request_)), list(runner.run(request_))
    assert_grammar(first)
    assert np.array_equal(np.asarray(first[-1].image), np.asarray(second[-1].image))


def test_closing_a_run_frees_the_gpu_for_the_next(request_: Request) -> None:
    runner = InProcess("cuda", allow_paths=True)
    stream = runner.run(request_.changed(settings={"steps": 200}))
    assert isinstance(next(stream), Progress)
    stream.close()
    assert list(runner.run(request_))


def test_the_noise_does_not_depend_on_the_device(request_: Request) -> None:
    pictures = []
    for device in ("cuda", "cpu"):
        tools = InProcess(device, allow_paths=True).tools(request_.profile, request_.library)
        *_, drawn = tools.models.get(GENERATOR).draw(Drawing(request_.prompt, request_.seed))
        pictures.append(np.asarray(drawn.image, int))
    assert np.abs(pictures[0] - pictures[1]).mean() < 8  # half precision beside float32
