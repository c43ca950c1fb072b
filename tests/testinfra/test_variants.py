# SPDX-License-Identifier: GPL-3.0-or-later
"""What else a server can be asked for: images from archives and from source, secrets as files, another password,
a release that never gets ready. Leaves the server as it found it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from .playbook import ROOT, play, said, with_secrets

PASSWORD = "another-password-with-$pecial/chars-%41-@:"  # what a URL, a shell and Compose each would mangle

# A second application beside the first: one service without a database.
OTHER: dict[str, Any] = {
    "app_name": "other",
    "app_release": "v1.1.0",
    "app_postgres_enabled": False,
    "app_redis_enabled": False,
    "app_postgres_ca_host": "",
    "app_migrations": {},
    "app_secrets": {},
    "app_start_timeout": 10,
}
WEB: dict[str, Any] = {"image": "kasaneha/frontend", "port": 80, "publish": {"blue": 19000, "green": 19001}, "user": "101:101"}


@pytest.fixture
def other(root) -> Iterator[None]:
    """Removes the second application again."""
    yield
    root("test ! -e /opt/other/blue/compose.yml || docker compose -f /opt/other/blue/compose.yml down --volumes")
    root("rm -rf /opt/other /etc/other /var/lib/other /etc/tmpfiles.d/other-*")


@pytest.mark.usefixtures("other")
def test_images_from_an_archive(root, tmp_path):
    subprocess.run(["docker", "save", "--output", str(tmp_path / "web-v1.1.0.tar"), "kasaneha/frontend:v1.1.0"], check=True)
    options = {**OTHER, "app_services": {"web": WEB}, "app_image_source": "archive", "app_image_archive_dir": str(tmp_path)}
    done = play("tests/testinfra/app.yml", **options)
    assert done.returncode == 0, done.stdout[-3000:]
    record = json.loads(root("cat /var/lib/other/release.json"))
    assert record["services"]["web"]["image"].startswith("sha256:")  # such an image has no digest: its ID is its identity
    assert "v1.1.0" in root("python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:19000/').headers)\"")
    again = play("tests/testinfra/app.yml", **options)
    assert re.search("changed=0 ", again.stdout), again.stdout[-3000:]


@pytest.mark.usefixtures("other")
@pytest.mark.long  # scenario build builds whole applications
def test_images_built_from_source(root, monkeypatch):
    buildx = subprocess.run([sys.executable, str(ROOT / "tests/lab/developer.py")], capture_output=True, text=True, check=True)
    monkeypatch.setenv("DOCKER_CONFIG", buildx.stdout.strip())
    build = {"context": str(ROOT / "lab/app/frontend"), "args": {"BASE": "debian:bookworm-slim", "RELEASE": "v3.0.0"}}
    web = {"web": {**WEB, "image": "other/web", "build": build}}
    done = play("tests/testinfra/app.yml", **{**OTHER, "app_release": "v3.0.0", "app_services": web, "app_image_source": "build"})
    subprocess.run(["docker", "image", "rm", "other/web:v3.0.0"], check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "v3.0.0" in root("docker inspect --format '{{json .Config.Labels}}' other-web-blue")


@pytest.mark.usefixtures("other")
def test_an_archive_that_is_missing_is_named(tmp_path):
    done = play(
        "tests/testinfra/app.yml",
        **{**OTHER, "app_services": {"web": WEB}, "app_image_source": "archive", "app_image_archive_dir": str(tmp_path)},
    )
    assert done.returncode != 0
    assert (
        "must hold <service>-v1.1.0.tar" in " ".join(done.stdout.split())
        and "Nothing of the application was changed" in done.stdout
    )


@pytest.mark.long  # the gate itself says so in tests/lab/test_gate.py
@pytest.mark.usefixtures("other")
def test_a_release_that_never_gets_ready_is_reported_with_its_last_words(root):
    web = {"web": {**WEB, "image": "registry.lab:5000/kasaneha/frontend", "health": "/no-such-page"}}
    done = play("tests/testinfra/app.yml", **{**OTHER, "app_start_timeout": 3, "app_services": web})
    assert done.returncode != 0
    assert "Release v1.1.0 (blue) did not prove itself within 3 s" in done.stdout and "status 404" in done.stdout
    assert "/no-such-page" in done.stdout[done.stdout.index("Last log lines of other-web-blue") :]
    root("test ! -e /var/lib/other/release.json")  # what was not proven is not recorded


@pytest.fixture
def restored(browse) -> Iterator[None]:
    """Brings the first application back to what its inventory says."""
    yield
    done = play("site.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    assert json.loads(browse("/api/v1/info")[2])["database"] == "ok"


@pytest.mark.usefixtures("restored")
def test_an_image_that_reads_secrets_from_files_and_another_database_password(browse, root):
    """Both in one run: each is a change of secrets, and together they cost one run less."""
    others = said("app_services")
    others["backend"].update(image="registry.lab:5000/kasaneha/backend:v1.0.0-file", secrets_as="file")
    done = play("site.yml", app_services=others, app_secrets=with_secrets(postgres_password=PASSWORD))
    assert done.returncode == 0, done.stdout[-3000:]
    info = json.loads(browse("/api/v1/info")[2])
    assert info["database"] == "ok" and info["database_tls"] is True
    inspected = root("docker inspect $(docker ps --quiet --filter label=kasaneha.deploy.service=backend)")
    assert "JWT_SECRET_FILE=/run/secrets/jwt_secret" in inspected and PASSWORD not in inspected
    assert PASSWORD not in root("journalctl --no-pager --output=cat CONTAINER_NAME=kasaneha-postgres")
