"""What a blend in H-space does to a UNet, on a tiny SD-Turbo of the real classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from library_world import picture, write_small_library
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tiny_turbo import load, new_adapter, save_turbo

from ragdemo.errors import UserError
from ragdemo.events import Reference
from ragdemo.library.store import Library
from ragdemo.methods.turbo import cache as features
from ragdemo.methods.turbo.adapter import check_fits, load_adapter, save_adapter
from ragdemo.methods.turbo.cache import FeatureCache
from ragdemo.methods.turbo.condition import HSpaceBlend, Retrieved
from ragdemo.methods.turbo.retrieval import open_captions
from ragdemo.methods.turbo.slerp import slerp
from ragdemo.models.base import Drawing, Drawn, ImageReferences, NoReference, Sampling, Step
from ragdemo.models.one_step import OneStepDiffusers
from ragdemo.profiles import Spec

PROMPT, MIDDLE = "a red car in the snow", ("mid_block",)


@pytest.fixture(autouse=True)
def _nothing_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    _forget(monkeypatch)  # of a test before, whose folder is not there any more


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_turbo(tmp_path_factory.mktemp("turbo"))


@pytest.fixture(scope="module")
def generator(folder: Path) -> OneStepDiffusers:
    return load(folder)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return write_small_library(tmp_path_factory.mktemp("small") / "library", 8)


@pytest.fixture
def blend(generator: OneStepDiffusers) -> HSpaceBlend:
    found = generator.features(picture(1, "blue"), "a blue square", generator.levels[:3])
    return HSpaceBlend(Retrieved(found), 0.0, 0.9, MIDDLE)


def pixels(generator: OneStepDiffusers, condition: object = None, seed: int = 5, prompt: str = PROMPT):
    drawing = Drawing(prompt, seed, condition=condition or NoReference())
    return np.asarray(generator.draw_many([drawing])[0].image).astype(int)


def reference_of(library: Library, number: int = 0) -> Reference:
    row = library.rows[number]
    return Reference(row.id, library.caption(row.id), 0.9, "", library.image(row.id))


def test_slerp_runs_on_the_sphere_from_the_pair_to_the_target() -> None:
    torch.manual_seed(0)
    retrieved, target = torch.randn(3, 8, 2, 2), 4 * torch.randn(3, 8, 2, 2)
    length = target.flatten(1).norm(dim=1)

    def at(weight: float) -> torch.Tensor:
        return slerp(retrieved, target, torch.full((3,), weight))

    assert torch.equal(at(1.0), target)
    unit = retrieved / retrieved.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    assert torch.allclose(at(0.0), unit * length.view(-1, 1, 1, 1), atol=1e-4)
    for weight in (0.0, 0.2, 0.5, 0.8, 1.0):
        assert torch.allclose(at(weight).flatten(1).norm(dim=1), length, atol=1e-4)
    angles = [torch.cosine_similarity(at(w).flatten(1), target.flatten(1)).acos() for w in (0.0, 0.5)]
    assert torch.allclose(angles[0], 2 * angles[1], atol=1e-3)  # even steps of the angle
    assert torch.allclose(
        slerp(2 * target, target, torch.full((3,), 0.3)), target, atol=1e-4
    )  # no angle at all
    rows = slerp(retrieved, target, torch.tensor([0.0, 0.5, 1.0]))  # each row has its own w
    assert torch.equal(rows[2], target[2])
    assert torch.allclose(rows[0], at(0.0)[0], atol=1e-5)


def test_one_step_is_the_pipelines_own_and_the_same_seed_gives_the_same_pixels(
    generator: OneStepDiffusers,
) -> None:
    own = generator._pipe(
        prompt=PROMPT, num_inference_steps=1, guidance_scale=0.0, generator=torch.Generator().manual_seed(5)
    ).images[0]
    assert np.array_equal(pixels(generator), np.asarray(own))
    assert np.array_equal(pixels(generator), pixels(generator))
    assert not np.array_equal(pixels(generator), pixels(generator, seed=6))
    step, drawn = generator.draw(Drawing(PROMPT, 5))
    assert step == Step(1, 1)
    assert isinstance(drawn, Drawn)
    assert set(drawn.extras["timings"]) == {"encode", "UNet", "decode"}


def test_at_w_1_not_a_pixel_changes_and_below_they_do(
    generator: OneStepDiffusers, blend: HSpaceBlend
) -> None:
    plain = pixels(generator)
    assert np.array_equal(pixels(generator, replace(blend, weight=1.0)), plain)
    assert (pixels(generator, blend) != plain).mean() > 0.2
    assert np.array_equal(pixels(generator), plain)  # the hook is gone


def test_an_untrained_adapter_changes_no_pixel_and_a_trained_one_does(
    generator: OneStepDiffusers, blend: HSpaceBlend
) -> None:
    plain = pixels(generator)
    untrained, trained = (replace(blend, adapter=new_adapter(lively=lively)) for lively in (False, True))
    assert np.array_equal(pixels(generator, untrained), plain)
    assert (pixels(generator, trained) != plain).mean() > 0.2
    unlike = replace(trained, similarity=0.0)  # λ = 0: only the decoder half is another
    assert not np.array_equal(pixels(generator, trained), pixels(generator, unlike))
    assert np.array_equal(pixels(generator, unlike), pixels(generator, replace(trained, weight=1.0)))
    blank = replace(trained, retrieved=blend.retrieved.blank())
    assert not np.array_equal(pixels(generator, trained), pixels(generator, blank))
    assert np.array_equal(pixels(generator), plain)  # its own weights are back


def test_an_adapter_is_the_same_after_it_was_written(
    generator: OneStepDiffusers, blend: HSpaceBlend, tmp_path: Path
) -> None:
    adapter = new_adapter()
    save_adapter(adapter, tmp_path)
    again = load_adapter(Spec("", str(tmp_path)), "cpu")
    before, after = (pixels(generator, replace(blend, adapter=one)) for one in (adapter, again))
    assert np.abs(before - after).max() <= 2  # fp16
    assert again.identity
    with pytest.raises(UserError, match="mid_block"):
        check_fits(again, ["up_blocks.0"])


@pytest.mark.parametrize("levels", [MIDDLE, (*MIDDLE, "up_blocks.0", "up_blocks.1")])
def test_a_batch_has_its_own_pairs_and_weights(
    generator: OneStepDiffusers, blend: HSpaceBlend, levels: tuple[str, ...]
) -> None:
    other = Retrieved(generator.features(picture(2, "yellow"), "a yellow square", generator.levels[:3]))
    conditions = [
        replace(blend, levels=levels),
        replace(blend, levels=levels, retrieved=other),
        replace(blend, levels=levels, weight=0.6),
    ]
    together = generator.draw_many([Drawing(PROMPT, 5, condition=one) for one in conditions])
    for condition, drawn in zip(conditions, together, strict=True):
        assert np.abs(pixels(generator, condition) - np.asarray(drawn.image)).max() <= 1
    assert len({np.asarray(drawn.image).tobytes() for drawn in together}) == 3


def test_guidance_doubles_the_rows_and_the_pair_is_in_both(
    generator: OneStepDiffusers, blend: HSpaceBlend
) -> None:
    drawing = Drawing(PROMPT, 5, Sampling(2, 3.0), blend)
    first, again = (np.asarray(generator.draw_many([drawing])[0].image) for _ in range(2))
    assert np.array_equal(first, again)
    plain = np.asarray(generator.draw_many([replace(drawing, condition=NoReference())])[0].image)
    assert not np.array_equal(first, plain)


def test_texts_are_compared_by_what_the_unet_reads(generator: OneStepDiffusers) -> None:
    texts = ["a red car", "a red fish", "zzz"]
    vectors = generator.embed_texts(texts)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(vectors[1], generator.embed_texts(["a red fish"])[0], atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_what_it_cannot_draw_under_is_said(generator: OneStepDiffusers) -> None:
    with pytest.raises(UserError, match="ImageReferences"):
        generator.draw_many([Drawing(PROMPT, 1, condition=ImageReferences((picture(1),)))])


def test_what_is_kept_of_a_pair_is_what_is_computed(
    generator: OneStepDiffusers, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference, kept = reference_of(library), FeatureCache(library, generator)
    fresh = kept.retrieved(reference, PROMPT, MIDDLE)
    file = kept.file(reference.id)
    assert file.stat().st_size < 1500  # 64 × 2 × 2 in half precision
    _forget(monkeypatch)
    monkeypatch.setattr(generator, "features", _refuse)
    again = kept.retrieved(reference, PROMPT, MIDDLE)
    assert again.identity == fresh.identity
    blend = HSpaceBlend(fresh, 0.3, 1.0, MIDDLE)
    monkeypatch.undo()
    assert np.array_equal(pixels(generator, blend), pixels(generator, replace(blend, retrieved=again)))


@pytest.mark.parametrize("mark", ["generator", "pair"])
def test_features_of_another_unet_or_pair_are_refused(
    generator: OneStepDiffusers, library: Library, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    reference, kept = reference_of(library), FeatureCache(library, generator)
    right = kept.retrieved(reference, PROMPT, MIDDLE)
    file = kept.file(reference.id)
    with safe_open(file, framework="numpy") as opened:
        marks = {**opened.metadata(), mark: "another"}
    save_file({name: values + 1 for name, values in load_file(file).items()}, file, marks)
    _forget(monkeypatch)
    assert kept.retrieved(reference, PROMPT, MIDDLE).identity == right.identity
    _forget(monkeypatch)
    monkeypatch.setattr(generator, "features", _refuse)  # it was computed anew, and written
    assert kept.retrieved(reference, PROMPT, MIDDLE).identity == right.identity


def test_another_unet_keeps_its_features_apart(
    generator: OneStepDiffusers, library: Library, tmp_path: Path
) -> None:
    other, reference = load(save_turbo(tmp_path / "other", seed=7)), reference_of(library)
    one, two = FeatureCache(library, generator), FeatureCache(library, other)
    assert one.file(reference.id) != two.file(reference.id)
    features = [kept.retrieved(reference, PROMPT, MIDDLE).identity for kept in (one, two)]
    assert features[0] != features[1]


def test_what_is_computed_of_a_visitors_library_stays_in_it(
    generator: OneStepDiffusers, library: Library, cache: Path
) -> None:
    private = Library(library.folder, "yours", "1", library.rows, is_private=True)
    reference = reference_of(private)
    FeatureCache(private, generator).retrieved(reference, PROMPT, MIDDLE)
    open_captions(private, generator)
    assert FeatureCache(private, generator).file(reference.id).is_relative_to(private.folder)
    assert len(list(private.folder.rglob("*.safetensors"))) == 2
    assert not list(cache.rglob("*.safetensors"))


def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is in memory any more."""
    monkeypatch.setattr(features, "_KEPT", type(features._KEPT)(features.MOST_KEPT))


def _refuse(*_: object) -> None:
    raise AssertionError("the features are on disk")
