"""The only file that names checkpoints: a profile is a table of roles, and no code asks which profile it runs."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ragdemo.errors import UserError

ASSETS = Path(os.environ.get("RAGDEMO_ASSETS", Path(__file__).resolve().parent.parent / "assets"))
DEFAULT_PROFILE = "pocket"


@dataclass(frozen=True)
class Download:
    """Files of a hub repository that a role needs: shell patterns, size in gigabytes (10⁹ bytes).

    `revision` is that of the spec, a commit or a tag; None is what the hub has now.
    """

    repository: str
    patterns: tuple[str, ...]
    gigabytes: float
    revision: str | None = None


@dataclass(frozen=True)
class Spec:
    """How a profile fills one role.

    `loader` is "module:function"; the function gets this spec and a device and returns the model. `weights` is a local
    folder or a hub id, passed to the model's own library, `revision` and `variant` go with it. `dtype` is the number
    format on a GPU. `options` are the loader's own; `defaults` are the sampling settings that suit the weights.
    `remedy` ends the sentence about missing or damaged weights.
    """

    loader: str
    weights: str
    revision: str | None = None
    variant: str | None = None
    dtype: str = "float16"
    options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    downloads: tuple[Download, ...] = ()
    remedy: str = "download it again with `hf download`"

    @property
    def folders(self) -> tuple[str, ...]:
        """Where its weights are: a folder or hub id each, of the model itself and of what its options add."""
        return (self.weights, *(self.options[name] for name in ("adapter", "parts") if name in self.options))

    @property
    def is_missing(self) -> bool:
        """Whether the weights, or parts of its own, are a local folder that is not there."""
        places = [Path(place) for place in (self.weights, self.options.get("parts", self.weights))]
        return any(place.is_absolute() and not place.is_dir() for place in places)


@dataclass(frozen=True)
class Profile:
    """Checkpoints that run together, by role.

    `memory_gigabytes` is what the models take on a GPU while drawing. A single drawing on a CPU is fastest on
    `cpu_threads` threads; 0 leaves that to torch. `vocabulary` is a file of all the words that the models know, if they
    know a small world alone (`ragdemo.vocabulary`); published models have none.
    """

    name: str
    roles: Mapping[str, Spec]
    memory_gigabytes: float = 0.0
    cpu_threads: int = 0
    vocabulary: Path | None = None

    def spec(self, role: str) -> Spec:
        """How the profile fills a role; raises `UserError` if it does not."""
        if role not in self.roles:
            raise UserError(
                f"The profile {self.name!r} has no {role}; it has {', '.join(self.roles)}. Choose another profile or "
                "method."
            )
        return self.roles[role]

    def default(self, setting: str, roles: Collection[str]) -> Any:
        """The value that a setting takes in some roles if nobody sets it, None if none of them has one."""
        specs = [self.roles[role] for role in roles if role in self.roles]
        found = (spec.defaults[setting] for spec in specs if setting in spec.defaults)
        return next(found, None)


_POCKET = ASSETS / "pocket"
_LOAD_GENERATOR = "ragdemo.models.diffusion:load_generator"
_LOAD_ONE_STEP = "ragdemo.models.one_step:load_one_step"
_LOAD_JANUS = "ragdemo.models.janus:load_janus"
_LOAD_BLENDERS = "ragdemo.methods.ar_rag.faid:load_blenders"
_LOAD_CRITIC = "ragdemo.models.critic:load_critic"
_LOAD_ENCODER = "ragdemo.models.encoder:load_encoder"
_LOAD_HEADS = "ragdemo.methods.realrag.retrievers:load_heads"


def _retrain(stages: str) -> str:
    return f"rebuild it with `python -m ragdemo train {stages}`"


POCKET = Profile(
    name="pocket",
    roles={
        "generator": Spec(
            loader=_LOAD_GENERATOR,
            weights=str(_POCKET / "diffusion"),
            options={
                "adapter": str(_POCKET / "ip_adapter"),
                "adapter_subfolder": "models",
                "adapter_weights": "ip-adapter-plus_pocket.safetensors",
                "adapter_image_encoder": "image_encoder",
                "reference_prompt": "{prompt}",
            },
            defaults={"steps": 16, "guidance_scale": 3.0, "reference_scale": 1.0},
            remedy=_retrain("vae text-encoder image-encoder diffusion"),
        ),
        "critic": Spec(
            loader=_LOAD_CRITIC, weights=str(_POCKET / "critic"), remedy=_retrain("critic-vision critic")
        ),
        "encoder": Spec(
            loader=_LOAD_ENCODER,
            weights=str(_POCKET / "encoder"),
            options={"known_words": str(_POCKET / "encoder" / "known_words.txt")},
            remedy=_retrain("encoder encoder-tail"),
        ),
        "retrievers": Spec(loader=_LOAD_HEADS, weights=str(_POCKET / "realrag"), remedy=_retrain("realrag")),
        "autoregressive": Spec(
            loader=_LOAD_JANUS,
            weights=str(_POCKET / "janus"),
            defaults={"guidance_scale": 2.5, "temperature": 0.9},
            remedy=_retrain("janus-vq janus-tokens janus"),
        ),
    },
    # its matrices are so small that a second thread costs more than it brings, and the page has a core for itself
    cpu_threads=1,
    vocabulary=_POCKET / "vocabulary.json",
)

_SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
_IP_ADAPTER = "h94/IP-Adapter"
_QWEN = "Qwen/Qwen2.5-VL-7B-Instruct"
_CLIP = "timm/vit_base_patch32_clip_224.openai"

# As published (ImageRAG, section 4): scale 0.5, 50 steps, CLIP ViT-B/32; Qwen2.5-VL-7B stands in for GPT-4o there too.
SDXL = Profile(
    name="sdxl",
    roles={
        "generator": Spec(
            loader=_LOAD_GENERATOR,
            weights=_SDXL,
            variant="fp16",
            options={
                "adapter": _IP_ADAPTER,
                "adapter_subfolder": "sdxl_models",
                "adapter_weights": "ip-adapter-plus_sdxl_vit-h.safetensors",
                "adapter_image_encoder": "models/image_encoder",
                "reference_prompt": "according to these images of {captions}, {prompt}",
            },
            defaults={"steps": 50, "guidance_scale": 5.0, "reference_scale": 0.5},
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
            ),
        ),
        "critic": Spec(
            loader=_LOAD_CRITIC,
            weights=_QWEN,
            downloads=(Download(_QWEN, ("*.json", "merges.txt", "*.safetensors"), 16.6),),
        ),
        "encoder": Spec(
            loader=_LOAD_ENCODER,
            weights=_CLIP,
            downloads=(Download(_CLIP, ("*.json", "merges.txt", "open_clip_model.safetensors"), 0.6),),
        ),
        "retrievers": Spec(
            _LOAD_HEADS, str(ASSETS / "sdxl" / "realrag"), remedy=_retrain("realrag --profile sdxl")
        ),
    },
    memory_gigabytes=32,
)

_JANUS = "deepseek-community/Janus-Pro-1B"

# As published (AR-RAG, section 4): guidance scale 5, temperature 1.
JANUS_PRO = Profile(
    name="janus-pro",
    roles={
        "autoregressive": Spec(
            loader=_LOAD_JANUS,
            weights=_JANUS,
            dtype="bfloat16",
            defaults={"guidance_scale": 5.0, "temperature": 1.0},
            downloads=(Download(_JANUS, ("*.json", "*.jinja", "*.safetensors"), 4.2),),
        ),
        "encoder": SDXL.roles["encoder"],
    },
    memory_gigabytes=10,
)

_SD_TURBO = "stabilityai/sd-turbo"

# One step without guidance (Sauer et al. 2023); w as published (ImageRAGTurbo, section 4). Community licence.
SD_TURBO = Profile(
    name="sd-turbo",
    roles={
        "one_step": Spec(
            loader=_LOAD_ONE_STEP,
            weights=_SD_TURBO,
            variant="fp16",
            defaults={"steps": 1, "guidance_scale": 0.0, "blend": 0.8},
            downloads=(
                Download(
                    _SD_TURBO,
                    (
                        "model_index.json",
                        "scheduler/*.json",
                        "tokenizer/*",
                        *(
                            f"{part}/{file}"
                            for part in ("text_encoder", "unet", "vae")
                            for file in ("config.json", "*.fp16.safetensors")
                        ),
                    ),
                    2.6,
                ),
            ),
        ),
        "encoder": SDXL.roles["encoder"],
    },
    memory_gigabytes=6,
)

PROFILES = {profile.name: profile for profile in (POCKET, SDXL, SD_TURBO, JANUS_PRO)}


def get_profile(name: str) -> Profile:
    """The profile of that name, with the critic that `RAGDEMO_CRITIC` names, if it names one.

    Raises `UserError` if there is no such profile.
    """
    if name not in PROFILES:
        raise UserError(f"There is no profile {name!r}; choose one of {', '.join(PROFILES)}.")
    profile = PROFILES[name]
    critic = os.environ.get("RAGDEMO_CRITIC")
    if not critic or "critic" not in profile.roles:
        return profile
    spec = replace(profile.roles["critic"], weights=critic, downloads=())
    return replace(profile, roles={**profile.roles, "critic": spec})
