"""The command line: outputs, and one sentence for bad input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from strange_images import DATA
from tiny_models import CAPTIONS, build_assets

from ragdemo.cli import main
from ragdemo.cli.values import output_file, parse_settings
from ragdemo.errors import UserError
from ragdemo.recipe import read_png

PROMPT = "a quixel butterfly in the snow"


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_assets(tmp_path_factory.mktemp("assets"))


def command(*arguments: str, assets: Path) -> subprocess.CompletedProcess[str]:
    """`python -m ragdemo` as a person runs it, on an assets folder."""
    environment = os.environ | {"RAGDEMO_ASSETS": str(assets)}
    line = [sys.executable, "-m", "ragdemo", *arguments]
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_run_writes_its_files_and_repeats_its_pixels(assets: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "a", tmp_path / "b"]
    for out in outs:
        done = command("run", PROMPT, "--seed", "5", "--set", "steps=2", "--out", str(out), assets=assets)
        assert (done.returncode, done.stdout) == (0, f"{out / 'augmented.png'}\n"), done.stderr
        assert "draft 2/2" in done.stderr
    for name in ("base.png", "augmented.png"):
        assert outs[0].joinpath(name).read_bytes() == outs[1].joinpath(name).read_bytes()
    recipe = read_png(outs[0] / "augmented.png")
    assert (recipe.request.seed, recipe.request.settings) == (5, {"steps": 2})
    lines = [json.loads(line) for line in (outs[0] / "events.jsonl").read_text().splitlines()]
    assert {"Draft", "Verdict", "References", "Result"} <= {line["event"] for line in lines}


@pytest.mark.slow
def test_search_by_words_and_by_picture(assets: Path) -> None:
    by_words = command("search", "a red car", "--k", "2", "--json", assets=assets)
    rows = json.loads(by_words.stdout)
    assert len(rows) == 2
    assert {row["caption"] for row in rows} <= set(CAPTIONS)
    picture = next((assets / "pocket" / "library" / "images").iterdir())
    by_picture = command("search", str(picture), "--k", "1", "--json", assets=assets)
    assert json.loads(by_picture.stdout)[0]["id"] == picture.stem
    cars = command("search", "a red car", "--where", "kind=car", "--each", "--json", assets=assets)
    assert [row["caption"] for row in json.loads(cars.stdout)] == [CAPTIONS[2], CAPTIONS[1]]
    by_photo = command("search", str(DATA / "exif_xres.jpg"), "--k", "1", "--json", assets=assets)
    assert (by_photo.returncode, len(json.loads(by_photo.stdout))) == (0, 1), by_photo.stderr


def test_a_damaged_checkpoint_is_named_without_traceback(assets: Path, tmp_path: Path) -> None:
    shutil.copytree(assets, tmp_path / "assets")
    weights = tmp_path / "assets" / "pocket" / "critic" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    done = command("run", PROMPT, "--out", str(tmp_path / "out"), assets=tmp_path / "assets")
    assert done.returncode == 2
    assert "critic" in done.stderr
    assert "damaged" in done.stderr
    assert "python -m ragdemo train critic-vision critic" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


BAD = {
    "missing picture": (["search", "gone.png"], "gone.png"),
    "other file as query": (["search", __file__], "test_cli.py cannot be read"),
    "missing tiff": (["search", "gone.TIFF"], "gone.TIFF"),
    "folder as query": (["search", "/"], "'/'"),
    "unknown device": (["train", "vae", "--device", "nodev"], "nodev"),
    "unwritable workdir": (["train", "vae", "--workdir", "/proc/x"], "/proc/x"),
    "escaping name": (["world", "new-species", "--name", "../x fish", "--out", "new"], "../x fish"),
    "empty prompt": (["run", "  ", "--out", "x"], "empty"),
    "long prompt": (["run", "x" * 5000, "--out", "x"], "5,000"),
    "NUL": (["run", "a\0b", "--out", "x"], "control character"),
    "method": (["run", "a fox", "--method", "nope", "--out", "x"], "'nope'"),
    "profile": (["run", "a fox", "--profile", "nope", "--out", "x"], "'nope'"),
    "seed no number": (["run", "a fox", "--seed", "three", "--out", "x"], "'three'"),
    "seed too large": (["run", "a fox", "--seed", "4294967296", "--out", "x"], "4294967296"),
    "seed too small": (["run", "a fox", "--seed", "-1", "--out", "x"], "-1"),
    "setting": (["run", "a fox", "--set", "tempo=3", "--out", "x"], "'tempo'"),
    "setting form": (["run", "a fox", "--set", "tempo", "--out", "x"], "key=value"),
    "setting value": (["run", "a fox", "--set", "max_rounds=9", "--out", "x"], "from 1 to 5"),
    "own image": (["run", "a fox", "--own", "gone.png", "--out", "x"], "gone.png"),
    "unwritable": (["run", "a fox", "--out", "/dev/null/x"], "/dev/null/x"),
    "no out": (["run", "a fox"], "--out"),
    "no command": ([], "COMMAND"),
    "unknown command": (["rum"], "'rum'"),
    "k": (["search", "a fox", "--k", "0"], "'0'"),
    "long search": (["search", "x" * 5000], "5,000"),
    "library": (["search", "a fox", "--library", "/nowhere"], "/nowhere"),
    "bench method": (["bench", "--method", "nope", "--out", "x.json"], "'nope'"),
    "count": (["world", "new-species", "--name", "wug", "--count", "-3", "--out", "x"], "'-3'"),
    "steps": (["train", "--steps", "many"], "'many'"),
    "pictures as steps": (["train", "critic-drafts", "--steps", "9"], "critic-drafts"),
    "count of no pictures": (["train", "vae", "--count", "9"], "--count"),
    "realrag's library": (["train", "realrag", "--library", "/nowhere"], "/nowhere"),
    "judge nothing": (["world", "judge", "gone.png"], "gone.png"),
    "judge no file": (["world", "judge"], "FILE"),
    "another method's setting": (
        ["run", "a fox", "--method", "realrag", "--set", "mode=draft", "--out", "x"],
        "'mode'",
    ),
}


@pytest.mark.parametrize(("arguments", "named"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str],
    named: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith("ragdemo: ")
    assert output.err.rstrip().endswith(".")
    assert named in output.err
    assert list(tmp_path.iterdir()) == []


def test_vocabulary_lists_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vocabulary", "--json"]) == 0
    lists = json.loads(capsys.readouterr().out)
    assert set(lists) == {"kinds", "scenes", "common", "rare", "novel"}


def test_the_oracle_judges_files_and_names_those_it_cannot_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, cut = tmp_path / "truth.png", tmp_path / "cut.png"
    assert main(["world", "render", PROMPT, "--out", str(truth)]) == 0
    cut.write_bytes(truth.read_bytes()[:200])
    assert main(["world", "judge", str(truth), str(cut), str(tmp_path / "gone.png"), "--json"]) == 2
    output = capsys.readouterr()
    (row,) = json.loads(output.out)
    assert (row["file"], row["species"], row["kind"], row["scene"]) == (
        str(truth),
        "quixel butterfly",
        "butterfly",
        "snow",
    )
    assert {"main", "second", "third", "pattern", "shape"} < set(row)
    assert set(row["probabilities"]) == set(row) - {"file", "probabilities"}
    assert ["cut.png" in output.err, "gone.png" in output.err, output.err.count("\n")] == [True, True, 2]
    assert main(["world", "judge", str(truth)]) == 0
    assert "quixel butterfly (" in capsys.readouterr().out


@pytest.mark.slow
def test_realrags_heads_ask_before_they_download(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("RAGDEMO_ALLOW_DOWNLOAD", raising=False)
    assert main(["train", "realrag", "--profile", "sdxl", "--workdir", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert "would download" in error
    assert "--allow-download" in error
    assert "Qwen" not in error  # the critic takes no part in it


def test_settings_are_json_where_they_can_be() -> None:
    pairs = ["mode=generation", "steps=3", "guidance_scale=2.5", "hybrid=true", "similarity_threshold=null"]
    assert parse_settings(pairs) == {
        "mode": "generation",
        "steps": 3,
        "guidance_scale": 2.5,
        "hybrid": True,
        "similarity_threshold": None,
    }
    with pytest.raises(UserError, match="key=value"):
        parse_settings(["=3"])


@pytest.mark.parametrize("value", ["[" * 100_000, "1" * 5000, '{"a":' * 50_000])
def test_a_setting_that_cannot_be_read_is_one_sentence(value: str) -> None:
    with pytest.raises(UserError, match="too deeply or too large") as caught:
        parse_settings([f"{'steps' * 100}={value}"])
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["n" * 300, "/proc/nowhere/x.json", "a\0b", ""])
def test_a_file_that_cannot_be_written_is_one_sentence(name: str) -> None:
    with pytest.raises(UserError, match="choose another"):
        output_file(name)


def test_a_reader_who_has_read_enough_ends_it_quietly(assets: Path) -> None:
    line = f"{sys.executable} -m ragdemo vocabulary --json | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_a_name_that_the_terminal_cannot_show_is_no_error(assets: Path, tmp_path: Path) -> None:
    out = tmp_path / "蝶" / "picture.png"
    line = [sys.executable, "-m", "ragdemo", "world", "judge", str(out)]
    done = subprocess.run(
        line, env=os.environ | {"PYTHONIOENCODING": "cp1252"}, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
