"""The engine behind page and command line; importing it loads no model library."""

from ragdemo.backend.base import Backend, BackendError, LibraryItem, LibraryPage, Status, check_request
from ragdemo.backend.engine import EngineProcess
from ragdemo.backend.local import LocalBackend
from ragdemo.backend.process import ProcessBackend

__all__ = [
    "Backend",
    "BackendError",
    "EngineProcess",
    "LibraryItem",
    "LibraryPage",
    "LocalBackend",
    "ProcessBackend",
    "Status",
    "check_request",
]
