"""Random-weight checkpoints of the classes that the profile `sdxl` names, at tiny size."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from tiny_models import WIDTH, byte_tokenizer, clip_tokenizer, save_ip_adapter, with_spec
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from ragdemo.profiles import SDXL, Profile

SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_sdxl(folder: Path) -> Profile:
    """The row `sdxl` with every name replaced by a tiny local checkpoint of the same class, laid out alike."""
    from test_encoder_adapter import write_encoder

    options = SDXL.spec("generator").options
    weights = options["adapter_weights"]
    save_sdxl(folder / "sdxl")
    save_ip_adapter(folder / "adapter", folder / "sdxl", weights=weights)
    # the published repository keeps the ViT-H encoder in another folder than the SDXL adapters
    (folder / "adapter" / "sdxl_models").mkdir()
    (folder / "adapter" / "models" / weights).rename(
        folder / "adapter" / options["adapter_subfolder"] / weights
    )
    save_qwen(folder / "qwen")
    write_encoder(folder / "clip")
    defaults = {**SDXL.spec("generator").defaults, "steps": 2}
    tiny = dataclasses.replace(SDXL, name="tiny-sdxl")
    tiny = with_spec(
        tiny,
        "generator",
        weights=str(folder / "sdxl"),
        options={**options, "adapter": str(folder / "adapter")},
        defaults=defaults,
        downloads=(),
    )
    tiny = with_spec(tiny, "critic", weights=str(folder / "qwen"), downloads=())
    return with_spec(tiny, "encoder", weights=str(folder / "clip"), downloads=())


def save_sdxl(folder: Path) -> None:
    """A StableDiffusionXLPipeline of 64 x 64 pixels, its weights in the variant fp16."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        projection_dim=32,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,  # both text encoders' states side by side
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        transformer_layers_per_block=(1, 2),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 32,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
    )
    pipe = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        text_encoder_2=CLIPTextModelWithProjection(text),
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(),
        unet=unet,
        scheduler=EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1),
        add_watermarker=False,
    )
    pipe.to(torch.float16).save_pretrained(folder, variant="fp16")


def save_qwen(folder: Path) -> None:
    """A Qwen2.5-VL of random weights with its processor and chat template."""
    torch.manual_seed(1)
    tokenizer = byte_tokenizer(SPECIALS, "<|endoftext|>", "<|im_end|>", model_max_length=2048)
    image, video, start, end, stop = (
        tokenizer.convert_tokens_to_ids(token)
        for token in (
            "<|image_pad|>",
            "<|video_pad|>",
            "<|vision_start|>",
            "<|vision_end|>",
            "<|im_end|>",
        )
    )
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 2048,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]},
            "bos_token_id": None,
            "eos_token_id": stop,
            "pad_token_id": 0,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
            "window_size": 56,
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    model = Qwen2_5_VLForConditionalGeneration(config).half()
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = stop, 0
    model.save_pretrained(folder)
    pixels = {"min_pixels": 56 * 56, "max_pixels": 112 * 112}
    Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**pixels),
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
