"""What is measured of each method: groups of cases, and the rows that summarise their records."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ragdemo.errors import UserError

PLANS = ("imagerag", "realrag", "turbo", "ar_rag")


def get_plan(method: str) -> ModuleType:
    """A module with `LIMIT`, `SEEDS`, `groups(measures, limit, seeds)` and `rows(records)`.

    It may name as `ROLE` the generator that draws, if that is not the usual one.
    """
    if method not in PLANS:
        raise UserError(f"There is no benchmark of {method!r}; choose one of {', '.join(PLANS)}.")
    return import_module(f"ragdemo.evaluation.plans.{method}")
