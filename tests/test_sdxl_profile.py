"""The profile `sdxl`: its very classes at tiny size through the whole flow, and what it says before it downloads."""

from __future__ import annotations

import base64
import dataclasses
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from diffusers import DiffusionPipeline, StableDiffusionXLPipeline
from event_grammar import assert_grammar
from PIL import Image
from safetensors.numpy import save_file
from tiny_models import build_assets, save_critic, spec_of
from tiny_sdxl import build_sdxl
from transformers import AutoModelForImageTextToText, Qwen2_5_VLForConditionalGeneration

from ragdemo import profiles
from ragdemo.cli import main
from ragdemo.errors import UserError
from ragdemo.events import Result, Verdict
from ragdemo.models.base import GENERATOR
from ragdemo.models.critic import load_critic
from ragdemo.models.downloads import check_downloads, missing_downloads
from ragdemo.models.registry import Models
from ragdemo.profiles import PROFILES, SDXL, Download, Profile, get_profile
from ragdemo.request import Request
from ragdemo.run.inprocess import InProcess

PROMPT = "a quixel butterfly in the snow"


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Profile]:
    tiny = build_sdxl(tmp_path_factory.mktemp("sdxl"))
    profiles.PROFILES[tiny.name] = tiny
    yield tiny
    del profiles.PROFILES[tiny.name]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_assets(tmp_path_factory.mktemp("assets")) / "pocket" / "library")


def test_the_tiny_checkpoints_are_of_the_classes_that_the_profile_names(profile: Profile) -> None:
    spec = profile.spec("generator")
    pipe = DiffusionPipeline.from_pretrained(spec.weights, variant=spec.variant)
    assert type(pipe) is StableDiffusionXLPipeline
    critic = AutoModelForImageTextToText.from_pretrained(profile.spec("critic").weights)
    assert type(critic) is Qwen2_5_VLForConditionalGeneration
    options = spec.options
    assert options["adapter_weights"] == SDXL.spec("generator").options["adapter_weights"]
    assert (Path(options["adapter"]) / options["adapter_image_encoder"] / "config.json").is_file()


@pytest.mark.parametrize("mode", ["draft", "generation"])
def test_the_whole_flow_runs_through_them(profile: Profile, library: str, mode: str) -> None:
    runner = InProcess("cpu", allow_paths=True)
    request = Request(prompt=PROMPT, seed=1, profile=profile.name, library=library, settings={"mode": mode})
    events = list(runner.run(request))
    assert_grammar(events, mode)
    result = events[-1]
    assert isinstance(result, Result)
    assert result.recipe.versions["profile"] == profile.name
    assert result.recipe.references  # a critic of random weights is content with nothing


def test_an_openai_compatible_endpoint_is_a_critic(
    profile: Profile, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_critic(tmp_path)
    with serving(load_critic(spec_of("critic", tmp_path), "cpu")) as (url, seen):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("RAGDEMO_CRITIC", "openai:tiny-llava")
        runner = InProcess("cpu", allow_paths=True)
        events = list(runner.run(Request(prompt=PROMPT, profile=profile.name, library=library)))
    assert_grammar(events)
    assert any(isinstance(event, Verdict) for event in events)
    first = seen[0]
    assert (first["model"], first["temperature"]) == ("tiny-llava", 0.0)
    assert [part["type"] for part in first["messages"][0]["content"]] == ["image_url", "text"]


def test_an_endpoint_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="set OPENAI_BASE_URL"):
        load_critic(spec_of("critic", "openai:gpt"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with pytest.raises(UserError, match=r"'gpt' did not answer \(ConnectError\)") as raised:
        load_critic(spec_of("critic", "openai:gpt")).ask("Is it?", None)
    assert "secret" not in str(raised.value)
    assert "127.0.0.1" not in str(raised.value)


def repositories(profile: Profile) -> set[str]:
    return {download.repository for spec in profile.roles.values() for download in spec.downloads}


def test_without_weights_it_says_what_it_would_take_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    code = main(["run", PROMPT, "--profile", "sdxl", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert code == 2
    assert "27.5 GB" in said
    assert all(repository in said for repository in repositories(SDXL))
    assert "32 GB of GPU memory" in said
    assert "--allow-download" in said
    assert not (tmp_path / "out").exists()


def test_a_critic_of_ones_own_is_not_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGDEMO_CRITIC", "openai:qwen")
    profile = get_profile("sdxl")
    assert profile.spec("critic").weights == "openai:qwen"
    assert repositories(profile) == repositories(SDXL) - {SDXL.spec("critic").weights}


def test_a_half_downloaded_repository_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--who--what" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    refs = tmp_path / "models--who--what" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0" * 40)
    needed = Download("who/what", ("*.json", "*.safetensors"), 1.0)
    spec = dataclasses.replace(SDXL.spec("critic"), downloads=(needed,))
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    (snapshot / "model-1.safetensors").touch()
    assert missing_downloads([spec]) == [needed]
    (snapshot / "model-2.safetensors").touch()
    assert missing_downloads([spec]) == []
    (snapshot / "model.safetensors.index.json").write_text("{")
    assert missing_downloads([spec]) == [needed]


def test_a_damaged_file_of_the_hub_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    place = tmp_path / "models--who--what"
    for commit in ("0" * 40, "1" * 40):
        (place / "snapshots" / commit / "unet").mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0" * 40)
    for commit, size in (("0" * 40, 9), ("1" * 40, 30)):
        save_file({"x": np.zeros(size)}, place / "snapshots" / commit / "unet" / "model.safetensors")
    file = place / "snapshots" / ("0" * 40) / "unet" / "model.safetensors"
    needed = Download("who/what", ("unet/*.safetensors",), 1.0)
    spec = dataclasses.replace(SDXL.spec("generator"), loader="nowhere:load", options={}, downloads=(needed,))
    whole = file.read_bytes()
    for data in (whole, whole[:-1], whole[:50], b"", whole + b"x", b"\xff" * 100):
        file.write_bytes(data)
        with pytest.raises((UserError, ModuleNotFoundError)) as caught:
            Models(Profile("hub", {"generator": spec})).get(GENERATOR)
        said = "unet/model.safetensors of who/what is damaged" in str(caught.value)
        assert said == (data != whole), str(caught.value)
    older = dataclasses.replace(spec, downloads=(dataclasses.replace(needed, revision="1" * 40),))
    check_downloads(older)  # of that revision the file is whole


def test_what_is_downloaded_is_of_the_revision_that_is_loaded() -> None:
    for profile in PROFILES.values():
        for spec in profile.roles.values():
            assert {one.revision for one in spec.downloads if one.repository == spec.weights} <= {
                spec.revision
            }


class serving:  # noqa: N801 (used as a function)
    """Serve a critic as an OpenAI-compatible endpoint; gives its URL and what it was asked."""

    def __init__(self, critic) -> None:
        self._seen = seen = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                seen.append(body)
                image, question = None, ""
                for part in body["messages"][0]["content"]:
                    if part["type"] == "text":
                        question = part["text"]
                    else:
                        image = Image.open(BytesIO(base64.b64decode(part["image_url"]["url"].split(",")[1])))
                reply = critic.ask(question, image, temperature=body["temperature"], seed=body["seed"])
                answer = json.dumps(
                    {"choices": [{"message": {"role": "assistant", "content": reply}}]}
                ).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> tuple[str, list]:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}/v1", self._seen

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
