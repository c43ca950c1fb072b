# SPDX-License-Identifier: GPL-3.0-or-later
"""A release is named after its source."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import source as release_source


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "src").mkdir(parents=True)
    (folder / "src/page").write_text("one")
    (folder / "run").write_text("two")
    (folder / "link").symlink_to("run")
    return folder


def test_the_same_files_have_the_same_name_wherever_they_stand(source: Path, tmp_path: Path) -> None:
    name = release_source.release([str(source)])
    assert name.startswith("src-") and len(name) == 16
    shutil.copytree(source, tmp_path / "copy", symlinks=True)
    assert release_source.release([str(tmp_path / "copy")]) == name
    for left_out in ("node_modules", "dist", ".git"):
        (source / left_out).mkdir()
        (source / left_out / "x").write_text("x")
    assert release_source.release([str(source)]) == name


def test_git_says_what_counts(source: Path) -> None:
    subprocess.run(["git", "init", "-q", str(source)], check=True)
    (source / ".gitignore").write_text("ignored\n")
    name = release_source.release([str(source)])
    (source / "ignored").write_text("x")
    assert release_source.release([str(source)]) == name
    subprocess.run(["git", "-C", str(source), "add", "."], check=True)
    assert release_source.release([str(source)]) == name
    (source / "dist").mkdir()
    (source / "dist/x").write_text("git does not ignore it, so it counts")
    assert release_source.release([str(source)]) != name


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "src/page").write_text("other"),
        lambda folder: (folder / "run").chmod(0o755),
        lambda folder: (folder / "new").write_text(""),
        lambda folder: (folder / "src/page").unlink(),
        lambda folder: (folder / "run").rename(folder / "walk"),
        lambda folder: ((folder / "link").unlink(), (folder / "link").symlink_to("src/page")),
    ],
)
def test_every_change_gives_another_name(source: Path, change: Callable[[Path], object]) -> None:
    name = release_source.release([str(source)])
    change(source)
    assert release_source.release([str(source)]) != name


def test_what_else_makes_it_another(source: Path, tmp_path: Path) -> None:
    name = release_source.release([str(source)])
    assert release_source.release([str(source)], salt="x") != name
    assert release_source.release([str(source), str(source)]) != name
    assert release_source.release([str(source)], prefix="v") == "v" + name.removeprefix("src-")
    with pytest.raises(ValueError, match="there is no directory"):
        release_source.release([str(tmp_path / "nowhere")])
