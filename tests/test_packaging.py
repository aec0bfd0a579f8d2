"""What a fresh clone relies on: requirement lists, Space front matter, markers, import walls, import weight."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "torchvision", "diffusers", "transformers", "open_clip", "faiss")
sys.path.insert(0, str(ROOT / "scripts"))

import space_front_matter  # noqa: E402

MINIMAL = {
    "title": "T", "emoji": "🦋", "colorFrom": "red", "colorTo": "red", "sdk": "gradio", "sdk_version": "6.31.0",
    "app_file": "app.py", "license": "apache-2.0",
}  # fmt: skip


def requirements(name: str) -> list[str]:
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def packages(name: str) -> set[str]:
    return {re.split(r"[<>=!~\[ ]", line)[0] for line in requirements(name)}


def test_the_two_requirement_lists_differ_in_faiss_alone() -> None:
    gpu = [line.replace("faiss-gpu", "faiss-cpu") for line in requirements("requirements-gpu.txt")]
    assert gpu == requirements("requirements.txt")
    assert "faiss-cpu" not in packages("requirements-gpu.txt")


def test_the_space_runs_the_gradio_that_is_required() -> None:
    space = space_front_matter.read_space(ROOT / "space.yaml")
    floor = next(line for line in requirements("requirements.txt") if line.startswith("gradio"))
    assert f"gradio>={space['sdk_version'].rsplit('.', 1)[0]}," in floor
    assert space["sdk"] == "gradio"
    assert space["app_file"] == "app.py"


def test_the_readme_opens_with_the_front_matter() -> None:
    assert space_front_matter.main(["--check"]) == 0


def test_front_matter_is_written_checked_and_replaced(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Title\n\n---\n\ntext\n")
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(MINIMAL))
    root = ["--root", str(tmp_path)]
    assert space_front_matter.main(["--check", *root]) == 2
    assert space_front_matter.main(root) == space_front_matter.main(["--check", *root]) == 0
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(MINIMAL | {"title": "Other"}))
    assert space_front_matter.main(["--check", *root]) == 2
    assert space_front_matter.main(root) == 0
    readme = (tmp_path / "README.md").read_text()
    assert readme.endswith("---\n# Title\n\n---\n\ntext\n")
    assert yaml.safe_load(readme.split("---\n")[1])["title"] == "Other"


@pytest.mark.parametrize(
    "change",
    [{"hardware": "a10g"}, {"title": ""}, {"short_description": "x" * 61}, {"preload_from_hub": ["m"] * 11}],
)
def test_wrong_fields_fail(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        space_front_matter.check_fields(MINIMAL | change)


@pytest.mark.parametrize(
    "module", ["ragdemo.ui.page", "ragdemo.library.store", "ragdemo.library.ingest", "ragdemo.cli"]
)
def test_a_light_module_imports_no_model_library(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
