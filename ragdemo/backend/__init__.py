"""The engine behind page and command line; importing it loads no model library."""

from ragdemo.backend.base import Backend, BackendError, LibraryItem, LibraryPage, Status, check_request
from ragdemo.backend.local import LocalBackend

__all__ = ["Backend", "BackendError", "LibraryItem", "LibraryPage", "LocalBackend", "Status", "check_request"]
