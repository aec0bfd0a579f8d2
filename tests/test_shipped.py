"""The shipped checkpoints, loaded as any user of their libraries would, and run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragdemo.profiles import ASSETS, PROFILES, get_profile

ROOT = Path(__file__).resolve().parent.parent
POCKET, WARM = ASSETS / "pocket", ASSETS / "warm"
MEBIBYTE = 2**20
pytestmark = pytest.mark.slow


def test_every_checkpoint_has_a_card_and_no_file_is_too_large() -> None:
    for folder in (
        "diffusion",
        "diffusion/vae",
        "diffusion/unet",
        "diffusion/text_encoder",
        "ip_adapter",
        "critic",
        "encoder",
        "oracle",
    ):
        card = json.loads((POCKET / folder / "card.json").read_text())
        assert {"data", "steps", "device", "figures"} <= set(card), folder
    sizes = {file: file.stat().st_size for file in ASSETS.rglob("*") if file.is_file()}
    waiting = sum(size for file, size in sizes.items() if file.is_relative_to(WARM))
    assert max(sizes.values()) <= 10 * MEBIBYTE
    assert sum(sizes.values()) - waiting <= 104 * MEBIBYTE
    assert waiting <= 16 * MEBIBYTE


def test_no_profile_loads_weights_that_wait_in_warm() -> None:
    for name in PROFILES:
        places = [Path(word) for word in re.findall(r"[^\s'\":,()]+", repr(get_profile(name)))]
        assert any(POCKET in place.parents for place in places) or name != "pocket"
        assert not any(place == WARM or WARM in place.parents for place in places)


def test_diffusers_loads_the_base_and_the_adapter_and_draws() -> None:
    import torch
    from diffusers import DiffusionPipeline

    spec = get_profile("pocket").spec("generator")
    pipe = DiffusionPipeline.from_pretrained(spec.weights, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    plain = pipe(
        "a monarch butterfly in the snow", num_inference_steps=4, generator=torch.manual_seed(1)
    ).images[0]
    assert plain.size == (128, 128)
    pipe.load_ip_adapter(
        spec.options["adapter"],
        subfolder=spec.options["adapter_subfolder"],
        weight_name=spec.options["adapter_weights"],
    )
    pictures = []
    for colour in ("red", "navy"):
        reference = Image.new("RGB", (128, 128), colour)
        image = pipe(
            "a butterfly in the snow",
            num_inference_steps=4,
            generator=torch.manual_seed(1),
            ip_adapter_image=[[reference, reference]],
        ).images[0]
        pictures.append(np.asarray(image, dtype=int))
    assert np.abs(pictures[0] - pictures[1]).mean() > 1  # the reference reaches the picture


def _run(out: Path, prompt: str, seed: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ragdemo", "run", prompt, "--seed", str(seed), "--out", str(out)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_the_same_request_gives_the_same_pixels(tmp_path: Path) -> None:
    for name in ("one", "two"):
        done = _run(tmp_path / name, "a quixel butterfly in the snow", 7)
        assert done.returncode == 0, done.stderr
    for file in ("base.png", "augmented.png"):
        one, two = (np.asarray(Image.open(tmp_path / name / file)) for name in ("one", "two"))
        assert np.array_equal(one, two)
    events = [json.loads(line) for line in (tmp_path / "one" / "events.jsonl").read_text().splitlines()]
    kinds = [event["event"] for event in events if event["event"] != "Progress"]
    assert kinds[:2] == ["Draft", "Verdict"]
    assert kinds[-1] == "Result"
    for event in events:
        for reference in event.get("used", []):
            assert {"id", "caption", "score", "concept"} <= set(reference)


def test_every_example_answers_from_a_recording_without_a_model_library() -> None:
    code = """
import sys
from ragdemo.run.examples import examples, recorded
assert [one.is_failure for one in examples()].count(True) == 1
assert {one.method for one in examples()} == {"imagerag", "realrag"}
for example in examples():
    events = recorded(example.prompt)
    asked = events[-1].recipe.request
    assert (asked.prompt, asked.method) == (example.prompt, example.method)
    assert type(events[0]).__name__ == "Draft"
    assert example.thumbnail.is_file()
assert not recorded("a prompt that nobody recorded")
assert not {"torch", "diffusers", "transformers"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_recording_is_what_the_shipped_models_draw() -> None:
    from ragdemo.events import Draft, References
    from ragdemo.run.examples import examples, recorded
    from ragdemo.run.inprocess import InProcess

    kept = recorded(examples()[0].prompt)
    drawn = list(InProcess().run(kept[-1].recipe.request))

    def picked(events, kind):
        return next(event for event in events if isinstance(event, kind))

    old, new = (np.asarray(picked(events, Draft).image, int) for events in (kept, drawn))
    assert np.abs(old - new).mean() < 2  # another processor rounds differently
    assert picked(kept, References).used[0].id == picked(drawn, References).used[0].id
    assert kept[-1].recipe.library_fingerprint == drawn[-1].recipe.library_fingerprint


def test_shipped_vectors_are_those_of_the_shipped_encoder() -> None:
    from ragdemo.library.index import open_index
    from ragdemo.library.store import open_library
    from ragdemo.library.vectors import SHIPPED_FOLDER
    from ragdemo.models.encoder import load_encoder

    library, encoder = open_library("pocket"), load_encoder(get_profile("pocket").spec("encoder"))
    index = open_index(library, encoder, library.folder / SHIPPED_FOLDER)
    ids = index.ids[:: len(index) // 20]
    fresh = encoder.embed_images([library.image(image_id) for image_id in ids])
    kept = index.matrix[[index.ids.index(image_id) for image_id in ids]]
    np.testing.assert_allclose((fresh * kept).sum(1), 1, atol=2e-3)
