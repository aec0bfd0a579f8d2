"""Random-weight Janus checkpoints, at tiny size: the library's own classes and files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from tiny_models import byte_tokenizer
from transformers import (
    GenerationConfig,
    JanusConfig,
    JanusForConditionalGeneration,
    JanusImageProcessor,
    JanusProcessor,
    JanusVisionConfig,
    JanusVQVAEConfig,
    LlamaConfig,
)

from ragdemo.profiles import JANUS_PRO, Profile, Spec

IMAGE, BEGIN, END, PAD, START = "<image_placeholder>", "<begin_of_image>", "<end_of_image>", "<pad>", "<s>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|User|>: ' if message['role'] == 'user' else '<|Assistant|>: ' }}"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}\n\n{% endfor %}"
    "{% if add_generation_prompt %}<|Assistant|>:{% endif %}"
)
WIDTH = 32


def save_janus(folder: Path, grid: int = 6, codes: int = 64) -> Path:
    """A Janus of `grid`² codes of 8 pixels a side, 16 in the 1B's layout of 24² codes; its logits differ visibly."""
    torch.manual_seed(8)
    tokenizer = byte_tokenizer(
        (START, IMAGE, BEGIN, END, PAD, "</s>"),
        PAD,
        "</s>",
        bos_token=START,
        padding_side="left",
        extra_special_tokens={"image_token": IMAGE, "boi_token": BEGIN, "eoi_token": END},
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    patch = 8 if grid < 24 else 16
    side = grid * patch
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    specials = {name: getattr(tokenizer, name) for name in names}
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        **specials,
    )
    vision = JanusVisionConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=side,
        patch_size=patch,
        mlp_ratio=2.0,
        projection_dim=WIDTH,
        num_image_tokens=grid**2,
        depth=2,
    )
    vq = JanusVQVAEConfig(
        embed_dim=8,
        num_embeddings=codes,
        latent_channels=32,
        base_channels=32,
        channel_multiplier=[1] * (4 if patch == 8 else 5),
        num_res_blocks=1,
        num_patches=grid,
        projection_dim=WIDTH,
        image_token_embed_dim=WIDTH,
        num_hidden_layers=2,
    )
    config = JanusConfig(
        text_config=text,
        vision_config=vision,
        vq_config=vq,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        pad_token_id=tokenizer.pad_token_id,
    )
    model = _livelier(JanusForConditionalGeneration(config))
    boi = {"boi_token_id": tokenizer.convert_tokens_to_ids(BEGIN)}
    model.generation_config = GenerationConfig(**specials, generation_kwargs=boi)
    model.save_pretrained(folder)
    images = JanusImageProcessor(size={"height": side, "width": side}, min_size=14)
    processor = JanusProcessor(images, tokenizer, chat_template=CHAT_TEMPLATE, num_image_tokens=grid**2)
    processor.save_pretrained(folder)
    return folder


def build_janus(folder: Path, **layout: int) -> Profile:
    """The row `janus-pro` with every name replaced by a tiny local checkpoint of the same class."""
    from test_encoder_adapter import write_encoder

    folder.mkdir(exist_ok=True)
    write_encoder(folder / "clip")
    roles: dict[str, Spec] = {
        "autoregressive": dataclasses.replace(
            JANUS_PRO.spec("autoregressive"),
            weights=str(save_janus(folder / "janus", **layout)),
            downloads=(),
        ),
        "encoder": dataclasses.replace(JANUS_PRO.spec("encoder"), weights=str(folder / "clip"), downloads=()),
    }
    return dataclasses.replace(JANUS_PRO, name="tiny-janus", roles=roles)


@torch.no_grad()
def _livelier(model: JanusForConditionalGeneration) -> JanusForConditionalGeneration:
    """Larger weights: at the library's own size a random model says the same whatever it reads."""
    for part in (model.model.language_model, model.model.generation_head):
        for parameter in part.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    model.model.generation_embeddings.weight.normal_()
    book = model.model.vqmodel.quantize.embedding.weight
    book.normal_()
    book.div_(book.norm(dim=1, keepdim=True))
    return model
