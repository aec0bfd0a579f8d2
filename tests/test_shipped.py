"""The shipped checkpoints, loaded as any user of their libraries would, and run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragdemo.profiles import ASSETS, get_profile

ROOT = Path(__file__).resolve().parent.parent
POCKET = ASSETS / "pocket"
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
    sizes = [file.stat().st_size for file in ASSETS.rglob("*") if file.is_file()]
    assert max(sizes) <= 10 * MEBIBYTE
    assert sum(sizes) <= 56 * MEBIBYTE


def test_diffusers_loads_the_base_and_the_adapter_and_draws() -> None:
    import torch
    from diffusers import DiffusionPipeline

    profile = get_profile("pocket")
    pipe = DiffusionPipeline.from_pretrained(profile.diffusion, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    plain = pipe(
        "a monarch butterfly in the snow", num_inference_steps=4, generator=torch.manual_seed(1)
    ).images[0]
    assert plain.size == (128, 128)
    pipe.load_ip_adapter(
        profile.ip_adapter, subfolder=profile.ip_adapter_subfolder, weight_name=profile.ip_adapter_weights
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


def test_the_critic_finds_most_rare_drafts_wanting_and_names_what_is_missing() -> None:
    from ragdemo.backend.local import LocalBackend
    from ragdemo.evaluation.prompts import cases
    from ragdemo.events import RetrievalCaptions, Verdict
    from ragdemo.types import Request

    backend, rejected, named = LocalBackend(), 0, 0
    chosen = cases("rare", 12, 1, "tune")
    for case in chosen:
        for event in backend.run(Request(case.prompt, seed=case.seed, settings={"steps": 8})):
            if isinstance(event, Verdict):
                rejected += not event.matches
            if isinstance(event, RetrievalCaptions):
                named += any(case.species.name in caption for caption in event.captions)
    assert rejected >= 9
    assert named >= 8


def test_bench_measures_resumes_and_reports(tmp_path: Path) -> None:
    from ragdemo.evaluation import bench

    out = tmp_path / "imagerag.json"
    rows = out.with_suffix(".rows")
    rows.mkdir()
    first = bench.Bench("imagerag", out)
    chosen = bench.cases("rare", 2, 1)
    kept = first.with_reference("perfect", chosen)
    marked = [{**record, "right": {"species": 1, "kind": 0, "scene": 0}} for record in kept]
    (rows / "perfect-rare.jsonl").write_text("".join(json.dumps(record) + "\n" for record in marked))
    bench.main("imagerag", out, limit=2, seeds=1)
    report = json.loads(out.read_text())
    names = [row["name"] for row in report["rows"]]
    assert names[0] == "base, common"
    assert "imagerag − base, rare, paired" in names
    assert all(row["n"] == 2 for row in report["rows"])
    perfect = next(row for row in report["rows"] if row["name"].startswith("perfect"))
    # what was kept was not measured again: no picture shows the right species and neither its kind nor its scene
    assert [perfect[f"right {metric}"]["mean"] for metric in ("species", "kind", "scene")] == [1, 0, 0]
    assert not rows.exists()
    assert out.with_suffix(".md").exists()
