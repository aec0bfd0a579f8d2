"""What a machine can run: GPU, downloads and folders decide, and what is missing is said in one line."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ragdemo import profiles
from ragdemo.methods import METHODS
from ragdemo.profiles import POCKET, Profile
from ragdemo.run import offers
from ragdemo.run.inprocess import useful_roles
from ragdemo.run.offers import Offers, find_offers, gpu_gigabytes


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with an empty hub cache, without what other tests add, whose GPU is asked for anew."""
    for table, shipped in ((METHODS, ("imagerag", "realrag")), (profiles.PROFILES, ("pocket", "sdxl"))):
        for name in [name for name in table if name not in shipped]:
            monkeypatch.delitem(table, name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    gpu_gigabytes.cache_clear()
    yield
    gpu_gigabytes.cache_clear()


def gpu(says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `nvidia-smi` says."""
    done = subprocess.CompletedProcess(offers._ASK, 0, says)
    monkeypatch.setattr(offers.subprocess, "run", lambda *_, **__: done)


def names(found: Offers) -> dict[str, list[str]]:
    """The methods that are offered, by profile."""
    return {offer.profile.name: [method.name for method in offer.methods] for offer in found.here}


def lacking(roles: dict[str, str]) -> Profile:
    """The pocket profile with other folders in some roles."""
    changed = {name: replace(POCKET.spec(name), weights=folder) for name, folder in roles.items()}
    return replace(POCKET, roles={**POCKET.roles, **changed})


def test_a_machine_without_a_gpu_runs_the_pocket_and_says_what_sdxl_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu("", monkeypatch)
    found = find_offers()
    assert names(found) == {"pocket": ["imagerag", "realrag"]}
    (line,) = found.lacking
    assert line.startswith("sdxl: needs a GPU with 32 GB and 27.5 GB of downloads (")


def test_with_a_gpu_and_leave_to_download_only_what_must_be_trained_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu("16384\n81559\n", monkeypatch)
    monkeypatch.setenv("RAGDEMO_ALLOW_DOWNLOAD", "1")
    found = find_offers()
    assert names(found) == {"pocket": ["imagerag", "realrag"], "sdxl": ["imagerag"]}
    remedy = "rebuild it with `python -m ragdemo train realrag --profile sdxl`"
    assert found.lacking == (f"sdxl, RealRAG: needs the weights of its retrievers ({remedy}).",)


@pytest.mark.parametrize("says", ["", "[N/A]\n", "NVIDIA-SMI has failed because it couldn't talk to it.\n"])
def test_a_gpu_that_does_not_answer_is_none(says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(says, monkeypatch)
    assert gpu_gigabytes() == 0


def test_a_method_without_its_folder_is_left_out_and_its_roles_are_not_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(profiles.PROFILES, "pocket", lacking({"critic": "/nowhere"}))
    found = find_offers()
    assert names(found) == {"pocket": ["realrag"]}
    assert found.lacking[0].startswith("pocket, ImageRAG: needs the weights of its critic (rebuild it with")
    assert "critic" not in {role.name for role in useful_roles(profiles.PROFILES["pocket"])}


def test_where_nothing_can_run_the_first_profile_is_offered_to_say_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty = lacking(dict.fromkeys(POCKET.roles, "/nowhere"))
    monkeypatch.setitem(profiles.PROFILES, "pocket", empty)
    assert names(find_offers()) == {"pocket": ["imagerag", "realrag"]}
    assert {role.name for role in useful_roles(empty)} == set(POCKET.roles)
