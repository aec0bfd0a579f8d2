"""Random-weight checkpoints of the SD-Turbo class, at tiny size: the library's own classes and files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tiny_models import clip_tokenizer
from transformers import CLIPTextConfig, CLIPTextModel

from ragdemo.methods.turbo.adapter import Config, HSpaceAdapter, save_adapter
from ragdemo.models.one_step import OneStepDiffusers, load_one_step
from ragdemo.profiles import SD_TURBO, Profile, Spec

WIDTH, SIDE = 64, 64
MATRICES = ("up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", "up_blocks.0.resnets.0.conv1")


def save_turbo(folder: Path, seed: int = 6) -> Path:
    """An SD-Turbo of 64 pixels a side: linear projections, several heads, its weights in the variant fp16."""
    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=WIDTH,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=(2, 4, 4),
        use_linear_projection=True,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
    )
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="trailing",
        prediction_type="epsilon",
        steps_offset=1,
    )
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16).save_pretrained(folder, variant="fp16")
    return folder


def spec_of(folder: Path) -> Spec:
    """The role of the row `sd-turbo` with a local checkpoint."""
    return dataclasses.replace(SD_TURBO.spec("one_step"), weights=str(folder), downloads=())


def load(folder: Path) -> OneStepDiffusers:
    """A checkpoint on the CPU."""
    return load_one_step(spec_of(folder), "cpu")


@torch.no_grad()
def new_adapter(levels: tuple[str, ...] = ("mid_block",), lively: bool = True) -> HSpaceAdapter:
    """An adapter for the tiny UNet; a lively one is not at its beginning any more."""
    torch.manual_seed(3)
    config = Config(levels, (WIDTH,) * len(levels), heads=4, groups=8, rank=2, matrices=MATRICES)
    adapter = HSpaceAdapter(config, [(64, 64), (64, 128, 3, 3)], f"adapter-{lively}").eval()
    for parameter in adapter.parameters():
        if lively and not parameter.any():
            parameter.normal_(std=0.3)
    return adapter


def build_turbo(folder: Path, *, adapter: bool = False) -> Profile:
    """The row `sd-turbo` with every name replaced by a tiny local checkpoint of the same class."""
    from test_encoder_adapter import write_encoder

    folder.mkdir(exist_ok=True)
    write_encoder(folder / "clip")
    roles = {
        "one_step": spec_of(save_turbo(folder / "turbo")),
        "encoder": dataclasses.replace(SD_TURBO.spec("encoder"), weights=str(folder / "clip"), downloads=()),
    }
    if adapter:
        save_adapter(new_adapter(), folder / "adapter")
        roles["h_space_adapter"] = Spec("ragdemo.methods.turbo.adapter:load_adapter", str(folder / "adapter"))
    return dataclasses.replace(SD_TURBO, name="tiny-turbo", roles=roles, memory_gigabytes=0.0)
