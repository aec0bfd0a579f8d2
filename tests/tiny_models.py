"""Random-weight checkpoints of the real classes at tiny size, saved the way published checkpoints are laid out."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from ragdemo.library.store import NewImage, write_library
from ragdemo.profiles import POCKET, Profile, Spec

WIDTH = 64  # an IP-Adapter Plus has heads of 64 channels, so its width is a multiple of 64
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | upper }}: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)


CAPTIONS = ("a quixel butterfly in the snow", "a zandor car at night", "a red car in the city")


def build_assets(folder: Path) -> Path:
    """An assets folder as the product ships it, with tiny checkpoints and a library of three pictures."""
    from test_encoder_adapter import write_encoder

    pocket = folder / "pocket"
    pocket.mkdir(parents=True)
    build_profile(pocket)
    write_encoder(pocket / "encoder")
    pictures = [
        NewImage(f"ref-{index}", caption, Image.new("RGB", (32, 32), colour), {"split": "eval", "kind": kind})
        for index, (caption, colour, kind) in enumerate(
            zip(CAPTIONS, ("orange", "navy", "red"), ("butterfly", "car", "car"), strict=True)
        )
    ]
    write_library(pocket / "library", "pocket", pictures)
    assert POCKET.vocabulary is not None
    shutil.copy(POCKET.vocabulary, pocket)
    return folder


def build_profile(folder: Path) -> Profile:
    """A profile whose checkpoints are all tiny; writes those of generator and critic under `folder`."""
    save_diffusion(folder / "diffusion")
    save_ip_adapter(folder / "ip_adapter", folder / "diffusion")
    save_critic(folder / "critic")
    generator = replace(
        POCKET.spec("generator"),
        weights=str(folder / "diffusion"),
        options={**POCKET.spec("generator").options, "adapter": str(folder / "ip_adapter")},
        defaults={"steps": 3, "guidance_scale": 3.0, "reference_scale": 1.0},
    )
    roles = {
        "generator": generator,
        "critic": replace(POCKET.spec("critic"), weights=str(folder / "critic")),
        "encoder": replace(POCKET.spec("encoder"), weights=str(folder / "encoder"), options={}),
    }
    return Profile("tiny", roles)


def spec_of(role: str, weights: str | Path, **changes: object) -> Spec:
    """The pocket profile's spec of a role with other weights."""
    return replace(POCKET.spec(role), weights=str(weights), **changes)


def with_spec(profile: Profile, role: str, **changes: object) -> Profile:
    """The profile with some fields of one role's spec changed."""
    return replace(profile, roles={**profile.roles, role: replace(profile.spec(role), **changes)})


def clip_tokenizer() -> CLIPTokenizer:
    """A byte-level CLIP tokenizer without merges: 256 bytes, 256 bytes that end a word, two specials."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(f"{character}</w>" for character in alphabet), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=32)


def save_diffusion(folder: Path) -> None:
    """A StableDiffusionPipeline of 128 x 128 pixels with 16 x 16 latents."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=32,
            projection_dim=WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
    )
    vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    )
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(prediction_type="v_prediction", clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16).save_pretrained(folder)


def save_ip_adapter(
    folder: Path, diffusion: Path, weights: str = "ip-adapter-plus_pocket.safetensors"
) -> None:
    """An IP-Adapter Plus for the pipeline in `diffusion`, in the published file layout, with its image encoder."""
    torch.manual_seed(1)
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
        projection_dim=8,
    )
    models_folder = folder / "models"
    CLIPVisionModelWithProjection(vision).half().save_pretrained(models_folder / "image_encoder")
    variant = "fp16" if any((diffusion / "unet").glob("*.fp16.*")) else None
    unet = UNet2DConditionModel.from_pretrained(diffusion, subfolder="unet", variant=variant)
    tensors = _resampler(vision.hidden_size, WIDTH, unet.config.cross_attention_dim) | _cross_attention(unet)
    half = {key: tensor.half().contiguous() for key, tensor in tensors.items()}
    save_file(half, models_folder / weights)


def _resampler(image_width: int, width: int, text_width: int, tokens: int = 16) -> dict[str, torch.Tensor]:
    shapes = {
        "latents": (1, tokens, width),
        "proj_in.weight": (width, image_width),
        "proj_in.bias": (width,),
        "proj_out.weight": (text_width, width),
        "proj_out.bias": (text_width,),
        "norm_out.weight": (text_width,),
        "norm_out.bias": (text_width,),
    }
    for layer in range(4):  # the reader builds four layers, whatever the file holds
        attention, feed_forward = f"layers.{layer}.0", f"layers.{layer}.1"
        shapes |= {
            f"{attention}.{norm}.{part}": (width,)
            for norm in ("norm1", "norm2")
            for part in ("weight", "bias")
        }
        shapes |= {
            f"{attention}.to_q.weight": (width, width),
            f"{attention}.to_kv.weight": (2 * width, width),
            f"{attention}.to_out.weight": (width, width),
            f"{feed_forward}.0.weight": (width,),
            f"{feed_forward}.0.bias": (width,),
            f"{feed_forward}.1.weight": (4 * width, width),
            f"{feed_forward}.3.weight": (width, 4 * width),
        }
    return {f"image_proj.{key}": 0.2 * torch.randn(shape) for key, shape in shapes.items()}


def _cross_attention(unet: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    """Keys 1, 3, 5 … count the cross-attentions in the order of `unet.attn_processors`."""
    names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    tensors = {}
    for index, name in enumerate(names):
        like = unet.get_submodule(name.removesuffix(".processor")).to_k.weight
        for projection in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * index + 1}.{projection}.weight"] = torch.randn_like(
                like, dtype=torch.float32
            )
    return tensors


def save_critic(folder: Path) -> None:
    """A LLaVA of random weights with its processor and chat template."""
    torch.manual_seed(2)
    tokenizer = critic_tokenizer()
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=4,
    )
    model = LlavaForConditionalGeneration(config).half()
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer=tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    processor.save_pretrained(folder)


def critic_tokenizer() -> PreTrainedTokenizerFast:
    """The byte-level tokenizer of the tiny LLaVA."""
    return byte_tokenizer(
        ("<pad>", "<s>", "</s>", "<image>"), "<pad>", "</s>", bos_token="<s>", model_max_length=512
    )


def byte_tokenizer(
    specials: tuple[str, ...], pad: str, end: str, **options: object
) -> PreTrainedTokenizerFast:
    """Byte-level BPE without merges: every text has tokens, and none is unknown."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        models.BPE(vocab={character: index for index, character in enumerate(alphabet)}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in specials])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, eos_token=end, **options)
