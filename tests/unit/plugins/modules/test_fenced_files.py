# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that write files of a release: a run that lost its lock writes none, and one that holds it does."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.release.fence import Fence
from ansible_collections.kasaneha.deploy.plugins.modules import edge_assets, secret_files

MINE, LATER = "1-aaaa", "2-bbbb"


class Ended(Exception):
    """The module has said its last word."""


class Module:
    """What these modules need of AnsibleModule."""

    check_mode = False

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params

    def fail_json(self, **result: Any) -> None:
        raise Ended("failed", result)

    def exit_json(self, **result: Any) -> None:
        raise Ended("done", result)


def call(monkeypatch: pytest.MonkeyPatch, module: ModuleType, **params: Any) -> tuple[str, dict[str, Any]]:
    """How a module ended, and what it said."""
    monkeypatch.setattr(module, "AnsibleModule", lambda **_: Module(params))
    with pytest.raises(Ended) as ended:
        module.main()
    return ended.value.args[0], ended.value.args[1]


def options(module: ModuleType, folder: Path) -> dict[str, Any]:
    """What each of them is to write below a directory."""
    if module is secret_files:
        files = {"backend": {"jwt": "one"}}
        return {"path": str(folder / "secrets"), "files": files, "owners": {"backend": str(os.getuid())}, "private": True}
    (folder / "source/_astro").mkdir(parents=True)
    (folder / "source/_astro/a.js").write_text("1")
    with tarfile.open(folder / "assets.tar", "w") as archive:
        archive.add(folder / "source/_astro", "_astro")
    for name in ("assets", "releases"):
        (folder / "www" / name).mkdir(parents=True)
    return {"path": str(folder / "www"), "archive": str(folder / "assets.tar"), "release": "v1", "image": "sha256:1", "keep": []}


def written(folder: Path) -> list[Path]:
    return [path for name in ("secrets", "www") for path in (folder / name).rglob("*") if path.is_file()]


@pytest.mark.parametrize("module", [secret_files, edge_assets])
def test_a_run_that_lost_its_lock_writes_nothing(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fence, wanted = Fence(tmp_path / "app"), options(module, tmp_path)
    fence.claim(MINE)
    fence.claim(LATER)
    how, said = call(monkeypatch, module, **wanted, app=str(fence.directory), run=MINE)
    assert how == "failed" and "lost its lock" in said["msg"] and written(tmp_path) == []
    how, _said = call(monkeypatch, module, **wanted, app=str(fence.directory), run=LATER)  # the negative control
    assert how == "done" and written(tmp_path) != []


@pytest.mark.parametrize("module", [secret_files, edge_assets])
def test_without_a_run_it_just_writes(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how, _said = call(monkeypatch, module, **options(module, tmp_path), app=None, run=None)
    assert how == "done" and written(tmp_path) != []
