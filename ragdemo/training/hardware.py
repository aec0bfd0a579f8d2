"""What training asks of the machine: number formats, attention kernels, and memory that is kept."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

_WORTH_COMPILING = 500  # steps
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


def device_name(device: torch.device) -> str:
    """What a card calls the machine."""
    return torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {os.cpu_count()} cores"


def keep_memory() -> None:
    """Ask glibc to keep freed memory: returning it to the system after every step costs more than the arithmetic."""
    if platform.system() == "Linux":
        libc = ctypes.CDLL(None)
        for parameter, value in (
            (_M_MMAP_THRESHOLD, 2**30),
            (_M_TRIM_THRESHOLD, 2**31 - 1),
            (_M_TOP_PAD, 2**27),
        ):
            libc.mallopt(parameter, value)


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 if the hardware multiplies it natively, else float32."""
    native = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=native)


def attention(device: torch.device) -> AbstractContextManager[None]:
    """On a CPU, plain matrix products: for short sequences the fused backward pass takes half as long again."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def compiled(function: Callable[..., Any], steps: int) -> Callable[..., Any]:
    """The function with its element-wise parts fused, if a C++ compiler is there and `steps` are worth its minute."""
    return torch.compile(function) if steps >= _WORTH_COMPILING and shutil.which("c++") else function
