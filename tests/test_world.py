"""The world: the same in every process, species distinct at a glance, secrets kept, prompts read back."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from ragdemo.cli import main
from ragdemo.errors import UserError
from ragdemo.library.ingest import ingest
from ragdemo.ui.vocabulary import Vocabulary
from ragdemo.world.captions import (
    FORMS,
    SCENE_PHRASES,
    article,
    caption,
    describe,
    prompt_for,
    read,
)
from ragdemo.world.commands import contact_sheet, fresh_look, new_species, render_prompt
from ragdemo.world.kinds import KINDS, NOVEL_KINDS
from ragdemo.world.look import Look, random_look
from ragdemo.world.render import look_distance
from ragdemo.world.sampling import generator_sample, pair_sample, species_sample
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import (
    EXCLUSION,
    MIN_DISTANCE,
    PER_KIND,
    Species,
    by_name,
    common_kinds,
    distance_to_secret,
    grow_roster,
    nameless,
    of_tier,
    roster,
)
from ragdemo.world.vocabulary import caption_phrases, vocabulary

LEAST_DIFFERENCE = 12.0
ROOT = Path(__file__).resolve().parent.parent
HASH_SCRIPT = """
import hashlib
from ragdemo.world.sampling import generator_sample, pair_sample, species_sample
from ragdemo.world.species import roster
digest = hashlib.sha256()
samples = [species_sample(s, "test", 0) for s in roster()[::29]] + [generator_sample("test", i) for i in range(6)]
for sample in [*samples, *pair_sample("test", 0)]:
    digest.update(sample.caption.encode() + sample.image().tobytes())
print(digest.hexdigest())
"""


def test_two_processes_with_other_hash_seeds_draw_the_same() -> None:
    digests = {_output(HASH_SCRIPT, hash_seed) for hash_seed in ("0", "4242")}
    assert len(digests) == 1
    assert len(digests.pop()) == 64


@pytest.mark.slow
def test_the_roster_grows_again_from_its_seed() -> None:
    assert grow_roster() == list(roster())


def test_there_are_enough_kinds_scenes_and_species() -> None:
    assert len(KINDS) >= 12 + len(NOVEL_KINDS)
    assert len(SCENES) >= 8
    for tier in ("common", "rare"):
        counts = Counter(species.look.kind for species in of_tier(tier))
        assert set(counts) == set(common_kinds())
        assert min(counts.values()) >= PER_KIND >= 10
        assert counts.total() >= 120
    assert {species.look.kind for species in of_tier("novel")} == set(NOVEL_KINDS)
    assert len(NOVEL_KINDS) == 2


def test_names_are_unique_and_end_with_their_kind() -> None:
    assert len(by_name()) == len(roster())
    for species in roster():
        assert species.name.split()[1:] == [species.look.kind]


def test_species_of_a_kind_differ_at_a_glance() -> None:
    for kind in KINDS:
        looks = [species.look for species in roster() if species.look.kind == kind]
        nearest = min(look_distance(a, b) for a, b in itertools.combinations(looks, 2))
        assert nearest >= MIN_DISTANCE >= LEAST_DIFFERENCE


def test_half_of_the_rare_share_colour_and_outline_with_another_species() -> None:
    counts = Counter((s.look.kind, s.look.main, s.look.shape) for s in roster())
    twins = [s for s in of_tier("rare") if counts[s.look.kind, s.look.main, s.look.shape] > 1]
    assert len(twins) >= len(of_tier("rare")) / 2


@pytest.mark.parametrize("kind", [common_kinds()[0], common_kinds()[7]])
def test_nameless_looks_keep_their_distance_from_secret_ones(kind: str) -> None:
    rng = Random("test")
    assert all(distance_to_secret(nameless(kind, rng)) >= EXCLUSION for _ in range(20))
    secret = next(species for species in of_tier("rare") if species.look.kind == kind)
    assert distance_to_secret(secret.look) == 0


def test_streams_are_addressed_by_name_and_index() -> None:
    one = roster()[0]
    assert species_sample(one, "a", 3) == species_sample(one, "a", 3)
    assert len({species_sample(one, stream, i) for stream in "ab" for i in range(4)}) == 8
    assert generator_sample("a", 5) != generator_sample("b", 5)
    assert pair_sample("a", 5)[0].picture.looks == pair_sample("a", 5)[1].picture.looks


@pytest.mark.parametrize("form", range(len(FORMS)))
def test_captions_are_read_back(form: int) -> None:
    rng = Random(form)
    for scene, phrases in SCENE_PHRASES.items():
        first, second = rng.sample(roster(), 2)
        for names in ([first.name], [first.name, second.name]):
            things = " and ".join(article(name) for name in names)
            text = FORMS[form].format(things=things, scene=rng.choice(phrases))
            reading = read(text, rng)
            assert reading.scene == scene
            assert [thing.name for thing in reading.things if isinstance(thing, Species)] == names


def test_attributes_are_read_back() -> None:
    rng = Random("attributes")
    for kind in KINDS:
        look = random_look(kind, rng)
        (thing,) = read(caption([describe(look)], "snow", rng), rng).things
        assert thing == look


def test_a_name_in_a_scene_is_always_a_valid_prompt() -> None:
    words = vocabulary()
    for name in words["common"] + words["rare"] + words["novel"]:
        for scene in words["scenes"]:
            reading = read(prompt_for(name, scene), Random(0))
            assert (reading.things, reading.scene) == ((by_name()[name],), scene)


def test_only_words_of_no_caption_are_unknown() -> None:
    words = Vocabulary.from_lists({**vocabulary(), "words": caption_phrases()})
    for index in range(300):
        assert words.unknown_words(generator_sample("words", index).caption) == ()
    assert words.unknown_words("a zumar beetle on the moon") == ("zumar", "moon")


def test_ground_truth_says_which_words_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for prompt, left_out in (("a zumar beetle in the snow", "zumar"), ("a quixel butterfly in the snow", "")):
        assert main(["world", "render", prompt, "--out", str(tmp_path / "truth.png")]) == 0
        error = capsys.readouterr().err
        assert left_out in error
        assert bool(error) == bool(left_out)


def test_what_a_prompt_leaves_open_is_drawn() -> None:
    (look,) = read("a red car", Random(1)).things
    assert isinstance(look, Look)
    assert (look.kind, look.main) == ("car", "red")
    assert read("a red car", Random(1)) == read("a red car", Random(1))
    assert read("a red car", Random(1)) != read("a red car", Random(2))
    assert read("an essay on ethics", Random(0)).things == ()


def test_ground_truth_is_drawn_from_prompt_and_seed(tmp_path: Path) -> None:
    prompts = (
        "a quixel butterfly in the snow",
        "a quixel butterfly",
        "a quixel butterfly and a red car at night",
    )
    for prompt in prompts:
        digests = []
        for number, seed in enumerate((3, 3, 4)):
            file = tmp_path / f"{number}.png"
            render_prompt(prompt, seed, file)
            assert Image.open(file).size == (128, 128)
            digests.append(hashlib.sha256(file.read_bytes()).hexdigest())
        assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("prompt", "message"), [("hello there", "names nothing"), ("a car and a fish and a bird", "one or two")]
)
def test_a_prompt_that_cannot_be_drawn_says_so(prompt: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        render_prompt(prompt, 0, tmp_path / "x.png")
    with pytest.raises(UserError, match="no ending of a picture"):
        render_prompt("a car", 0, tmp_path / "x.words")


def test_a_new_species_becomes_a_library(tmp_path: Path) -> None:
    new_species(7, "Zorby  Teapot", 5, tmp_path / "zorby")
    made = ingest(tmp_path / "zorby", tmp_path / "library")
    assert len(made.library) == 5
    assert not made.skipped
    assert not made.duplicates
    assert all("zorby teapot" in row.caption for row in made.library.rows)
    look = fresh_look("teapot", Random("new-species/7/zorby teapot"))
    assert min(look_distance(look, s.look) for s in roster() if s.look.kind == "teapot") >= MIN_DISTANCE


@pytest.mark.parametrize(
    "name",
    ["teapot", "", "zorby gadget", "quixel butterfly", "../../x beetle", "the beetle", "a" * 400 + " beetle"],
)
def test_a_new_species_needs_a_fresh_name_before_a_kind(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"try one like|choose another"):
        new_species(0, name, 2, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_new_species_without_a_kind_gets_one_from_the_seed(tmp_path: Path) -> None:
    new_species(3, "zorby", 2, tmp_path / "new")
    rows = [json.loads(line) for line in (tmp_path / "new" / "metadata.jsonl").read_text().splitlines()]
    assert len({row["file_name"].split("/")[1].split("-")[1] for row in rows} & set(KINDS)) == 1


def test_a_new_species_never_mixes_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UserError, match="not empty"):
        new_species(0, "zorby teapot", 2, tmp_path)


def test_the_poster_shows_all_species(tmp_path: Path) -> None:
    contact_sheet(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size <= 500_000
    assert Image.open(tmp_path / "sheet.png").width >= 20 * 50


def _output(script: str, hash_seed: str) -> str:
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    return run.stdout.strip()
