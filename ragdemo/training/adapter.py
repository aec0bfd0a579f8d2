"""An IP-Adapter Plus on a UNet in training, and its export in the published file layout."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0, IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import IPAdapterPlusImageProjection, MultiIPAdapterImageProjection
from safetensors.torch import load_file, save_file

_TO_PUBLISHED = (
    ("ln0", "0.norm1"),
    ("ln1", "0.norm2"),
    ("attn.to_out.0", "0.to_out"),
    ("attn.to_q", "0.to_q"),
    ("ff.0", "1.0"),
    ("ff.1.net.0.proj", "1.1"),
    ("ff.1.net.2", "1.3"),
)


def attach(unet: UNet2DConditionModel, resampler: IPAdapterPlusImageProjection, tokens: int) -> None:
    """Give every cross-attention keys and values for image tokens, as `load_ip_adapter` would."""
    processors = {}
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            width = unet.get_submodule(name.removesuffix(".processor")).to_q.out_features
            processor = IPAdapterAttnProcessor2_0(
                width, unet.config.cross_attention_dim, num_tokens=(tokens,)
            )
            # Values start at zero, so that the adapter grows from nothing instead of disturbing the base.
            torch.nn.init.zeros_(processor.to_v_ip[0].weight)
            processors[name] = processor
        else:
            processors[name] = AttnProcessor2_0()
    unet.set_attn_processor(processors)
    unet.encoder_hid_proj = MultiIPAdapterImageProjection([resampler])
    unet.register_to_config(encoder_hid_dim_type="ip_image_proj")


def set_scale(unet: UNet2DConditionModel, scale: float) -> None:
    """How much of the image attention is added; 0 skips it."""
    for processor in cross_processors(unet):
        processor.scale = [scale]


def cross_processors(unet: UNet2DConditionModel) -> list[IPAdapterAttnProcessor2_0]:
    """The adapter's attention processors in the order of the published layout."""
    return [p for name, p in unet.attn_processors.items() if name.endswith("attn2.processor")]


def without_adapter(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A copy of the UNet alone."""
    base = copy.deepcopy(unet)
    base.set_attn_processor(AttnProcessor2_0())
    base.encoder_hid_proj = None
    base.register_to_config(encoder_hid_dim_type=None)
    return base


def save_adapter(unet: UNet2DConditionModel, file: Path) -> None:
    """Write the adapter of a UNet (resampler, keys and values) as fp16 safetensors that `load_ip_adapter` reads."""
    resampler = unet.encoder_hid_proj.image_projection_layers[0]
    tensors = {}
    for key, value in resampler.state_dict().items():
        if ".attn.to_k." not in key and ".attn.to_v." not in key:
            tensors[f"image_proj.{_published(key)}"] = value
    for i, layer in enumerate(resampler.layers):
        tensors[f"image_proj.layers.{i}.0.to_kv.weight"] = torch.cat(
            [layer.attn.to_k.weight, layer.attn.to_v.weight]
        )
    for i, processor in enumerate(cross_processors(unet)):
        tensors[f"ip_adapter.{2 * i + 1}.to_k_ip.weight"] = processor.to_k_ip[0].weight
        tensors[f"ip_adapter.{2 * i + 1}.to_v_ip.weight"] = processor.to_v_ip[0].weight
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.detach().half().cpu().contiguous() for key, value in tensors.items()}, file)


def load_adapter(unet: UNet2DConditionModel, file: Path) -> None:
    """Attach the adapter of a published file."""
    parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for key, value in load_file(file).items():
        part, rest = key.split(".", 1)
        parts[part][rest] = value.float()
    unet._load_ip_adapter_weights([parts], low_cpu_mem_usage=False)


def _published(key: str) -> str:
    if not key.startswith("layers."):
        return key
    _, index, rest = key.split(".", 2)
    for ours, theirs in _TO_PUBLISHED:
        if rest.startswith(ours):
            return f"layers.{index}.{theirs}{rest[len(ours) :]}"
    return key
