"""Tables of pictures: parquet files, and data sets as the library `datasets` saves them; they need pyarrow.

A column of pictures holds bytes, or the pair of bytes and path that `datasets` keeps. A number that the table's own
description calls a class is that class's name. Rows are read in batches, never the whole table.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragdemo.errors import UserError
from ragdemo.files import shown_name
from ragdemo.library.sources import Entry, Source

if TYPE_CHECKING:
    import pyarrow as pa

SAVED_FILES = ("dataset_dict.json", "state.json")
CAPTION_COLUMNS = ("text", "caption", "name", "title", "label")
_ROWS = 64
_PLAIN = (str, int, float, bool)


def is_table(path: Path) -> bool:
    """Whether a path is a parquet file, a folder of them, or a saved data set."""
    if os.path.isfile(path):
        return path.suffix.lower() == ".parquet"
    return os.path.isdir(path) and bool(_files(path))


def table_source(path: Path) -> Source:
    """The pictures of a table; raises `UserError` if pyarrow is missing or the table has no pictures."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{shown_name(path)} is a table, and reading tables needs pyarrow; install it with `python -m pip install "
            "pyarrow`."
        ) from error
    tables = [_Table(file, path) for file in ([path] if path.is_file() else _files(path))]
    return Source(
        sum(table.count for table in tables), lambda: (entry for one in tables for entry in one.entries())
    )


@dataclass(frozen=True)
class _Table:
    """One file of a table; a folder's files name their split by their own or their folder's name."""

    file: Path
    root: Path

    @property
    def count(self) -> int:
        """How many rows it has; raises `UserError` if the file is damaged."""
        import pyarrow.parquet as pq

        with _faults(self.file):
            if self._is_parquet:
                return int(pq.read_metadata(self.file).num_rows)
            return sum(batch.num_rows for batch in self._batches())

    def entries(self) -> Iterator[Entry]:
        """Its rows; a picture that a row lacks is named when it is read."""
        schema = self._schema()
        picture = _picture_column(schema)
        if picture is None:
            columns = ", ".join(schema.names)
            raise UserError(f"{shown_name(self.file)} has no column of pictures; it has {columns}.")
        names, numbers = _class_names(schema), count()
        stamp, label = (
            self._stamp(),
            self.file.relative_to(self.root).as_posix() if self.file != self.root else self.file.name,
        )
        for batch in self._batches():
            for row in batch.to_pylist():
                number = next(numbers)
                value = row.pop(picture)
                name = _name_of(value) or f"{number:07}"
                yield Entry(
                    f"{label}/{name}",
                    f"{stamp} {number}",
                    partial(_bytes_of, value, name),
                    _said(row, names) | self._split(),
                )

    @property
    def _is_parquet(self) -> bool:
        return self.file.suffix.lower() == ".parquet"

    def _schema(self) -> pa.Schema:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with _faults(self.file):
            if self._is_parquet:
                return pq.read_schema(self.file)
            with pa.memory_map(str(self.file)) as file:
                return pa.ipc.open_stream(file).schema

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in batches of at most `_ROWS`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with _faults(self.file):
            if self._is_parquet:
                with pq.ParquetFile(self.file) as parquet:
                    yield from parquet.iter_batches(_ROWS)
                return
            with pa.memory_map(str(self.file)) as file:
                for batch in pa.ipc.open_stream(file):
                    yield from (batch.slice(start, _ROWS) for start in range(0, batch.num_rows, _ROWS))

    def _split(self) -> dict[str, str]:
        """The split that a file's place names, as saved data sets and hub exports do."""
        if self.file == self.root:
            return {}
        folder = self.file.parent.name if self.file.parent != self.root else self.file.stem.split("-")[0]
        return {"split": folder} if folder in ("train", "test", "validation", "eval") else {}

    def _stamp(self) -> str:
        status = self.file.stat()
        return f"{status.st_size}-{status.st_mtime_ns}"


@contextmanager
def _faults(file: Path) -> Iterator[None]:
    """What reading a damaged file raises, in one sentence."""
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"The table {shown_name(file)} cannot be read; make it anew.") from error


def _files(folder: Path) -> list[Path]:
    """The files of a saved data set, or the parquet files of a folder, in their order."""
    if any((folder / name).is_file() for name in SAVED_FILES):
        return sorted(path for path in folder.glob("**/*.arrow") if not path.name.startswith("cache-"))
    return sorted(folder.glob("**/*.parquet"))


def _picture_column(schema: pa.Schema) -> str | None:
    """The first column of pictures: bytes with a path, else plain bytes."""
    import pyarrow.types as types

    for column in schema:
        if types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
            return column.name
    plain = (
        column.name for column in schema if types.is_binary(column.type) or types.is_large_binary(column.type)
    )
    return next(plain, None)


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """The names of the classes of columns whose numbers stand for one."""
    said = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(said).get("info", {}).get("features", {})
    except (ValueError, AttributeError):
        return {}
    named = {key: value.get("names") for key, value in features.items() if isinstance(value, dict)}
    return {key: names for key, names in named.items() if isinstance(names, list)}


def _said(row: Mapping[str, Any], names: Mapping[str, list[str]]) -> dict[str, Any]:
    """The plain values of a row, with its caption as `text`."""
    values = {key: value for key, value in row.items() if isinstance(value, _PLAIN)}
    for key, known in names.items():
        number = values.get(key)
        if isinstance(number, int) and 0 <= number < len(known):
            values[key] = str(known[number])
    caption = next((values[key] for key in CAPTION_COLUMNS if isinstance(values.get(key), str)), None)
    return values if caption is None else values | {"text": caption}


def _name_of(value: Any) -> str:
    path = value.get("path") if isinstance(value, dict) else None
    return Path(path).name if isinstance(path, str) else ""


def _bytes_of(value: Any, name: str) -> bytes:
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes) or not data:
        raise UserError(f"{name} carries no picture; save the data set with its files.")
    return data
