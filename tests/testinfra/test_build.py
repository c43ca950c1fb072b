# SPDX-License-Identifier: GPL-3.0-or-later
"""Images from source: a real site and a real backend, built where Ansible runs or on a host of its own, carried to two hosts without a registry."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .load import Load
from .playbook import INVENTORY, ROOT, play

QUICK = {"nginx_watch_seconds": 3, "app_start_timeout": 30}
OTHER, BUILDER = "molecule-build2", "molecule-builder"
ADDRESSES = {"molecule-build": "198.51.100.24", OTHER: "198.51.100.25", BUILDER: "198.51.100.26"}
# Where archives lie on their way, and nothing may be left: on the controller, on the host that builds, on those that run.
PLACES = (
    "find /var/tmp /tmp -mindepth 1 -maxdepth 1 '(' -name '*-kasaneha' -o -name '*.tar' ')' -printf '%m %u %p\\n'; "
    "ls -d /var/lib/kasaneha/archives 2>/dev/null || true"
)
# On this machine others work, too: what counts came after the servers.
HERE = PLACES.replace("'('", f"-newer {ROOT}/lab/state/known_hosts '('", 1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout that these tests may edit; the images that were built from it go with it."""
    yield Path(shutil.copytree(ROOT / "lab" / "source", tmp_path_factory.mktemp("build") / "source"))
    built = subprocess.run(
        ["docker", "image", "ls", "--quiet", "kasaneha-built/*"], capture_output=True, text=True, check=True
    ).stdout.split()
    subprocess.run(["docker", "image", "rm", "--force", *built], capture_output=True, check=False)


def deploy(source: Path, *options: str, **variables: Any):
    return play("playbooks/deploy.yml", *options, **{**QUICK, "sources": str(source), **variables})


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def ssh(name: str, command: str) -> list[str]:
    """Run a shell command as root on one of the servers: the command for that."""
    state = ROOT / "lab/state"
    options = ["-i", str(state / "id_ed25519"), "-o", f"UserKnownHostsFile={state}/known_hosts"]
    return ["ssh", *options, f"debian@{ADDRESSES[name]}", f"sudo bash -c {shlex.quote(command)}"]


def on_bytes(name: str, command: str, stdin: bytes | None = None) -> bytes:
    """Run it."""
    done = subprocess.run(ssh(name, command), input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return done.stdout


def on(name: str, command: str, stdin: bytes | None = None) -> str:
    """The same, of what is said as text."""
    return on_bytes(name, command, stdin).decode().strip()


def left() -> dict[str, str]:
    """Archives and their folders on any of the machines."""
    here = subprocess.run(["sh", "-c", HERE], capture_output=True, text=True, check=True).stdout.strip()
    return {"controller": here, **{name: on(name, PLACES) for name in ADDRESSES}}


def images(name: str) -> dict[str, str]:
    """Which image each container of the application runs there."""
    lines = on(
        name,
        "docker ps --filter label=kasaneha.deploy.colour --format '{{.Names}}' | xargs docker inspect --format '{{.Name}} {{.Image}}'",
    )
    return dict(line.split() for line in lines.splitlines())


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


def test_one_build_runs_on_both_hosts(root):
    assert len(images("molecule-build")) == 2
    assert images(OTHER) == images("molecule-build")


def test_nothing_of_a_build_stays_behind(root):
    assert set(left().values()) == {""}, left()
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
    assert f"{record(root)['release']} serves as before" in said and "cannot be reached" not in said  # the other host is well
    assert state(root) == before and browse("/")[0] == 200
    edit(main, "\tunknown()\n", "")


def test_a_changed_source_is_a_release_that_costs_no_request(root, source, browse, variables):
    before = record(root)
    edit(source / "backend/cmd/api/main.go", "Good morning", "Good evening")
    edit(source / "frontend/src/pages/index.astro", "Good morning", "Good evening")
    with Load(variables["ansible_host"], rate=20, slow=0, streams=0, paths="/,/api/v1/info") as load:
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
    done = deploy(source, app_release="v9", sources=str(source / "nowhere"))
    said = " ".join(done.stdout.split())
    assert done.returncode != 0 and "2 problem(s) to solve first; nothing was changed" in said
    assert f"app_services.backend.build.context: there is no directory {source}/nowhere/backend on localhost" in said
    assert state(root) == before


# --- a host that builds --------------------------------------------------------------------------------------


RECIPES = {
    # Not from that image: the release in its environment would win over the argument.
    "backend": """FROM scratch
COPY --from=before / /
WORKDIR /app
USER 10001:10001
CMD ["./main"]
ARG RELEASE
ENV RELEASE=${RELEASE}
""",
    # What a secret is made into stays, here its checksum; the secret does not. The stage `web` is the image, not the last one.
    "frontend": """FROM before AS web
RUN --mount=type=secret,id=ca test -s /run/secrets/ca
RUN --mount=type=secret,id=token,mode=0444 printf %s "$(cat /run/secrets/token)" | sha256sum | cut -c 1-64 > /tmp/token
FROM scratch AS nothing
""",
}


@pytest.fixture(scope="module")
def elsewhere(root) -> dict[str, Any]:
    """Sources on the host that builds. They begin with what was built before: its tools are not fetched a second time."""
    now = record(root)["services"]
    for service, recipe in RECIPES.items():
        built = now[service]["reference"]
        on(BUILDER, "docker load", subprocess.run(["docker", "save", built], capture_output=True, check=True).stdout)
        on(
            BUILDER,
            f"mkdir -p /srv/{service} && cat > /srv/{service}/Dockerfile.prod",
            f"FROM {built} AS before\n{recipe}".encode(),
        )
    overrides = yaml.safe_load((INVENTORY / "group_vars/all/source.yml").read_text())["app_service_overrides"]
    overrides["frontend"]["build"]["target"] = "web"
    secrets = {"ca": {"file": "/etc/ssl/certs/ca-certificates.crt"}, "token": "jwt_secret"}
    return {
        "sources": "/srv",
        "app_build_host": BUILDER,
        "app_release": "elsewhere-1",
        "app_service_overrides": overrides,
        "app_build_secrets": secrets,
    }


class Watch:
    """What lies in the folders of archives while a release is on its way."""

    LOOP = "while read -r -t 0.1; [ $? -gt 128 ]; do {}; done"  # until its input is closed

    def __enter__(self) -> Watch:
        there = {name: ssh(name, self.LOOP.format(PLACES)) for name in ADDRESSES}
        commands = {"controller": ["bash", "-c", self.LOOP.format(HERE)], **there}
        self.seen: dict[str, set[str]] = {name: set() for name in commands}
        self.processes = {
            name: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for name, command in commands.items()
        }
        self.threads = [threading.Thread(target=self.look, args=entry) for entry in self.processes.items()]
        for thread in self.threads:
            thread.start()
        return self

    def look(self, name: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        self.seen[name].update(line.decode().strip() for line in process.stdout)

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            assert process.stdin
            process.stdin.close()
        for thread in self.threads:
            thread.join()


def test_what_a_host_builds_is_carried_to_both(root, browse, elsewhere):
    with Watch() as watch:
        done = deploy(Path("/srv"), **elsewhere)
    assert done.returncode == 0, done.stdout[-4000:]
    built = {
        service: on(BUILDER, f"docker image inspect --format '{{{{.Id}}}}' kasaneha-built/{service}:elsewhere-1")
        for service in ("backend", "frontend")
    }
    now = record(root)
    assert {service: now["services"][service]["id"] for service in built} == built
    expected = {f"/kasaneha-{service}-{now['colour']}": built[service] for service in built}
    assert images("molecule-build") == images(OTHER) == expected
    assert json.loads(browse("/api/v1/info")[2])["release"] == "elsewhere-1"
    assert on(BUILDER, "docker ps --all --quiet") == ""  # it only builds
    assert set(left().values()) == {""}, left()
    # On their way they were where only one user may enter, under a name that nobody can guess.
    for name, user in (("controller", "root"), (BUILDER, "debian")):
        assert watch.seen[name], name
        for line in watch.seen[name]:
            assert re.fullmatch(rf"700 {user} /var/tmp/ansible\.\w+-kasaneha", line), line


def test_a_secret_is_there_for_the_build_and_in_no_layer(root, elsewhere, lab_secrets):
    secret, made = lab_secrets["jwt_secret"], hashlib.sha256(lab_secrets["jwt_secret"].encode()).hexdigest()
    image = record(root)["services"]["frontend"]["id"]
    assert on(OTHER, f"docker run --rm --entrypoint cat {image} /tmp/token") == made
    places = f"(docker save {image}; docker history --no-trunc {image}; docker image inspect {image})"
    found = {word: int(on(BUILDER, f"{places} | grep --text --count --fixed-strings {word} || true")) for word in (secret, made)}
    assert found[made] > 0 and found[secret] == 0


def test_a_second_run_builds_and_carries_nothing(root, elsewhere):
    before = state(root)
    with Watch() as watch:
        done = deploy(Path("/srv"), **elsewhere)
    assert done.returncode == 0 and re.search("changed=0 ", done.stdout), done.stdout[-3000:]
    assert state(root) == before and not any(watch.seen.values()), watch.seen


def test_a_host_that_lost_its_images_gets_them_again(root, elsewhere):
    now = images(OTHER)
    on(OTHER, "docker rm --force $(docker ps --quiet) && docker image rm --force $(docker image ls --quiet 'kasaneha-built/*')")
    done = play("site.yml", **QUICK, **elsewhere)
    assert done.returncode == 0, done.stdout[-4000:]
    assert images(OTHER) == now and set(left().values()) == {""}


def test_images_that_are_nowhere_are_refused_and_nothing_stays(root, elsewhere):
    """Under the name of the release the builder has another image by now."""
    now = images(OTHER)
    on(
        BUILDER,
        "docker tag $(docker image ls --quiet 'kasaneha-built/backend:src-*' | head -n 1) kasaneha-built/backend:elsewhere-1",
    )
    on(
        OTHER,
        "docker rm --force $(docker ps --quiet --filter name=backend) && docker image rm --force kasaneha-built/backend:elsewhere-1",
    )
    done = play("site.yml", **QUICK, **elsewhere)
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert f"{OTHER}: kasaneha-built/backend:elsewhere-1 on {BUILDER} is not the image that serves as that" in said
    assert images("molecule-build") == now and set(left().values()) == {""}
    assert json.loads(root("cat /var/lib/kasaneha/release.json"))["release"] == "elsewhere-1"
    advice = re.search(r"\((docker save sha256:\w+) [|] docker load\)", said)
    assert advice, said[-2000:]
    on(OTHER, "docker load", on_bytes("molecule-build", advice[1]))
    done = play("site.yml", **QUICK, **elsewhere)
    assert done.returncode == 0, done.stdout[-4000:]
    assert images(OTHER) == images("molecule-build") == now


def test_a_build_that_fails_there_says_where(root, elsewhere):
    before = state(root)
    on(BUILDER, "echo 'RUN echo this is why && false' >> /srv/backend/Dockerfile.prod")
    done = deploy(Path("/srv"), **{**elsewhere, "app_release": "elsewhere-3"})
    said = " ".join(done.stdout.split())
    assert done.returncode != 0 and f"cannot be built on {BUILDER}" in said and "this is why" in said
    assert state(root) == before and set(left().values()) == {""}
