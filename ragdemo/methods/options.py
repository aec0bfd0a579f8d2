"""Reading a method's settings from a request: names, types and ranges, with one sentence where they are wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from ragdemo.types import UserError

Options = TypeVar("Options")
Check = Callable[[str, Any], None]


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; whole ones where both are."""

    low: float
    high: float
    optional: bool = False

    def __call__(self, name: str, value: Any) -> None:
        """Raise `UserError` where the value is no such number."""
        if value is None and self.optional:
            return
        whole = isinstance(self.low, int)
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not self.low <= value <= self.high:
            number = "a whole number" if whole else "a number"
            raise UserError(
                f"The setting {name} is {value!r}; choose {number} from {self.low} to {self.high}."
            )


def one_of(*choices: str) -> Check:
    """A check for one of some words."""

    def check(name: str, value: Any) -> None:
        if value not in choices:
            raise UserError(f"The setting {name} is {value!r}; choose one of {', '.join(choices)}.")

    return check


def maybe_bool(name: str, value: Any) -> None:
    """A check for true, false or none."""
    if value is not None and not isinstance(value, bool):
        raise UserError(f"The setting {name} is {value!r}; choose true, false or none.")


def read_options(
    kind: type[Options], method: str, values: Mapping[str, Any], checks: Mapping[str, Check]
) -> Options:
    """A dataclass of settings from a request's mapping; unknown names and wrong values raise `UserError`."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in names:
            raise UserError(f"{method} has no setting {name!r}; choose among {', '.join(names)}.")
        checks[name](name, value)
    return kind(**values)
