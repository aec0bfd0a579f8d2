"""The only file that names checkpoints: a profile is a row of names, and no code asks which row it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from ragdemo.types import UserError

ASSETS = Path(os.environ.get("RAGDEMO_ASSETS", Path(__file__).resolve().parent.parent / "assets"))


@dataclass(frozen=True)
class Download:
    """Files of a hub repository that a profile needs: shell patterns, size in gigabytes (10⁹ bytes)."""

    repository: str
    patterns: tuple[str, ...]
    gigabytes: float


@dataclass(frozen=True)
class Profile:
    """Names of the checkpoints that run together, and the sampling settings that suit them.

    Names are local folders or hub ids, each passed to its own library's loader. `variant` is the pipeline's weight
    variant; `ip_adapter_image_encoder` is a folder beside the adapter's weights or, with a slash, in its repository. A
    critic named `openai:MODEL` answers at an OpenAI-compatible endpoint. `reference_prompt` is the prompt's form beside
    references (`{prompt}`, `{captions}`). `memory_gigabytes` is what the models take on a GPU while drawing. A single
    drawing on a CPU is fastest on `cpu_threads` threads; 0 leaves that to torch.
    """

    name: str
    diffusion: str
    ip_adapter: str
    ip_adapter_subfolder: str
    ip_adapter_weights: str
    critic: str
    encoder: str
    steps: int
    guidance_scale: float
    reference_scale: float
    reference_prompt: str
    variant: str | None = None
    ip_adapter_image_encoder: str = "image_encoder"
    downloads: tuple[Download, ...] = ()
    memory_gigabytes: float = 0.0
    cpu_threads: int = 0


POCKET = Profile(
    name="pocket",
    diffusion=str(ASSETS / "pocket" / "diffusion"),
    ip_adapter=str(ASSETS / "pocket" / "ip_adapter"),
    ip_adapter_subfolder="models",
    ip_adapter_weights="ip-adapter-plus_pocket.safetensors",
    critic=str(ASSETS / "pocket" / "critic"),
    encoder=f"local-dir:{ASSETS / 'pocket' / 'encoder'}",
    steps=16,
    guidance_scale=3.0,
    reference_scale=1.0,
    reference_prompt="{prompt}",
    # its matrices are so small that a second thread costs more than it brings, and the page has a core for itself
    cpu_threads=1,
)

_SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
_IP_ADAPTER = "h94/IP-Adapter"
_QWEN = "Qwen/Qwen2.5-VL-7B-Instruct"
_CLIP = "timm/vit_base_patch32_clip_224.openai"

# As published (ImageRAG, section 4): scale 0.5, 50 steps, CLIP ViT-B/32; Qwen2.5-VL-7B stands in for GPT-4o there too.
SDXL = Profile(
    name="sdxl",
    diffusion=_SDXL,
    variant="fp16",
    ip_adapter=_IP_ADAPTER,
    ip_adapter_subfolder="sdxl_models",
    ip_adapter_weights="ip-adapter-plus_sdxl_vit-h.safetensors",
    ip_adapter_image_encoder="models/image_encoder",
    critic=_QWEN,
    encoder=f"hf-hub:{_CLIP}",
    steps=50,
    guidance_scale=5.0,
    reference_scale=0.5,
    reference_prompt="according to these images of {captions}, {prompt}",
    downloads=(
        Download(
            _SDXL,
            (
                "model_index.json",
                "scheduler/*.json",
                "tokenizer/*",
                "tokenizer_2/*",
                *(
                    f"{part}/{file}"
                    for part in ("text_encoder", "text_encoder_2", "unet", "vae")
                    for file in ("config.json", "*.fp16.safetensors")
                ),
            ),
            6.9,
        ),
        Download(
            _IP_ADAPTER,
            (
                "sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors",
                "models/image_encoder/config.json",
                "models/image_encoder/model.safetensors",
            ),
            3.4,
        ),
        Download(_QWEN, ("*.json", "merges.txt", "*.safetensors"), 16.6),
        Download(_CLIP, ("*.json", "merges.txt", "open_clip_model.safetensors"), 0.6),
    ),
    memory_gigabytes=32,
)

PROFILES = {profile.name: profile for profile in (POCKET, SDXL)}


def get_profile(name: str) -> Profile:
    """The profile of that name, with the critic that `RAGDEMO_CRITIC` names, where it names one.

    Raises `UserError` where there is no such profile.
    """
    if name not in PROFILES:
        raise UserError(f"There is no profile {name!r}; choose one of {', '.join(PROFILES)}.")
    profile = PROFILES[name]
    critic = os.environ.get("RAGDEMO_CRITIC")
    if not critic:
        return profile
    others = tuple(download for download in profile.downloads if download.repository != profile.critic)
    return replace(profile, critic=critic, downloads=others)
