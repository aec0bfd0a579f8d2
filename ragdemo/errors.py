"""What goes wrong in words for people; nothing here imports anything."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input or a missing file: the message is one sentence that names the value and the remedy."""


class ModelError(RuntimeError):
    """The models broke while they ran: one sentence for people, with the cause behind it."""
