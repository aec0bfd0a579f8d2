"""The adapter in training: attached, exported in the published layout, and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ragdemo.training import adapter, diffusion, image_encoder, text_encoder, vae
from ragdemo.training.diffusion import new_scheduler, new_unet, velocity_loss
from ragdemo.training.export import read_card
from ragdemo.training.image_encoder import (
    TOKENS,
    WIDTH,
    hidden_states,
    new_resampler,
    new_vision_model,
)
from ragdemo.training.loop import Context
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

    zeros = torch.zeros(4, 8, 16, 16)
    assert velocity_loss(Perfect(), levels, zeros, torch.zeros(4, 1, 1), torch.zeros(1)) < 1e-9


@pytest.mark.slow
def test_the_stages_of_the_base_run_from_nothing_go_on_and_start_warm(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    pools = {
        "GENERATOR_POOL": PoolSpec("generator", "test/generator", 24),
        "PAIR_POOL": PoolSpec("pairs", "test/pairs", 20),
        "DUO_POOL": PoolSpec("duos", "test/duos", 20),
    }
    for module in (vae, text_encoder, image_encoder, diffusion):
        for name in pools.keys() & vars(module).keys():
            monkeypatch.setattr(module, name, pools[name])
    monkeypatch.setattr(
        text_encoder, "measure_reading", lambda *_: {}
    )  # figures of two steps say nothing, and take
    monkeypatch.setattr(image_encoder, "measure_seeing", lambda *_: {})  # a minute
    monkeypatch.setattr(diffusion, "measure_velocity", lambda *_: {})
    context = Context(tmp_path / "runs", tmp_path / "pocket", torch.device("cpu"), 2, workers=1)
    vae.train_vae(context)
    text_encoder.train_text_encoder(context)
    image_encoder.train_image_encoder(context)
    diffusion.train_diffusion(context)
    latent_scale = diffusion.Material(context).scaling
    vae.train_decoder(context)
    assert diffusion.Material(context).scaling == latent_scale  # the latent space is the encoder's

    card = read_card(context.assets / "diffusion")
    assert (card["steps"], "warm_start_from" in card) == (2, False)
    assert read_card(context.assets / "diffusion" / "vae")["warm_start_from"]["state"].startswith("vae-")
    assert (context.assets / "ip_adapter" / diffusion.ADAPTER_FILE).exists()
    capsys.readouterr()
    diffusion.train_diffusion(replace(context, steps=3, warm=True))  # these weights are this training's own
    assert "diffusion goes on at step 2" in capsys.readouterr().out
    monkeypatch.setattr(diffusion, "DROP", 0.2)
    diffusion.train_diffusion(replace(context, steps=1, warm=True))
    assert "diffusion starts warm, from shipped weights of 3 steps" in capsys.readouterr().out
    assert read_card(context.assets / "diffusion")["warm_start_from"]["state"] == card["state"]
    vae.train_decoder(replace(context, steps=4))
    assert "vae-decoder goes on at step 2" in capsys.readouterr().out
