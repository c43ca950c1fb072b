# SPDX-License-Identifier: GPL-3.0-or-later
"""Images from source: a real site and a real backend, built where Ansible runs, released on a server that has no registry."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .load import Load
from .playbook import ROOT, play

QUICK = {"nginx_watch_seconds": 3, "app_start_timeout": 30}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout that these tests may edit; the images that were built from it go with it."""
    yield Path(shutil.copytree(ROOT / "lab" / "source", tmp_path_factory.mktemp("build") / "source"))
    built = subprocess.run(
        ["docker", "image", "ls", "--quiet", "kasaneha-built/*"], capture_output=True, text=True, check=True
    ).stdout.split()
    subprocess.run(["docker", "image", "rm", "--force", *built], capture_output=True, check=False)


def deploy(source: Path, *options: str, **variables: Any):
    return play("playbooks/deploy.yml", *options, **{**QUICK, "kasaneha_source": str(source), **variables})


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def record(root) -> dict[str, Any]:
    return json.loads(root("cat /var/lib/kasaneha/release.json"))


def state(root) -> tuple[str, ...]:
    """What a release that did not happen must leave as it was."""
    return (
        root("cat /var/lib/kasaneha/release.json"),
        root("docker ps --all --format '{{.ID}} {{.Names}}' | sort"),
        root("docker images --no-trunc --quiet | sort"),
        root("ls -R /var/lib/kasaneha/edge/live/ /var/lib/kasaneha/archives 2>&1 || true"),
    )


def test_what_runs_was_built_from_the_source(root, browse):
    now = record(root)
    assert re.fullmatch("src-[0-9a-f]{12}", now["release"])
    for service in ("backend", "frontend"):
        image = now["services"][service]
        assert image["image"] == image["id"] and image["id"].startswith("sha256:")  # by ID: it has no digest
        assert image["label"] == now["release"]
        container = f"kasaneha-{service}-{now['colour']}"
        assert root(f"docker inspect --format '{{{{.Image}}}}' {container}").strip() == image["id"]
    assert json.loads(browse("/api/v1/info")[2]) == {"greeting": "Good morning", "release": now["release"]}
    page = browse("/")[2]
    assert 'data-url="/api/v1"' in page  # the argument of the build
    script = re.search(r'src="(/_astro/[^"]+\.js)"', page)
    assert script and browse(script[1])[0] == 200
    assert root(
        "docker exec kasaneha-postgres psql -U kasaneha -d kasaneha_db -Atc 'SELECT version FROM schema_migrations'"
    ).split() == ["001_entries.sql"]


def test_nothing_of_a_build_stays_behind(root):
    assert root("ls /var/lib/kasaneha").split().count("archives") == 0
    history = root(
        "docker history --no-trunc --format '{{.CreatedBy}}' $(docker ps --quiet --filter name=frontend | xargs docker inspect --format '{{.Image}}')"
    )
    assert "BEGIN CERTIFICATE" not in history


def test_the_same_source_gives_no_new_release(root, source):
    before = state(root)
    done = deploy(source)
    assert done.returncode == 0 and re.search("changed=0 ", done.stdout), done.stdout[-3000:]
    assert state(root) == before


def test_a_build_that_fails_leaves_everything_as_it_was(root, source, browse):
    before = state(root)
    main = source / "backend/cmd/api/main.go"
    edit(main, "func main() {", "func main() {\n\tunknown()")
    done = deploy(source)
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert "undefined: unknown" in said and "cannot be built on localhost" in said
    assert f"{record(root)['release']} serves as before" in said
    assert state(root) == before and browse("/")[0] == 200
    edit(main, "\tunknown()\n", "")


def test_a_changed_source_is_a_release_that_costs_no_request(root, source, browse, variables):
    before = record(root)
    edit(source / "backend/cmd/api/main.go", "Good morning", "Good evening")
    edit(source / "frontend/src/pages/index.astro", "Good morning", "Good evening")
    with Load(
        variables["ansible_host"], rate=20, sources="198.51.100.230-198.51.100.239", slow=0, streams=0, paths="/,/api/v1/info"
    ) as load:
        began = time.time()
        done = deploy(source)
        assert done.returncode == 0, done.stdout[-4000:]
        time.sleep(1)
        assert not load.failures_since(began)
    now = record(root)
    assert now["release"] != before["release"] and now["colour"] != before["colour"]
    assert json.loads(browse("/api/v1/info")[2]) == {"greeting": "Good evening", "release": now["release"]}
    assert "Good evening" in browse("/")[2]


def test_a_dockerfile_that_is_not_there_is_said_before_anything(root, source):
    before = state(root)
    done = deploy(source, app_release="v9", kasaneha_source=str(source / "nowhere"))
    said = " ".join(done.stdout.split())
    assert done.returncode != 0 and "2 problem(s) to solve first; nothing was changed" in said
    assert f"app_services.backend.build.context: there is no folder {source}/nowhere/backend on localhost" in said
    assert state(root) == before
