"""Training states and pools: resumed by the training that wrote them, and by no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from ragdemo.errors import UserError
from ragdemo.library.store import NewImage, write_library
from ragdemo.training import STAGES, oracle
from ragdemo.training import main as train
from ragdemo.training.export import shipped_card, write_card
from ragdemo.training.keys import constants, key_of
from ragdemo.training.loop import Context, Loop
from ragdemo.training.realrag import train_realrag
from ragdemo.world import pool, version
from ragdemo.world.pool import PoolSpec, render_pool
from ragdemo.world.sampling import species_sample
from ragdemo.world.species import roster


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path / "runs", tmp_path / "assets", torch.device("cpu"), workers=1)


def loop(context: Context, name: str = "toy", start: float = 1.0, **options) -> Loop:
    """A loop over one layer of four weights that all begin at `start`."""
    layer = nn.Linear(4, 1, bias=False)
    nn.init.constant_(layer.weight, start)
    return Loop(name, context, {"layer": layer}, **{"steps": 6, "learning_rate": 1e-2, **options})


def run(made: Loop) -> list[int]:
    """Train and return the steps that were taken."""
    taken: list[int] = []

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        taken.append(step)
        return made.modules["layer"].weight.square().sum(), {}

    made.run(step_loss)
    return taken


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 2e-2},
        {"weight_decay": 0.5},
        {"ema_decay": 0.5},
        {"inputs": {"pools": PoolSpec("generator", "test/a", 8)}},
        {"inputs": {"frozen": nn.Linear(2, 2)}},
        {"start": 2.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_setting_starts_anew_in_a_file_of_its_own_and_says_so(context, change, capsys) -> None:
    first = loop(context)
    assert run(first) == list(range(6))
    capsys.readouterr()
    second = loop(context, **change)
    assert first.state_file.name in capsys.readouterr().out
    assert second.state_file != first.state_file
    assert run(second) == list(range(6))
    assert first.state_file.exists()


def test_the_same_settings_are_resumed_and_may_be_extended(context, capsys) -> None:
    run(loop(replace(context, steps=4)))
    assert run(loop(replace(context, steps=7))) == [4, 5, 6]
    assert len(list(context.states.iterdir())) == 1
    capsys.readouterr()
    assert run(loop(replace(context, steps=7))) == []
    assert "has its 7 steps already" in capsys.readouterr().out
    with pytest.raises(UserError, match="has 7 steps, more than the 5 asked for"):
        run(loop(replace(context, steps=5)))


def test_a_states_pictures_are_those_of_this_world(context, monkeypatch) -> None:
    first = loop(context).state_file
    monkeypatch.setattr("ragdemo.training.loop.world_version", lambda: "another0")
    assert loop(context).state_file != first


def test_a_stages_constants_are_its_settings(context, monkeypatch) -> None:
    first = loop(context, "oracle").state_file
    assert loop(context, "oracle").state_file == first
    monkeypatch.setattr(oracle, "SMOOTHING", 0.2)
    assert loop(context, "oracle").state_file != first


def test_constants_are_what_can_be_hashed() -> None:
    module = ModuleType("stage")
    module.SHARE, module.POOL, module.TABLE, module.name = 0.5, PoolSpec("pairs", "a", 3), {"f": len}, "x"
    found = constants(module)
    assert set(found) == {"SHARE", "POOL"}
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1}) != key_of({"a": 1, "b": 3})
    with pytest.raises(TypeError, match="has no key"):
        key_of({"a": object()})


def test_a_warm_start_is_named_in_log_and_card_and_extends_the_training_that_it_came_from(
    context, capsys
) -> None:
    folder = context.assets / "toy"
    folder.mkdir(parents=True)
    assert shipped_card(folder) is None
    write_card(folder, {"steps": 900, "state": "toy-of-another-folder"})
    first = loop(replace(context, warm=True, steps=4), origin=shipped_card(folder))
    assert "starts warm, from shipped weights of 900 steps" in capsys.readouterr().out
    run(first)
    write_card(folder, first.card())  # as an export would
    assert shipped_card(folder)["warm_start_from"]["steps"] == 900

    exported = loop(replace(context, warm=True, steps=6), origin=shipped_card(folder), start=1.5)
    assert run(exported) == [4, 5]
    assert exported.card()["warm_start_from"]["steps"] == 900
    other = loop(
        replace(context, warm=True), origin=shipped_card(folder), start=1.5, learning_rate=0.5
    )  # other settings: a training of its own
    assert run(other) == list(range(6))


def test_a_stage_that_cannot_start_warm_says_so(context, capsys) -> None:
    loop(replace(context, warm=True))
    assert "starts anew, as it has no shipped weights to start from" in capsys.readouterr().out


def test_a_pool_of_another_world_is_rendered_anew(context, monkeypatch) -> None:
    spec = PoolSpec("generator", "test/pool", 2)
    first = render_pool(spec, context.pools, 1)
    files = {file: file.stat().st_mtime_ns for file in context.pools.rglob("*.npy")}
    render_pool(spec, context.pools, 1)
    assert {file: file.stat().st_mtime_ns for file in context.pools.rglob("*.npy")} == files
    monkeypatch.setattr(pool, "world_version", lambda: "another0")
    second = render_pool(spec, context.pools, 1)
    assert second.folder != first.folder
    assert len(list(context.pools.iterdir())) == 2


def test_the_worlds_version_is_of_its_code_and_not_of_its_comments() -> None:
    source = (
        '"""Doc."""\nSIZE = 128  # pixels\n"""The side."""\n\n\ndef f(x):\n    """Doc."""\n    return x\n'
    )
    same = version.code_of(source.replace("pixels", "px").replace("Doc.", "Other."))
    assert version.code_of(source) == same
    assert version.code_of(source.replace("128", "64")) != same
    assert len(version.world_version()) == 8
    folder = Path(version.__file__).parent
    assert {folder / name for name in version.NOT_DRAWING} <= set(folder.glob("*.py"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": ["critic-drafts"], "steps": 5}, "takes no optimiser steps"),
        ({"stages": ["vae"], "count": 5}, "draws no --count of pictures"),
        ({"stages": ["realrag"], "library": "/nowhere"}, "/nowhere"),
        ({"stages": ["nope"]}, "'nope'"),
    ],
)
def test_options_that_no_stage_reads_are_refused(options, message, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        train(workdir=tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists()


def test_every_stage_names_a_function() -> None:
    from importlib import import_module

    for name, place in STAGES.items():
        module, function = place.split(":")
        assert callable(getattr(import_module(module), function)), name


@pytest.mark.slow
def test_heads_are_trained_on_a_library_of_ones_own(tmp_path: Path, capsys) -> None:
    species = roster()[:3]
    samples = [(one, species_sample(one, "test/own", i)) for one in species for i in range(2)]
    images = [
        NewImage(f"image-{i}", sample.caption, sample.image(), {"species": one.name})
        for i, (one, sample) in enumerate(samples)
    ]
    write_library(tmp_path / "mine", "mine", images)
    context = Context(
        tmp_path / "runs", tmp_path / "pocket", torch.device("cpu"), 5, library=str(tmp_path / "mine")
    )
    train_realrag(context)
    states = list(context.states.iterdir())
    assert [torch.load(state, weights_only=True)["step"] for state in states] == [5, 5]
    card = shipped_card(tmp_path / "pocket" / "realrag" / "real")
    assert (card["steps"], card["data"]) == (5, "mine, split none, 6 pictures")
    assert {f"{card['state']}.pt"} < {state.name for state in states}
    capsys.readouterr()
    train_realrag(context)
    assert capsys.readouterr().out.count("has its 5 steps already") == 2
