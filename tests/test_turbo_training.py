"""The stages of the one-step student and its adapter, a few steps each, on the shipped teacher."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_turbo import new_adapter, save_turbo

from ragdemo.errors import UserError
from ragdemo.methods.turbo.adapter import load_adapter
from ragdemo.methods.turbo.condition import HSpaceBlend, Retrieved
from ragdemo.methods.turbo.training import adapting, decoder_matrices, dropped_skips, interpolating
from ragdemo.models.base import Drawing
from ragdemo.models.one_step import load_one_step
from ragdemo.profiles import ASSETS, Spec
from ragdemo.training import STAGES, latent_critic, student, student_pairs, turbo_adapter
from ragdemo.training.export import read_card
from ragdemo.training.latent_critic import Heads, LatentCritic, stage_channels
from ragdemo.training.loop import Context
from ragdemo.training.pair_library import entry, paired_wish, plain_wish
from ragdemo.training.probes import PROBED, probe
from ragdemo.training.student_data import StudentData
from ragdemo.training.student_pairs import pairs_folder
from ragdemo.world.pool import describe_sample
from ragdemo.world.species import of_tier

MIDDLE = "mid_block"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """The shipped teacher, and room for what is made of it."""
    folder = tmp_path_factory.mktemp("turbo")
    assets = folder / "pocket"
    assets.mkdir()
    for name in student_pairs.TEACHER:
        (assets / name).symlink_to(ASSETS / "pocket" / name)
    return Context(folder / "runs", assets, torch.device("cpu"), steps=2, workers=1, count=8)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, values in {
        student_pairs: {"LIBRARY": 6, "SHARD": 4, "BATCH": 4},
        student: {"BATCH": 2, "MEASURED": 1, "CURVE_EVERY": 1, "ADVERSARIAL_FROM": 0.5, "BLEND_SHARE": 0.5},
        turbo_adapter: {"BATCH": 2, "MEASURED": 1, "PLAIN_SHARE": 0.0},
    }.items():
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory):
    from diffusers import UNet2DConditionModel

    folder = save_turbo(tmp_path_factory.mktemp("tiny"))
    return UNet2DConditionModel.from_pretrained(
        folder / "unet", variant="fp16", torch_dtype=torch.float32
    ).eval()


def inputs(count: int = 2) -> tuple[torch.Tensor, int, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(count, 4, 8, 8), 999, torch.randn(count, 5, 64)


@pytest.mark.slow
def test_the_stages_run_one_after_the_other_and_go_on(
    context: Context, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="student-pairs"):
        student.train_student(context)
    student_pairs.train_student_pairs(replace(context, count=4))
    first = pairs_folder(context) / "0000000.npy"
    made = first.stat().st_mtime_ns
    student_pairs.train_student_pairs(context)
    assert first.stat().st_mtime_ns == made  # only what was missing is drawn
    data = StudentData(context)
    assert len(data) == 8
    with pytest.raises(UserError, match="stage student"):
        turbo_adapter.train_adapter(context)
    student.train_student(context)
    card = read_card(context.assets / "student")
    assert [row["step"] for row in card["curve"]] == [0, 1]
    assert set(card["figures"]["probes_of_h"]) == {*PROBED, "chance"}
    capsys.readouterr()
    student.train_student(replace(context, steps=3))
    assert "student goes on at step 2" in capsys.readouterr().out

    turbo_adapter.train_adapter(context)
    turbo_adapter.train_control(context)
    adapter = load_adapter(Spec("", str(context.assets / "turbo_adapter")), "cpu")
    assert any(part.any() for part in adapter.up)
    options = {"parts": str(context.assets / "student")}
    spec = Spec(
        "", str(context.assets / "diffusion"), options=options, defaults={"steps": 1, "guidance_scale": 0.0}
    )
    generator = load_one_step(spec, "cpu")
    found = generator.features(entry(0).image(), entry(0).caption, (MIDDLE,))
    blend = HSpaceBlend(Retrieved(found), 0.0, 0.9, (MIDDLE,), adapter)
    images = [
        generator.draw_many([one])[0].image
        for one in (Drawing("a car", 1), Drawing("a car", 1, condition=blend))
    ]
    assert images[0].size == (128, 128)
    shipped = [
        p.stat().st_size
        for name in ("student", "turbo_adapter")
        for p in (context.assets / name).rglob("*.safetensors")
    ]
    assert sum(shipped) <= 16e6
    assert max(shipped) <= 10e6
    _drawn_in_one_step_is_what_was_trained(context, generator, data)


def _drawn_in_one_step_is_what_was_trained(context: Context, generator, data: StudentData) -> None:
    """The pipeline's one step, from the same noise and words, is the prediction itself."""
    row = data._pairs.rows[0]
    batch = data.batch(_Always(0), 1, is_paired=False)
    expected = student.one_step(turbo_adapter.open_student(context), batch)
    drawn = generator.latents([Drawing(row["caption"], row["seed"])], batch.noise)
    assert (drawn - expected).abs().max() < 0.05  # bfloat16


class _Always:
    """Random numbers that choose one pair."""

    def __init__(self, number: int) -> None:
        self._number = number

    def choice(self, numbers: np.ndarray, size: int) -> np.ndarray:
        return np.array([numbers[self._number]] * size)


def test_the_stages_have_their_places() -> None:
    names = list(STAGES)
    order = ["diffusion", "student-pairs", "student", "turbo-adapter", "turbo-control"]
    assert [names.index(name) for name in order] == sorted(names.index(name) for name in order)


def test_the_student_begins_with_the_teachers_picture(unet) -> None:
    with torch.no_grad():
        velocity, x0 = unet(*inputs()).sample, student.new_student(unet)(*inputs()).sample
    assert torch.allclose(x0, -velocity, atol=1e-5)


def test_a_dropped_skip_is_dropped_for_its_row_alone(unet) -> None:
    with torch.no_grad():
        plain = unet(*inputs()).sample
        with dropped_skips(unet, ("up_blocks.0", "up_blocks.1"), torch.tensor([1.0, 0.0])):
            dropped = unet(*inputs()).sample
        assert torch.allclose(dropped[0], plain[0], atol=1e-5)
        assert not torch.allclose(dropped[1], plain[1], atol=1e-2)
        assert torch.allclose(unet(*inputs()).sample, plain, atol=1e-6)


def test_what_is_trained_is_what_is_drawn(unet) -> None:
    adapter = new_adapter()
    torch.manual_seed(2)
    values = torch.randn(2, 64, 2, 2)
    conditions = [
        HSpaceBlend(Retrieved({MIDDLE: one.numpy()}), 0.25, similarity, (MIDDLE,), adapter)
        for one, similarity in zip(values, (0.9, 0.5), strict=True)
    ]
    with torch.no_grad():
        with conditions[0].attached(unet, conditions):
            drawn = unet(*inputs()).sample
        with adapting(adapter, unet, {MIDDLE: values}, 0.75 * torch.tensor([0.9, 0.5])):
            trained = unet(*inputs()).sample
        plain = [replace(one, adapter=None) for one in conditions]
        with plain[0].attached(unet, plain):
            drawn_plainly = unet(*inputs()).sample
        with interpolating(unet, {MIDDLE: values}, torch.full((2,), 0.25)):
            trained_plainly = unet(*inputs()).sample
    assert torch.allclose(drawn, trained, atol=1e-5)
    assert torch.allclose(drawn_plainly, trained_plainly, atol=1e-5)
    assert not torch.allclose(drawn, drawn_plainly, atol=1e-2)


def test_only_the_adapter_learns_and_leaves_no_trace(unet) -> None:
    adapter, frozen = new_adapter().train(), unet.requires_grad_(False)
    values = {MIDDLE: torch.randn(2, 64, 2, 2)}
    with adapting(adapter, frozen, values, torch.ones(2)):
        frozen(*inputs()).sample.square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in (*adapter.up, *adapter.down))
    assert adapter.blocks[0].proj_out.weight.grad.any()
    assert all(p.grad is None for p in frozen.parameters())
    assert not any("parametrizations" in name for name, _ in frozen.named_parameters())


def test_the_decoder_half_and_nothing_else_is_tuned(unet) -> None:
    matrices = decoder_matrices(unet)
    assert matrices
    assert all(name.startswith("up_blocks.") for name in matrices)
    assert {len(shape) for shape in matrices.values()} == {2, 4}


def test_each_adversarial_loss_reaches_its_own_weights(unet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_critic, "STAGES", ("down_blocks.0", "mid_block"))
    unet.requires_grad_(False)
    heads = Heads([stage_channels(unet)[0], stage_channels(unet)[-1]])
    critic = LatentCritic(unet, torch.linspace(0.99, 0.01, 1000), heads)
    drawn, real = torch.randn(2, 4, 8, 8, requires_grad=True), torch.randn(2, 4, 8, 8)
    for_student, hinge = critic.losses(drawn, real, inputs()[2])
    for_student.backward()
    assert drawn.grad is not None
    assert drawn.grad.any()
    assert all(p.grad is None for p in heads.parameters())
    drawn.grad = None
    hinge.backward()
    assert drawn.grad is None
    assert all(p.grad is not None for p in heads.parameters())


def test_a_probe_finds_what_is_there_and_no_more() -> None:
    rows = [describe_sample(entry(i)) for i in range(400)]
    kinds = sorted({row["looks"][0]["kind"] for row in rows})
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 8, 2, 2))
    found = probe(noise, rows)
    assert np.mean([found[fact] for fact in PROBED]) < found["chance"] + 0.1
    known = np.eye(len(kinds))[[kinds.index(row["looks"][0]["kind"]) for row in rows]]
    assert probe(np.concatenate([noise.reshape(400, -1), known], axis=1), rows)["kind"] > 0.95


def test_the_library_to_learn_from_shows_no_rare_species_and_names_half() -> None:
    rare = {species.name for species in (*of_tier("rare"), *of_tier("novel"))}
    captions = [entry(i).caption for i in range(300)]
    assert not any(name in caption for caption in captions for name in rare)
    described = sum(" with " in caption or " trim" in caption for caption in captions)
    assert 60 < described < 190
    for index in range(20):
        wish = paired_wish(index, 50)
        assert wish.entry is not None
        assert wish == paired_wish(index, 50)
        assert plain_wish(index).entry is None
    assert len({paired_wish(index, 50).caption for index in range(20)}) > 15
