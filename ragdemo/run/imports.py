"""Imports that fail while the program runs: what to say of one, and whether this process can try again."""

from __future__ import annotations

import sys

from ragdemo.errors import ModelError


def is_failed_import(error: BaseException | None) -> bool:
    """Whether an error is a failed import or was caused by one."""
    while error is not None and not isinstance(error, ImportError):
        error = error.__cause__
    return error is not None


def needs_new_process(error: BaseException | None) -> bool:
    """Whether an import failed and left a package half loaded, as torch's native parts cannot be loaded twice."""
    # Python forgets a package whose import failed, but not the modules of it that were loaded by then
    return is_failed_import(error) and any(
        name.rpartition(".")[0] not in sys.modules for name in tuple(sys.modules) if "." in name
    )


def cannot_load(error: BaseException) -> ModelError:
    """An error of loading in one sentence: the package that is not installed, or the cause."""
    if package := _missing_package(error):
        return ModelError(
            f"The Python package {package!r}, which this needs, is not installed; install it, mostly with "
            f"`python -m pip install {package}`, and run it again."
        )
    cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return ModelError(f"The models could not be loaded ({cause}); mend what is named and run it again.")


def _missing_package(error: BaseException | None) -> str | None:
    """The package that an import did not find; a missing part of an installed one is a damaged installation."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name and "." not in error.name:
            return error.name
        error = error.__cause__
    return None
