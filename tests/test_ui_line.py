"""The line for the models, a run's events in batches, and a visitor's own pictures."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ragdemo.errors import UserError
from ragdemo.events import Draft, Event, Progress
from ragdemo.images import image_sha256
from ragdemo.recipe import UNKNOWN_CONTENT
from ragdemo.request import MAX_OWN_IMAGES, ImageRef
from ragdemo.ui import line
from ragdemo.ui.line import Batches, Desk, Line, Place
from ragdemo.ui.own import Shelf

DRAFT = Draft(Image.new("RGB", (8, 8)), 1.0)


def in_loop(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """What a coroutine returns; in a thread, as a test's browser may have a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(main())).result()


def test_events_that_come_at_once_come_in_one_batch_and_none_is_lost() -> None:
    steps = [Progress("draft", step, 3) for step in (1, 2, 3)]

    def run() -> Iterator[Event]:
        yield DRAFT
        time.sleep(0.3)
        yield from steps

    async def main() -> list[list[Event]]:
        return [batch async for batch in Batches(run(), Place())]

    assert in_loop(main) == [[DRAFT], steps]


def test_the_first_event_and_the_end_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "GATHER_SECONDS", 30)

    async def main() -> list[list[Event]]:
        return [batch async for batch in Batches((event for event in [DRAFT]), Place())]

    start = time.monotonic()
    assert in_loop(main) == [[DRAFT]]
    assert time.monotonic() - start < 10


def test_a_run_whose_first_event_takes_long_begins_with_an_empty_batch() -> None:
    def run() -> Iterator[Event]:
        time.sleep(3 * line.FIRST_SECONDS)
        yield DRAFT

    async def main() -> list[list[Event]]:
        return [batch async for batch in Batches(run(), Place())]

    assert in_loop(main) == [[], [DRAFT]]


def test_what_breaks_a_run_is_raised_after_what_it_had_reported() -> None:
    def run() -> Iterator[Event]:
        yield DRAFT
        raise KeyError("nobody foresaw this")

    seen: list[Event] = []

    async def main() -> None:
        async for batch in Batches(run(), Place()):
            seen.extend(batch)

    with pytest.raises(KeyError, match="nobody foresaw this"):
        in_loop(main)
    assert seen == [DRAFT]


def test_leaving_a_run_ends_the_batches_at_once_and_closes_it_at_its_next_event() -> None:
    closed = threading.Event()

    def run() -> Iterator[Event]:
        try:
            for _ in range(10):
                yield Progress("draft", 1, 2)
                time.sleep(0.4)
        finally:
            closed.set()

    async def main() -> float:
        place = Place()
        with Batches(run(), place) as taken:
            async for _ in taken:
                place.left = True
                place.changed.set()
                start = time.monotonic()
        return time.monotonic() - start

    assert in_loop(main) < 0.3
    assert closed.wait(10)


def test_visitors_come_in_their_order_and_each_has_one_place() -> None:
    async def main() -> None:
        here = Line()
        with here.place("ann") as first, here.place("ben") as second:
            assert (here.before(first), here.before(second)) == (0, 1)
            with pytest.raises(UserError, match="going on already"), here.place("ann"):
                pass
            here.pass_on(first)
            assert here.before(second) == 0
            assert second.changed.is_set()
            assert here.holds("ann")
            here.leave("ben")
            assert second.left
        assert not here.holds("ann")

    in_loop(main)


def test_a_full_line_takes_no_further_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "MOST_PLACES", 1)

    async def main() -> None:
        here = Line()
        with (
            here.place("ann"),
            pytest.raises(UserError, match="took no further run"),
            here.place("ben"),
        ):
            pass
        with here.place("ben"):
            pass

    in_loop(main)


def test_an_address_has_half_of_the_line_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2 * line.MOST_OF_AN_ADDRESS == line.MOST_PLACES == 64
    monkeypatch.setattr(line, "MOST_OF_AN_ADDRESS", 1)

    async def main() -> None:
        here = Line()
        with here.place("ann", "10.0.0.1"):
            with (
                pytest.raises(UserError, match="from your address wait already"),
                here.place("bea", "10.0.0.1"),
            ):
                pass
            with here.place("ben", "10.0.0.2") as other:
                assert here.before(other) == 1
        with here.place("bea", "10.0.0.1"):
            pass

    in_loop(main)


def test_an_address_has_half_of_a_desk_and_others_need_not_wait_for_it() -> None:
    async def main() -> None:
        desk, held = Desk(2), threading.Event()
        waiting = [asyncio.ensure_future(desk.do("10.0.0.1", held.wait, 10)) for _ in range(5)]
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        assert await desk.do("10.0.0.2", lambda: "read") == "read"
        assert time.monotonic() - begun < 1
        held.set()
        assert await asyncio.gather(*waiting) == [True] * 5
        assert await desk.do("10.0.0.1", lambda: "read") == "read"

    in_loop(main)


def test_an_address_has_half_of_the_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "MOST_OF_AN_ADDRESS", 1)

    async def main() -> None:
        here = Line()
        with here.gap("ann", "10.0.0.1"), here.gap("ben", "10.0.0.2"):
            with (
                pytest.raises(UserError, match="from your address wait already"),
                here.gap("bea", "10.0.0.1"),
            ):
                pass
            with here.gap("ann", "10.0.0.1"):  # in the place of the earlier one
                pass

    in_loop(main)


def test_who_is_not_heard_of_is_waited_for_a_little_and_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "UNHEARD_SECONDS", 0.3)

    async def turn(listening: list[bool]) -> tuple[bool, list[int]]:
        here = Line()
        with here.place("ann", "", lambda: listening[0]) as place:
            waits = [before async for before in here.turn(place)]
            return place.left, waits

    async def late() -> tuple[bool, list[int]]:
        listening = [False]
        asyncio.get_running_loop().call_later(0.1, listening.__setitem__, 0, True)
        return await turn(listening)

    assert in_loop(lambda: turn([True])) == (False, [])
    assert in_loop(lambda: turn([False])) == (True, [])
    assert in_loop(late) == (False, [])


def picture(path: Path, colour: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (40, 30), colour).save(path)
    return path


def test_two_pictures_of_one_name_stay_two_and_one_content_stays_one(tmp_path: Path) -> None:
    shelf = Shelf().added(picture(tmp_path / "a" / "mine.png", "red"))
    shelf = shelf.added(picture(tmp_path / "b" / "mine.png", "blue"))
    assert shelf.added(picture(tmp_path / "c" / "other.png", "red")) == shelf
    assert [ref.name for ref in shelf.refs] == ["mine.png", "mine.png"]
    pictures = shelf.pictures(shelf.refs)
    assert [image_sha256(pictures[ref.sha256]) for ref in shelf.refs] == [ref.sha256 for ref in shelf.refs]
    shelf = shelf.removed(shelf.refs[0].sha256)
    assert len(shelf.pictures(shelf.refs)) == len(list(shelf.folder.path.iterdir())) == 1
    shelf.delete()
    assert not shelf.folder.path.exists()


def test_pictures_go_with_the_last_shelf_that_names_them(tmp_path: Path) -> None:
    first = Shelf().added(picture(tmp_path / "a.png", "red"))
    second, folder = first.added(picture(tmp_path / "b.png", "blue")), first.folder.path
    del first
    assert len(second.pictures(second.refs)) == 2
    del second
    assert not folder.exists()


def test_a_session_keeps_a_bounded_number_of_pictures(tmp_path: Path) -> None:
    shelf = Shelf()
    for number in range(MAX_OWN_IMAGES):
        shelf = shelf.added(picture(tmp_path / f"{number}.png", f"rgb({number}, 0, 0)"))
    with pytest.raises(UserError, match="remove one first"):
        shelf.added(picture(tmp_path / "more.png", "white"))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"broken\.png cannot be read"):
        shelf.added(tmp_path / "broken.png")
    assert len(list(shelf.folder.path.iterdir())) == MAX_OWN_IMAGES
    shelf.delete()


def test_a_recipe_finds_its_pictures_by_content_and_old_ones_by_name(tmp_path: Path) -> None:
    shelf = Shelf().added(picture(tmp_path / "mine.png", "red"))
    (here,) = shelf.refs
    renamed = ImageRef(sha256=here.sha256, name="then.png")
    assert shelf.found([renamed, ImageRef(sha256=UNKNOWN_CONTENT, name="mine.png")]) == (here, here)
    with pytest.raises(UserError, match=r"used mine\.png of yours; add that first"):
        shelf.found([ImageRef(sha256="1" * 64, name="mine.png")])
    shelf.delete()


def test_a_gap_comes_after_all_runs_and_a_newer_one_takes_its_place() -> None:
    async def main() -> None:
        queue = Line()
        with queue.gap("ann") as gap, queue.gap("bob") as other:
            assert (queue.before(gap), queue.before(other), queue.is_wanted) == (0, 1, False)
            with queue.place("carl") as place:
                assert (queue.before(place), queue.before(gap), queue.before(other)) == (0, 1, 2)
                assert queue.is_wanted
            assert not queue.is_wanted
            with queue.gap("ann") as newer:
                assert (gap.left, newer.left) == (True, False)
                assert (queue.before(other), queue.before(newer)) == (0, 1)
            assert not queue.holds("ann")

    in_loop(main)


def test_a_press_ends_the_visitors_own_gap_and_no_other() -> None:
    async def main() -> None:
        queue = Line()
        with queue.gap("ann") as gap, queue.gap("bob") as other:
            with queue.place("ann"):
                assert (gap.left, other.left) == (True, False)
            queue.leave("bob")
            assert other.left

    in_loop(main)


def test_who_gets_a_gap_is_limited() -> None:
    async def main() -> None:
        queue, held = Line(), ExitStack()
        with held:
            for number in range(line.MOST_PLACES):
                held.enter_context(queue.gap(f"visitor-{number}", f"10.0.0.{number}"))
            with pytest.raises(UserError, match="no further run"):
                held.enter_context(queue.gap("one more"))

    in_loop(main)
