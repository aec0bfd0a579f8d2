"""The adapter in training: attached, exported in the published layout, and read back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ragdemo.pocket.train import adapter
from ragdemo.pocket.train.diffusion import new_scheduler, new_unet, velocity_loss
from ragdemo.pocket.train.image_encoder import (
    TOKENS,
    WIDTH,
    hidden_states,
    new_resampler,
    new_vision_model,
)


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
