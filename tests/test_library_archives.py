"""Archives that come from anybody: what is a picture comes in, and nothing in them harms whoever reads them."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import time
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from library_world import picture

from ragdemo.errors import UserError
from ragdemo.images import encode_png
from ragdemo.library.ingest import ingest, prepared
from ragdemo.library.session import uploaded
from ragdemo.library.sources import SMALL_BYTES, ArchiveLimits, zip_source

PNG = encode_png(picture(1))


def packed(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip file of members by name."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_an_archive_gives_the_library_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "quixel butterfly").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png", "quixel butterfly/0001.png")):
        picture(seed).save(folder / name)
    (folder / "b.txt").write_text("from a sidecar")
    (folder / "metadata.jsonl").write_text(
        json.dumps({"file_name": "a.png", "text": "from rows", "license": "CC0"})
    )
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(tmp_path))  # in a folder, as most people pack
    from_folder = ingest(folder, tmp_path / "one").library
    from_archive = ingest(tmp_path / "mine.zip", tmp_path / "two").library
    assert [row.caption for row in from_archive.rows] == ["from rows", "from a sidecar", "quixel butterfly"]
    assert [row.sha256 for row in from_archive.rows] == [row.sha256 for row in from_folder.rows]
    assert from_archive.rows[0].extra["license"] == "CC0"


def test_members_that_lead_elsewhere_are_named_and_stay_where_they_are(tmp_path: Path) -> None:
    names = ["../out.png", "/etc/absolute.png", "a/../../b.png", "..\\windows.png", "good.png"]
    file = packed(tmp_path / "evil.zip", {name: encode_png(picture(i)) for i, name in enumerate(names)})
    before = sorted(tmp_path.rglob("*"))
    made = ingest(file, tmp_path / "library")
    assert [row.extra["file"] for row in made.library.rows] == ["good.png"]
    assert len(made.skipped) == 4
    assert all("leads out of the archive" in one.reason for one in made.skipped)
    assert (
        sorted(path for path in tmp_path.rglob("*") if tmp_path / "library" not in (path, *path.parents))
        == before
    )


def test_links_and_encrypted_members_are_named(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("secret.png", PNG)
        archive.writestr("good.png", PNG)
    data = bytearray((tmp_path / "links.zip").read_bytes())
    place = data.rindex(b"secret.png") - 46  # its header in the directory
    data[place + 8] |= 1
    (tmp_path / "links.zip").write_bytes(data)
    made = ingest(tmp_path / "links.zip", tmp_path / "library")
    reasons = {one.file_name: one.reason for one in made.skipped}
    assert "is a link" in reasons["link.png"]
    assert "is encrypted" in reasons["secret.png"]
    assert [row.id for row in made.library.rows] == ["good"]


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    zeros = b"\0" * (SMALL_BYTES + 1)
    members = {f"{number:02}.png": zeros for number in range(20)} | {"good.png": PNG}
    file = packed(tmp_path / "bomb.zip", members)
    assert file.stat().st_size < 1_000_000
    tracemalloc.start()
    made = ingest(file, tmp_path / "library")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < SMALL_BYTES
    assert len(made.skipped) == 20
    assert all("times its size" in one.reason for one in made.skipped)
    assert [row.id for row in made.library.rows] == ["good"]


def test_metadata_that_unpack_to_much_are_refused_before_that(tmp_path: Path) -> None:
    row = b'{"file_name": "good.png", "x": [' + b"[]," * 300 + b"0]}\n"
    file = packed(tmp_path / "rows.zip", {"good.png": PNG, "metadata.jsonl": row * 30_000})
    assert file.stat().st_size < 300_000
    tracemalloc.start()
    with pytest.raises(UserError, match=r"metadata\.jsonl in rows\.zip has over 4 MB"), uploaded(file):
        pass
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_anywhere_is_one_sentence_or_one_skipped_file(kind: int, tmp_path: Path) -> None:
    rng, whole = random.Random(kind), packed(tmp_path / "x.zip", {"a.png": PNG, "b.txt": b"x" * 99}, kind)
    data = whole.read_bytes()
    for _ in range(400):
        hurt = bytearray(data)
        for _ in range(rng.choice([1, 2, 5])):
            hurt[rng.randrange(len(hurt))] = rng.randrange(256)
        whole.write_bytes(hurt)
        with suppress(UserError), uploaded(whole) as source:
            for entry in source.entries():
                with suppress(UserError):
                    prepared(entry)


def test_a_member_that_lies_about_its_size_is_cut_and_named(tmp_path: Path) -> None:
    file = packed(tmp_path / "liar.zip", {"liar.png": b"\0" * 5_000_000, "good.png": PNG})
    data = bytearray(file.read_bytes())
    place = data.rindex(b"liar.png") - 46
    data[place + 24 : place + 28] = struct.pack("<I", 100)
    file.write_bytes(data)
    made = ingest(file, tmp_path / "library")
    assert [one.file_name for one in made.skipped] == ["liar.png"]
    assert [row.id for row in made.library.rows] == ["good"]


def test_an_archive_beyond_the_limits_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = packed(tmp_path / "large.zip", {f"{number}.bmp": os.urandom(1000) for number in range(50)})
    with pytest.raises(UserError, match="has 50 members"), zip_source(file, ArchiveLimits(members=49)):
        pass
    with (
        pytest.raises(UserError, match="once they are unpacked"),
        zip_source(file, ArchiveLimits(unpacked=9_999)),
    ):
        pass


def test_a_hundred_thousand_members_take_seconds(tmp_path: Path) -> None:
    file = tmp_path / "many.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(100_000):
            archive.writestr(f"{number}.txt", b"")
        archive.writestr("good.png", PNG)
    start = time.process_time()
    assert [row.id for row in ingest(file, tmp_path / "library").library.rows] == ["good"]
    assert time.process_time() - start < 20
    with pytest.raises(UserError, match="100,001 members"), zip_source(file, ArchiveLimits(members=10_000)):
        pass


def test_names_in_other_encodings(tmp_path: Path) -> None:
    file = packed(tmp_path / "names.zip", {"zwXlf.png": PNG, "cafX.png": encode_png(picture(2))})
    data = file.read_bytes().replace(b"zwXlf.png", b"zw\xc3lf.png").replace(b"cafX.png", b"caf\xe9.png")
    file.write_bytes(data)  # neither is UTF-8, and neither says so: as old archivers write them
    assert len(ingest(file, tmp_path / "library").library) == 2
    utf8 = packed(tmp_path / "utf8.zip", {"zwXXlf Xpfel.png": PNG})
    utf8.write_bytes(
        utf8.read_bytes().replace(b"zwXXlf Xpfel.png", "zwölf apfel.png".encode())
    )  # and this one is
    assert ingest(utf8, tmp_path / "second").library.rows[0].caption == "zwölf apfel"
    lying = packed(tmp_path / "lying.zip", {"é.png": PNG})
    lying.write_bytes(lying.read_bytes().replace("é.png".encode(), b"\xc3\xc3.png"))  # says UTF-8 and is not
    with pytest.raises(UserError, match=r"lying\.zip has names that are no UTF-8"):
        ingest(lying, tmp_path / "third")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no archive", b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_archive_is_one_sentence(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "not.zip").write_bytes(data)
    with pytest.raises(UserError, match=r"not\.zip"):
        ingest(tmp_path / "not.zip", tmp_path / "library")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["not.zip"]


def test_an_archive_that_was_cut_in_transit(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(4):
            archive.writestr(f"{number}.png", encode_png(picture(number)))
    data = bytearray(buffer.getvalue())
    data[100:140] = bytes(40)  # inside the first picture
    (tmp_path / "hurt.zip").write_bytes(data)
    made = ingest(tmp_path / "hurt.zip", tmp_path / "library")
    assert [one.file_name for one in made.skipped] == ["0.png"]
    assert len(made.library) == 3


def test_what_a_mac_packs_beside_each_file_is_no_picture(tmp_path: Path) -> None:
    file = packed(
        tmp_path / "mac.zip", {"good.png": PNG, "__MACOSX/._good.png": b"fork", "._good.png": b"fork"}
    )
    made = ingest(file, tmp_path / "library")
    assert ([row.id for row in made.library.rows], made.skipped) == (["good"], ())
