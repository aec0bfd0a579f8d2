"""Tables of pictures, as parquet files and as `datasets` saves them, become libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from library_world import picture

from ragdemo.errors import UserError
from ragdemo.images import encode_png
from ragdemo.library import tables
from ragdemo.library.ingest import ingest


def table(count: int, start: int = 0) -> pa.Table:
    """Pictures as `datasets` keeps them, with a class, a caption for the even ones, and a column that is no text."""
    pictures = [
        {"bytes": encode_png(picture(start + i)), "path": f"photo-{start + i}.png"} for i in range(count)
    ]
    columns = {
        "image": pictures,
        "label": [(start + i) % 2 for i in range(count)],
        "license": ["CC0"] * count,
        "boxes": [[1, 2]] * count,
    }
    features = {"image": {"_type": "Image"}, "label": {"names": ["fox", "owl"], "_type": "ClassLabel"}}
    described = json.dumps({"info": {"features": features}})
    return pa.table(columns).replace_schema_metadata({"huggingface": described})


def save_arrow(path: Path, rows: pa.Table) -> None:
    """A file of Arrow's stream format, as `save_to_disk` writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, rows.schema) as writer:
        writer.write_table(rows)


def test_a_parquet_file_becomes_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ROWS", 2)
    pq.write_table(table(5), tmp_path / "animals.parquet")
    library = ingest(tmp_path / "animals.parquet", tmp_path / "library").library
    assert [row.caption for row in library.rows] == ["fox", "owl", "fox", "owl", "fox"]
    assert library.rows[0].extra == {
        "file": "animals.parquet/photo-0.png",
        "label": "fox",
        "license": "CC0",
    }


def test_a_saved_data_set_keeps_its_splits(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    save_arrow(saved / "train" / "data-00000-of-00002.arrow", table(2))
    save_arrow(saved / "train" / "data-00001-of-00002.arrow", table(2, 2))
    save_arrow(saved / "test" / "data-00000-of-00001.arrow", table(1, 4))
    (saved / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    library = ingest(saved, tmp_path / "library").library
    assert {name: len(library.rows_of(name)) for name in library.splits} == {"test": 1, "train": 4}


def test_a_broken_off_build_of_a_table_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragdemo.library.ingest.BATCH", 2)
    pq.write_table(table(5), tmp_path / "animals.parquet")
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        assert total == 5
        seen.append(done)
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(tmp_path / "animals.parquet", tmp_path / "library", progress=stop)
    made = ingest(
        tmp_path / "animals.parquet", tmp_path / "library", progress=lambda done, _: seen.append(done)
    )
    assert seen == [0, 2, 4, 4, 5]
    assert len(made.library) == 5


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"image": [{"bytes": None, "path": "/photos/a.png"}]}, "carries no picture"),
        ({"image": [b"no picture"]}, "cannot be read"),
    ],
)
def test_a_row_without_a_picture_is_named(rows: dict[str, Any], reason: str, tmp_path: Path) -> None:
    good = {"image": rows["image"] + ([encode_png(picture(1))] if isinstance(rows["image"][0], bytes) else [
        {"bytes": encode_png(picture(1)), "path": None}
    ])}  # fmt: skip
    pq.write_table(pa.table(good), tmp_path / "some.parquet")
    made = ingest(tmp_path / "some.parquet", tmp_path / "library")
    assert [reason in one.reason for one in made.skipped] == [True]
    assert len(made.library) == 1


def test_what_is_no_table_of_pictures_is_one_sentence(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a fox"], "number": [1]}), tmp_path / "words.parquet")
    with pytest.raises(UserError, match="has no column of pictures; it has text, number"):
        ingest(tmp_path / "words.parquet", tmp_path / "library")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"damaged\.parquet cannot be read"):
        ingest(tmp_path / "damaged.parquet", tmp_path / "library")
