"""What patch retrieval does inside the library's own loop, on a tiny Janus of the real classes."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from library_world import picture
from tiny_janus import WIDTH, save_janus

from ragdemo.errors import UserError
from ragdemo.methods.ar_rag.condition import PatchRetrieval, PatchSource
from ragdemo.methods.ar_rag.events import Trace
from ragdemo.methods.ar_rag.faid import Blenders, Config, load_blenders, save_blenders
from ragdemo.methods.ar_rag.patches import Patches
from ragdemo.models.base import Drawing, Drawn, NoReference, Step
from ragdemo.models.janus import JanusGenerator, load_janus
from ragdemo.profiles import Spec

GRID, CODES = 6, 64
DEFAULTS = {"guidance_scale": 3.0, "temperature": 1.0}
PROMPTS = ("a red car in the snow", "two fish", "a bird", "a butterfly at night")
IDS = tuple(f"picture-{number}" for number in range(8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_janus(tmp_path_factory.mktemp("janus"), GRID, CODES)


@pytest.fixture(scope="module")
def generator(folder: Path) -> JanusGenerator:
    return load_janus(Spec("", str(folder), defaults=DEFAULTS), "cpu")


@pytest.fixture(scope="module")
def precise(folder: Path) -> JanusGenerator:
    """In float64: no product of a batch rounds otherwise than alone."""
    generator = load_janus(Spec("", str(folder), defaults=DEFAULTS), "cpu")
    generator._model.double()
    return generator


@pytest.fixture(scope="module")
def source(generator: JanusGenerator) -> PatchSource:
    grids = np.random.default_rng(0).integers(0, CODES, (len(IDS), GRID, GRID)).astype(np.uint16)
    return PatchSource.exact(Patches(IDS, grids), generator.tokenizer.codebook)


def retrieval(source: PatchSource, **changes: object) -> PatchRetrieval:
    values = {"weight": 0.5, "temperature": 0.3, "neighbours": 16} | changes
    return PatchRetrieval(source, **values)  # type: ignore[arg-type]


def drawings(condition: object, count: int = 1) -> list[Drawing]:
    return [Drawing(prompt, 11 + n, condition=condition) for n, prompt in enumerate(PROMPTS[:count])]  # type: ignore[arg-type]


def codes(generator: JanusGenerator, condition: object, count: int = 1) -> np.ndarray:
    return np.stack([one.extras["codes"] for one in generator.draw_many(drawings(condition, count))])


def blenders(width: int = WIDTH) -> Blenders:
    torch.manual_seed(2)
    matrix = "model.language_model.layers.1.self_attn.q_proj"
    return Blenders(Config(width, GRID, (0, 2), matrices=(matrix,), rank=4), [(width, width)]).eval()


@torch.no_grad()
def lively() -> Blenders:
    """Blenders whose zeros are trained away."""
    trained = blenders()
    for parameter in trained.parameters():
        if not parameter.any():
            parameter.normal_(std=0.5)
    return trained


def test_the_same_drawing_is_the_same_and_another_seed_is_not(generator: JanusGenerator) -> None:
    first, again = codes(generator, NoReference()), codes(generator, NoReference())
    other = generator.draw_many([Drawing(PROMPTS[0], 12)])[0].extras["codes"]
    assert np.array_equal(first, again)
    assert (other != first).mean() > 0.3


def test_a_weight_of_zero_is_the_plain_model_code_by_code(
    generator: JanusGenerator, source: PatchSource
) -> None:
    assert np.array_equal(
        codes(generator, NoReference(), 2), codes(generator, retrieval(source, weight=0.0), 2)
    )


def test_a_weight_of_one_takes_codes_of_the_nearest_patches_only(
    generator: JanusGenerator, source: PatchSource
) -> None:
    drawn = generator.draw_many(drawings(retrieval(source, weight=1.0)))[0]
    trace: Trace = drawn.extras["trace"]
    inner = trace.share[1:, 1:-1]
    assert (inner == 1).all()
    assert (trace.share[0] == 0).all()
    assert (trace.share[:, [0, -1]] == 0).all()


@pytest.mark.parametrize("steered", [False, True])
def test_a_batch_of_four_is_four_of_one(precise: JanusGenerator, source: PatchSource, steered: bool) -> None:
    condition = retrieval(source, blenders=lively().double()) if steered else NoReference()
    together = codes(precise, condition, 4)
    alone = [precise.draw_many([one])[0].extras["codes"] for one in drawings(condition, 4)]
    assert np.array_equal(together, np.stack(alone))
    assert not np.array_equal(together[0], together[1])


def test_blenders_that_are_not_trained_change_nothing(generator: JanusGenerator, source: PatchSource) -> None:
    plain = codes(generator, NoReference())
    assert np.array_equal(plain, codes(generator, retrieval(source, weight=0.0, blenders=blenders())))


def test_trained_blenders_change_the_drawing_and_leave_the_model_as_it_was(
    generator: JanusGenerator, source: PatchSource
) -> None:
    plain = codes(generator, NoReference())
    before = {name: value.clone() for name, value in generator._model.state_dict().items()}
    assert not np.array_equal(plain, codes(generator, retrieval(source, weight=0.0, blenders=lively())))
    after = generator._model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert np.array_equal(plain, codes(generator, NoReference()))


def test_blenders_come_back_from_their_folder(tmp_path: Path) -> None:
    trained = lively()
    save_blenders(trained, tmp_path / "faid")
    again = load_blenders(Spec("", str(tmp_path / "faid")), "cpu")
    assert again.config == trained.config
    for name, value in trained.state_dict().items():
        assert torch.allclose(again.state_dict()[name], value, atol=1e-2)
    (tmp_path / "faid" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="damaged"):
        load_blenders(Spec("", str(tmp_path / "faid")), "cpu")


def test_blenders_of_another_model_are_refused(generator: JanusGenerator, source: PatchSource) -> None:
    with pytest.raises(UserError, match="features of 16 numbers, not 32"):
        codes(generator, retrieval(source, blenders=blenders(16)))


def test_a_prefix_stays_and_the_rest_is_drawn_on(generator: JanusGenerator, source: PatchSource) -> None:
    first = codes(generator, retrieval(source))[0].reshape(-1).tolist()
    again = codes(generator, retrieval(source, prefix=tuple(first[:20])))[0].reshape(-1).tolist()
    assert again == first
    turned = [(code + 1) % CODES for code in first[:20]]
    other = codes(generator, retrieval(source, prefix=tuple(turned)))[0].reshape(-1).tolist()
    assert other[:20] == turned


def test_a_gate_of_certainty_leaves_the_model_alone(generator: JanusGenerator, source: PatchSource) -> None:
    never = retrieval(source, weight=1.0, entropy_gate=1.0)
    assert np.array_equal(codes(generator, NoReference()), codes(generator, never))


def test_the_trace_tells_where_codes_come_from(generator: JanusGenerator, source: PatchSource) -> None:
    drawn = generator.draw_many(drawings(retrieval(source)))[0]
    trace: Trace = drawn.extras["trace"]
    grids = source.patches.grids
    for row, column in np.argwhere(trace.origin[..., 0] >= 0):
        picture_number, there, beside = trace.origin[row, column]
        assert grids[picture_number, there, beside] == trace.codes[row, column]
        assert 0 < trace.share[row, column] <= 1
    assert (trace.share[trace.origin[..., 0] < 0] == 0).all()
    assert (np.diff(trace.model_chances, axis=-1) <= 1e-7).all()
    found = trace.found_origins[1:, 1:-1, 0]
    assert (grids[found[..., 0], found[..., 1], found[..., 2]] == trace.found_codes[1:, 1:-1, 0]).all()
    assert np.array_equal(trace.codes, drawn.extras["codes"])


def test_pictures_of_a_trace_can_be_numbered_anew(generator: JanusGenerator, source: PatchSource) -> None:
    trace = generator.draw_many(drawings(retrieval(source)))[0].extras["trace"]
    last = int(trace.origin[..., 0].max())
    renumbered = trace.renumbered([last])
    assert ((renumbered.origin[..., 0] == 0) == (trace.origin[..., 0] == last)).all()
    assert set(np.unique(renumbered.origin[..., 0])) == {-1, 0}


def test_every_row_has_a_preview_and_the_last_is_the_drawing(generator: JanusGenerator) -> None:
    *steps, drawn = generator.draw(Drawing(PROMPTS[0], 3))
    assert isinstance(drawn, Drawn)
    assert all(isinstance(step, Step) for step in steps)
    previews = [step.preview for step in steps if step.preview is not None]
    assert len(previews) == GRID - 1
    assert {preview.size for preview in previews} == {drawn.image.size}
    assert steps[-1].index == steps[-1].total == GRID**2
    for rows, (before, after) in enumerate(pairwise(map(np.asarray, previews)), 1):
        assert np.array_equal(before[: 8 * rows], after[: 8 * rows])
        assert (before[8 * rows :] == 128).all()
        assert (after[8 * rows : 8 * rows + 8] != 128).any()


def test_leaving_between_codes_frees_the_model(generator: JanusGenerator, source: PatchSource) -> None:
    before = codes(generator, retrieval(source))
    stream = generator.draw(drawings(retrieval(source, blenders=lively()))[0])
    next(stream)
    start = time.monotonic()
    stream.close()
    assert time.monotonic() - start < 5
    assert np.array_equal(before, codes(generator, retrieval(source)))


def test_what_is_encoded_and_decoded_is_what_the_library_does(generator: JanusGenerator) -> None:
    images = [picture(number, size=8 * GRID) for number in range(3)]
    encoded = generator.tokenizer.encode(images)
    assert encoded.shape == (3, GRID, GRID)
    pixels = np.stack([np.asarray(image) for image in images])
    with torch.inference_mode():
        vq = generator._model.model.vqmodel
        own = vq.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1).image_tokens
        decoded = vq.decode(torch.from_numpy(encoded[:1].reshape(1, -1).astype(np.int64)))[0]
    assert (own.numpy().reshape(encoded.shape) == encoded).mean() >= 0.99
    expected = ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    shown = np.asarray(generator.tokenizer.decode(encoded[0]))
    assert np.abs(shown.astype(int) - expected.astype(int)).max() <= 1


def test_pictures_of_any_shape_are_cropped_to_their_middle(generator: JanusGenerator) -> None:
    image = picture(1, size=8 * GRID)
    wide = image.resize((16 * GRID, 8 * GRID))
    assert generator.tokenizer.encode([wide, image.convert("L")]).shape == (2, GRID, GRID)
    assert generator.restore(wide).size == (8 * GRID, 8 * GRID)
    assert generator.tokenizer.encode([]).shape == (0, GRID, GRID)


def test_special_tokens_in_a_prompt_are_words_at_most(generator: JanusGenerator) -> None:
    plain = generator.draw_many([Drawing("a   car", 1)])[0].extras["codes"]
    tricked = generator.draw_many([Drawing("a <begin_of_image> car", 1)])[0].extras["codes"]
    assert np.array_equal(plain, tricked)


def test_drawings_of_different_shapes_are_not_made_together(
    generator: JanusGenerator, source: PatchSource
) -> None:
    with pytest.raises(ValueError, match="group them"):
        generator.draw_many([*drawings(NoReference()), *drawings(retrieval(source))])


def test_a_condition_that_steers_no_codes_is_refused(generator: JanusGenerator) -> None:
    from ragdemo.models.base import ImageReferences

    with pytest.raises(UserError, match="cannot draw under ImageReferences"):
        generator.draw_many(drawings(ImageReferences((picture(1),))))
