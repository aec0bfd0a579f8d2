"""What the browser does by itself after an event of the page, in its own language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragdemo.methods.base import Method

# A link that has come is followed once, and then gone, so that the next press finds it changed.
FOLLOW = """watch("value", () => {
  const link = element.querySelector("a");
  if (link) { link.click(); props.value = ""; }
});"""
# Done by the browser once the page is open: it says that a run was lost with the page (`actions.js` remembers it), and
# shows what the oracle says of the recording unless the visitor has begun something else.
OPENED = """(value, looked, row, below) => {
  let running;
  try { running = sessionStorage.getItem("running"); sessionStorage.removeItem("running"); } catch {}
  const text = "Your run was lost with the page; Run makes it again.";
  const [link, ...chapters] = looked ?? [];
  const shown = link === value.link && !value.busy && value.phase === "done" ? chapters : [row, below];
  return [running && !value.busy ? {...value, phase: "lost", text} : value, ...shown];
}"""
# Said by the browser: the server's last word has come, or none at all.
ENDED = """(value) => value.phase === "starting"
  ? {...value, phase: "failed", text: "The server did not answer; reload the page and run again.", busy: false}
  : {...value, busy: false}"""


def with_scripts(methods: Sequence[Method], script: str) -> str:
    """A script followed by those that the methods' chapters bring along."""
    files = [chapter.script for method in methods for chapter in method.chapters if chapter.script]
    return "\n".join([script, *(file.read_text(encoding="utf-8") for file in files)])
