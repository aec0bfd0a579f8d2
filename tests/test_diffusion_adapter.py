"""The diffusers adapter on random-weight checkpoints of the real classes."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from tiny_models import build_profile

from ragdemo.errors import UserError
from ragdemo.models.base import Drawing, Drawn, ImageReferences, NoReference, Sampling, Step
from ragdemo.models.diffusion import DiffusersGenerator, load_generator
from ragdemo.profiles import Spec

RED, BLUE = Image.new("RGB", (90, 60), "red"), Image.new("RGB", (64, 64), "blue")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    return build_profile(tmp_path_factory.mktemp("tiny")).spec("generator")


@pytest.fixture(scope="module")
def generator(spec: Spec) -> DiffusersGenerator:
    return load_generator(spec, "cpu")


def beside(*references: Image.Image, prompt: str = "a fox", seed: int = 1) -> Drawing:
    """A drawing beside references."""
    return Drawing(prompt, seed, condition=ImageReferences(references))


def draw(
    generator: DiffusersGenerator,
    seed: int = 1,
    references: Sequence[Image.Image] = (),
    scale: float | None = None,
) -> np.ndarray:
    condition = ImageReferences(tuple(references), scale) if references else NoReference()
    *_, drawn = generator.draw(Drawing("a fox", seed, condition=condition))
    return np.asarray(drawn.image)


def reference_drawing(spec: Spec, references: list[Image.Image] | None = None) -> np.ndarray:
    """What plain diffusers draws, called as its own documentation does."""
    pipe = DiffusionPipeline.from_pretrained(spec.weights, dtype=torch.float32)
    arguments = {}
    if references:
        pipe.load_ip_adapter(
            spec.options["adapter"], subfolder="models", weight_name=spec.options["adapter_weights"]
        )
        arguments = {"ip_adapter_image": [references]}
    pipe.unet.to(memory_format=torch.channels_last)
    pipe.vae.to(memory_format=torch.channels_last)
    seeded = torch.Generator().manual_seed(1)
    drawn = pipe("a fox", num_inference_steps=3, guidance_scale=3.0, generator=seeded, **arguments)
    return np.asarray(drawn.images[0])


def test_steps_come_before_the_image(generator: DiffusersGenerator) -> None:
    *steps, drawn = generator.draw(Drawing("a fox", 1, Sampling(steps=4)))
    assert steps == [Step(index, 4) for index in (1, 2, 3, 4)]
    assert drawn.image.size == (128, 128)


def test_same_seed_same_pixels_whatever_came_between(generator: DiffusersGenerator) -> None:
    first = draw(generator, references=[RED])
    other = draw(generator, seed=2, references=[BLUE])
    assert np.array_equal(first, draw(generator, references=[RED]))
    assert not np.array_equal(first, other)


def test_plain_drawing_equals_the_pipeline_without_the_adapter(
    generator: DiffusersGenerator, spec: Spec
) -> None:
    draw(generator, references=[RED])
    assert np.array_equal(draw(generator), reference_drawing(spec))


def test_drawing_with_references_equals_the_pipeline_as_its_users_call_it(
    generator: DiffusersGenerator, spec: Spec
) -> None:
    draw(generator, references=[BLUE])
    assert np.array_equal(draw(generator, references=[RED, BLUE]), reference_drawing(spec, [RED, BLUE]))


def test_several_references_of_any_size_and_their_scale_count(generator: DiffusersGenerator) -> None:
    plain, one, two = (
        draw(generator),
        draw(generator, references=[RED]),
        draw(generator, references=[RED, BLUE]),
    )
    assert not np.array_equal(plain, one)
    assert not np.array_equal(one, two)
    assert np.array_equal(plain, draw(generator, references=[RED], scale=0.0))


def test_pictures_made_together_are_those_made_alone(generator: DiffusersGenerator) -> None:
    def pixels(drawn: list[Drawn]) -> np.ndarray:
        return np.stack([np.asarray(one.image, dtype=int) for one in drawn])

    drawings = [
        beside(RED, RED),
        beside(BLUE, BLUE),
        beside(RED, BLUE, prompt="a car", seed=2),
    ]
    alone = pixels([[*generator.draw(drawing)][-1] for drawing in drawings])
    together = pixels(generator.draw_many(drawings))
    difference = np.abs(alone[0] - alone[1]).max()  # what the references alone change
    assert difference > 2
    assert np.abs(together - alone).max() < difference / 2
    with pytest.raises(ValueError, match="different shapes"):
        generator.draw_many([Drawing("a fox", 1), beside(RED)])


def test_closing_stops_at_the_next_step(generator: DiffusersGenerator) -> None:
    calls = []
    hook = generator._pipe.unet.register_forward_hook(lambda *_: calls.append(1))
    stream = generator.draw(Drawing("a fox", 1, Sampling(steps=900)))
    assert next(stream) == Step(1, 900)
    stream.close()
    hook.remove()
    assert len(calls) < 450
    before = threading.active_count()
    draw(generator)
    assert threading.active_count() == before


def test_errors_reach_the_consumer(generator: DiffusersGenerator) -> None:
    with pytest.raises(ValueError, match="steps"):
        list(generator.draw(Drawing("a fox", 1, Sampling(steps=100_000))))


def test_missing_and_damaged_folders_are_named_with_the_remedy(spec: Spec, tmp_path: Path) -> None:
    missing = dataclasses.replace(spec, weights=str(tmp_path / "nowhere"))
    with pytest.raises(
        UserError, match=r"nowhere is missing; rebuild it with `python -m ragdemo train .*vae"
    ):
        load_generator(missing, "cpu")
    folder = Path(build_profile(tmp_path / "copy").spec("generator").weights)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        load_generator(dataclasses.replace(spec, weights=str(folder)), "cpu")


def test_unknown_device_is_named(spec: Spec) -> None:
    with pytest.raises(UserError, match="'tpu-ish'"):
        load_generator(spec, "tpu-ish")


def test_a_condition_that_it_does_not_know_is_refused(generator: DiffusersGenerator) -> None:
    @dataclasses.dataclass(frozen=True)
    class Wish:
        shape: tuple = ()
        identity: tuple = ()

    with pytest.raises(UserError, match="cannot draw under Wish"):
        list(generator.draw(Drawing("a fox", 1, condition=Wish())))
