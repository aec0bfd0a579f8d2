"""The adapter in training: attached, exported in the published layout, and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ragdemo.errors import UserError
from ragdemo.training import adapter, diffusion, image_encoder, latents, material, text_encoder, vae
from ragdemo.training.diffusion import alignment_loss, new_scheduler, new_unet, velocity_loss
from ragdemo.training.export import read_card
from ragdemo.training.image_encoder import (
    TOKENS,
    WIDTH,
    hidden_states,
    new_resampler,
    new_vision_model,
)
from ragdemo.training.latents import quantise_states, restore_states
from ragdemo.training.loop import Context
from ragdemo.training.material import Batch, Material
from ragdemo.training.outlines import OVERLAP, novel_silhouettes, silhouette, unheard_pair, upright
from ragdemo.world.kinds import KINDS
from ragdemo.world.pool import PoolSpec


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    model = new_unet()
    adapter.attach(model, new_resampler(), TOKENS)
    for processor in adapter.cross_processors(model):
        torch.nn.init.normal_(processor.to_v_ip[0].weight, std=0.2)
    return model.eval()


def _predict(unet, states: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(1)
    latents, text = torch.randn(2, 8, 16, 16), torch.randn(2, 40, WIDTH)
    with torch.inference_mode():
        return unet(latents, 500, text, added_cond_kwargs={"image_embeds": [states]}).sample


def test_exported_adapter_loads_back_and_predicts_alike(unet, tmp_path: Path) -> None:
    file = tmp_path / "models" / "adapter.safetensors"
    adapter.save_adapter(unet, file)
    again = adapter.without_adapter(unet)
    adapter.load_adapter(again, file)
    states = torch.randn(2, 1, 65, WIDTH)
    assert torch.allclose(_predict(unet, states), _predict(again.eval(), states), atol=2e-2)
    assert not torch.allclose(_predict(unet, states), _predict(unet, -states), atol=2e-2)


def test_without_scale_the_reference_says_nothing(unet) -> None:
    adapter.set_scale(unet, 0.0)
    one, two = (_predict(unet, torch.randn(2, 1, 65, WIDTH)) for _ in range(2))
    adapter.set_scale(unet, 1.0)
    assert torch.equal(one, two)


def test_the_stage_reads_the_states_that_the_pipeline_reads() -> None:
    torch.manual_seed(0)
    vision = new_vision_model().eval()
    pixels = torch.randn(2, 3, 128, 128)
    with torch.inference_mode():
        expected = vision(pixels, output_hidden_states=True).hidden_states[-2]
        assert torch.allclose(hidden_states(vision, pixels), expected, atol=1e-5)


def test_the_velocity_of_a_perfect_prediction_costs_nothing() -> None:
    levels = new_scheduler().alphas_cumprod

    class Perfect(torch.nn.Module):
        """Knows the latents (all zero), so that the noise is the noisy picture over its level."""

        def forward(self, noisy, t, text, added_cond_kwargs):
            sigma = (1 - levels[t]).sqrt().view(-1, 1, 1, 1)
            sample = levels[t].sqrt().view(-1, 1, 1, 1) * noisy / sigma
            return type("Output", (), {"sample": sample})

    blank = Batch(torch.zeros(4, 8, 16, 16), torch.zeros(4, 1, 1), torch.zeros(1), torch.zeros(4, 65, 8))
    assert velocity_loss(Perfect(), levels, blank) < 1e-9


def test_aligned_features_cost_nothing_and_a_moved_thing_does() -> None:
    torch.manual_seed(0)
    states = torch.randn(3, 65, 8)
    patches = torch.nn.functional.layer_norm(states[:, 1:], (8,)).mT.reshape(3, 8, 8, 8)
    aligned = torch.nn.functional.avg_pool2d(patches, 2)
    assert alignment_loss(aligned, states) < 1e-5
    assert alignment_loss(aligned.roll(1, -1), states) > 0.3


def test_states_survive_eight_bits() -> None:
    torch.manual_seed(0)
    states = torch.randn(2, 3, 65, 192) * torch.tensor([0.01, 30.0]).view(2, 1, 1, 1)
    kept, scales = quantise_states(states)
    error = (restore_states(kept.numpy(), scales.numpy()) - states).abs().amax(-1) / states.abs().amax(-1)
    assert kept.dtype == torch.int8
    assert error.max() < 0.01


def test_things_of_no_kind_keep_away_from_the_novel_kinds() -> None:
    for index in range(20):
        reference, target = unheard_pair("test", index)
        assert reference.picture.looks == target.picture.looks
        assert reference.picture.scene != target.picture.scene
        assert reference.kind.name in reference.caption
        assert reference.kind.name not in KINDS
        mask = silhouette(reference.kind, reference.picture.looks[0])
        assert all((mask & other).sum() <= OVERLAP * (mask | other).sum() for other in novel_silhouettes())
        assert upright(reference).shape == (16, 16, 3)
        assert np.asarray(reference.image()).std() > 0
    assert not any(name in KINDS for name in (unheard_pair("test", i)[0].kind.name for i in range(20)))


@pytest.mark.slow
def test_the_stages_of_the_base_run_from_nothing_go_on_and_start_warm(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    for module in (vae, text_encoder):
        monkeypatch.setattr(module, "GENERATOR_POOL", PoolSpec("generator", "test/generator", 24))
    monkeypatch.setattr(vae, "PAIR_POOL", PoolSpec("pairs", "test/pairs", 20))
    for module in (text_encoder, image_encoder, material):
        monkeypatch.setattr(module, "BATCH", 8)
    # figures of two steps say nothing, and take a minute
    monkeypatch.setattr(text_encoder, "measure_reading", lambda *_: {})
    monkeypatch.setattr(image_encoder, "measure_seeing", lambda *_: {})
    monkeypatch.setattr(diffusion, "measure_velocity", lambda *_: {})
    context = Context(tmp_path / "runs", tmp_path / "pocket", torch.device("cpu"), 2, workers=1, count=8)
    vae.train_vae(context)
    text_encoder.train_text_encoder(context)
    image_encoder.train_image_encoder(context)
    with pytest.raises(UserError, match="diffusion-latents"):
        diffusion.train_diffusion(context)
    latents.train_latents(context)
    diffusion.train_diffusion(context)
    latent_scale = Material(context).encoders.scaling
    vae.train_decoder(context)
    assert Material(context).encoders.scaling == latent_scale  # the latent space is the encoder's

    card = read_card(context.assets / "diffusion")
    assert (card["steps"], "warm_start_from" in card) == (2, False)
    assert read_card(context.assets / "diffusion" / "vae")["warm_start_from"]["state"].startswith("vae-")
    assert (context.assets / "ip_adapter" / diffusion.ADAPTER_FILE).exists()
    capsys.readouterr()
    diffusion.train_diffusion(replace(context, steps=3, warm=True))  # these weights are this training's own
    assert "diffusion goes on at step 2" in capsys.readouterr().out
    monkeypatch.setattr(material, "DROP", 0.2)
    diffusion.train_diffusion(replace(context, steps=1, warm=True))
    assert "diffusion starts warm, from shipped weights of 3 steps" in capsys.readouterr().out
    assert read_card(context.assets / "diffusion")["warm_start_from"]["state"] == card["state"]
    vae.train_decoder(replace(context, steps=4))
    assert "vae-decoder goes on at step 2" in capsys.readouterr().out
