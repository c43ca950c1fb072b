# SPDX-License-Identifier: GPL-3.0-or-later
"""Applications of other people, served by the installed collection: each is described by its own short inventory and nothing else."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import testinfra
import yaml

from .load import Load
from .playbook import ROOT

SCENARIO, STATE = ROOT / "molecule/applications", ROOT / "lab/state"
SERVERS = STATE / "applications-pages.yml"  # how both are reached, as lab/create.yml wrote it down
PLACES = "/etc /opt /usr/local /var/log /var/lib/reader /var/lib/prometheus/node-exporter"
QUICK = {"nginx_watch_seconds": 3, "app_start_timeout": 15}


@dataclass(frozen=True)
class Application:
    """One of the two, on the server that is named after it.

    Args:
        lines: how long its description may be, in lines of app.yml that are no comments.
        service: its only service.
        release_file: where its image names the release.
        containers: beside those of the service.
        said: all that playbooks printed.
    """

    name: str
    lines: int
    service: str
    release_file: str
    containers: frozenset[str] = frozenset()
    said: list[str] = field(default_factory=list, compare=False)

    @property
    def host(self) -> str:
        return f"applications-{self.name}"

    @property
    def site(self) -> str:
        return f"{self.name}.test"

    def reached(self) -> dict[str, Any]:
        """The variables by which Ansible reaches the server."""
        return yaml.safe_load(SERVERS.read_text())["all"]["hosts"][self.host]

    def root(self, command: str) -> str:
        """Run a shell command as root on the server; its output."""
        host = testinfra.get_host(f"ansible://{self.host}", ansible_inventory=str(SERVERS))
        with host.sudo():
            done = host.run(command)
        assert done.rc == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def run(
        self, playbook: str, *options: str, inventory: Path | None = None, **variables: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a playbook of the installed collection, with an empty ansible.cfg."""
        installed = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "installed")
        environment = {**os.environ, "ANSIBLE_CONFIG": str(installed / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(installed),
                       "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PIPELINING": "1"}  # fmt: skip
        environment.pop("ANSIBLE_FORCE_COLOR", None)  # molecule sets it, and it would win
        done = subprocess.run(
            [ROOT / "lab/mitogen.sh", "ansible-playbook", f"kasaneha.deploy.{playbook}", "-i", inventory or SCENARIO / self.name,
             "-e", json.dumps(variables), *options],
            cwd=installed, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.said.append(done.stdout + done.stderr)
        return done

    def browse(self, path: str, *options: str) -> tuple[int, dict[str, str], str]:
        """Ask the site from outside, through TLS: status, headers, body. The placeholder is signed by nobody."""
        address = self.reached()["ansible_host"]
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--insecure", "--max-time", "20", "--dump-header", "-",
             "--resolve", f"{self.site}:443:{address}", *options, f"https://{self.site}{path}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
        first, *lines = head.splitlines()
        return int(first.split()[1]), {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}, body

    def record(self) -> dict[str, Any]:
        """The record of releases."""
        return json.loads(self.root(f"cat /var/lib/{self.name}/release.json"))

    def release(self) -> str:
        """The release that answers users, as its own image names it."""
        container = f"{self.name}-{self.service}-{self.browse('/')[1]['x-colour']}"
        return self.root(f"docker exec {container} grep -o -m 1 'v[0-9.]*[0-9]' {self.release_file}").split()[0]


PAGES = Application("pages", 6, "web", "/srv/pages/index.html")
READER = Application("reader", 15, "miniflux", "/etc/miniflux/image-release", frozenset({"reader-postgres"}))
both = pytest.mark.parametrize("app", [PAGES, READER], ids=lambda app: app.name)


def changes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """What each host's line of the recap says of changes."""
    return {host: int(count) for host, count in re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+) ", done.stdout, re.MULTILINE)}


def words(done: subprocess.CompletedProcess[str]) -> str:
    """What a run said, as one line."""
    return " ".join(done.stdout.split())


def hashed(page: str) -> list[str]:
    """The files that a page needs, by names made of their content."""
    return re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)


def titles(*login: str) -> list[str]:
    """What the reader's administrator sees of his categories."""
    status, _, body = READER.browse("/v1/categories", *login)
    assert status == 200, body
    return [entry["title"] for entry in json.loads(body)]


def until(condition: Callable[[], Any], seconds: int, what: str) -> Any:
    """Wait until something is true; its value."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(1)
    return found


@pytest.fixture(scope="module")
def canaries() -> dict[str, str]:
    """The reader's secrets; of the database's password the part that looks alike in a URL."""
    return {
        name: (STATE / "secrets" / f"reader_{name}").read_text().split()[0] for name in ("postgres_password", "admin_password")
    }


@both
def test_the_description_is_short_and_the_application_is_all_that_runs(app):
    described = [
        line for line in (SCENARIO / app.name / "group_vars/all/app.yml").read_text().splitlines() if not line.startswith("#")
    ]
    assert 3 < len(described) <= app.lines
    running = set(app.root("docker ps --format '{{.Names}}'").split())
    assert running == {f"{app.name}-{app.service}-blue", *app.containers}
    assert set(re.findall(r"(?:0\.0\.0\.0|\*|\[::\]):(\d+)\s", app.root("ss -Hltn"))) == {"22", "80", "443"}
    assert app.browse("/")[0] == 200 and app.release() == app.record()["release"] == "v1.0.0"
    assert app.browse("/metrics")[0] == 404  # the reader has some, for others than everybody


@both
def test_a_second_run_changes_nothing(app):
    done = app.run("site")
    assert done.returncode == 0, done.stdout[-3000:]
    assert changes(done) == {app.host: 0}, re.findall(r"^changed: .*", done.stdout, re.MULTILINE)


@both
def test_a_release_and_the_way_back_cost_no_request(app):
    before, page = app.record(), app.browse("/")[2]
    paths = ["/", *(hashed(page) or ["/healthcheck"])]  # an open page needs the files of its own release all the time
    with Load(
        app.reached()["ansible_host"], rate=30, slow=0, streams=0, url=f"https://{app.site}", paths=",".join(paths)
    ) as load:
        done = app.run("deploy", "--diff", app_release="v1.1.0", **QUICK)
        assert done.returncode == 0, done.stdout[-3000:]
        assert app.release() == app.record()["release"] == "v1.1.0" and app.record()["colour"] != before["colour"]
        second = app.browse("/")[2]
        done = app.run("rollback", "--diff", **QUICK)
        assert done.returncode == 0, done.stdout[-3000:]
        assert app.release() == app.record()["release"] == "v1.0.0" and app.record()["colour"] == before["colour"]
        result = load.stop()
    assert result["failed"] == 0, json.dumps(result["failures"], indent=1)
    assert {entry["colour"] for entry in load.records if entry["path"] == "/"} == {"blue", "green"}
    if app is PAGES:
        assert len(set(hashed(page)) & set(hashed(second))) == 1 and len(hashed(page)) == len(hashed(second)) == 3
        for path in hashed(second):  # of a release that does not serve
            status, headers, _ = app.browse(path)
            assert status == 200 and headers["cache-control"] == "public, max-age=31536000, immutable", path
        assert app.browse("/assets/style.00000000.css")[0] == 404  # the negative control


@both
def test_the_live_server_is_verified(app):
    done = app.run("verify")
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed, 0 FAILED", words(done))
    assert passed and int(passed[1]) > 3, done.stdout[-3000:]


def test_the_colour_that_serves_is_scraped():
    fetch = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())"

    def ask(expression: str) -> dict[str, str]:
        """Colour -> value."""
        url = f"http://127.0.0.1:9090/monitoring/api/v1/query?query={quote(expression, safe='')}"
        found = json.loads(READER.root(f"python3 -c '{fetch}' '{url}'"))["data"]["result"]
        return {sample["metric"]["colour"]: sample["value"][1] for sample in found}

    colour = READER.record()["colour"]
    # The other colour does not answer.
    up = 'up{service="miniflux"} == 1'
    until(lambda: set(ask(up)) == {colour}, 60, f"{colour} is up, and it alone")
    until(lambda: set(ask('miniflux_users{service="miniflux"}')) == {colour}, 60, "the reader's own metrics")
    assert ask('up{service="minifluks"}') == {}  # the negative control


def test_what_a_user_deleted_is_back_after_a_restore(canaries):
    login = ("--user", f"admin:{canaries['admin_password']}", "--header", "Content-Type: application/json")
    title = f"kept-{secrets.token_hex(4)}"
    status, _, body = READER.browse("/v1/categories", *login, "--request", "POST", "--data", json.dumps({"title": title}))
    assert status == 201, body
    done = READER.run("backup", reason="by the test")
    assert done.returncode == 0, done.stdout[-3000:]
    assert READER.browse(f"/v1/categories/{json.loads(body)['id']}", *login, "--request", "DELETE")[0] == 204
    assert title not in titles(*login)
    done = READER.run("restore", backup="latest")
    assert done.returncode == 0, done.stdout[-3000:]
    assert title in titles(*login)


# Each of these is one line of one message: what was written, and words that the line must have.
WRONG = {
    "app_name": "My_Pages",
    "app_release": "v1.0.0",
    "app_registry": "registry.lab:5000/lab",
    "app_services": {
        "web": {"port": 80, "publish": {"blue": 19004, "green": 19005}, "asset": "/srv/pages/assets"},
        "api": {"port": 80, "publish": {"blue": 19004, "green": 19005}, "secrets": {"TOKEN": "no_such_token"}},
    },
    "app_migration": {},
    "nginx_sites": [{"names": ["pages.test"], "upstream": "wbe"}],
    "certbot_email": "webmaster@pages.test",
}
PROBLEMS = {
    "no DNS label": ("app_name", "My_Pages"),
    "two services with one port": ("web", "api", "19004"),
    "an unknown upstream": ("nginx_sites", "wbe"),
    "a secret that is not there": ("no_such_token", "app_secrets"),
    "a misspelt key": ("app_services.web.asset", "Did you mean", "assets"),
    "a misspelt variable": ("app_migration", "Did you mean", "app_migrations"),
}
# As inventories were before the collection knew how its parts fit, in short; and what says the same now.
OLD = """
app_name: pages
app_release: v1.0.0
app_registry: registry.lab:5000/lab
app_services:
  web: {image: "{{ app_registry }}/pages", port: 80, publish: {blue: 18081, green: 18181}, health: /}
app_assets: {service: web, path: /srv/pages/assets}
app_secrets: "{{ kasaneha_secrets }}"
kasaneha_secrets: {postgres_password: "{{ vault_postgres_password }}"}
vault_postgres_password: of-this-test-alone
firewall_rules: "{{ kasaneha_access | kasaneha.deploy.firewall_access(inventory_hostname, groups, {}) }}"
kasaneha_access: [{name: https, at: edge, port: 443, from: any}]
nginx_state_dir: /var/lib/pages/edge
nginx_upstreams: "{{ app_services | kasaneha.deploy.upstreams(['127.0.0.1'], ['blue', 'green']) }}"
nginx_sites: ["{{ site_main }}"]
site_main: {name: pages, names: [pages.test], certificate: pages, upstream: web, assets: /assets/}
certbot_certificates: []
"""
MOVED = {
    "app_assets": "assets",
    "kasaneha_access": "firewall",
    "kasaneha_secrets": "app_secrets",
    "site_main": "nginx_sites",
    "vault_postgres_password": "app_secrets",
}


def refused(directory: Path, description: str) -> str:
    """What site.yml says of another description of the static site, of which it must change nothing."""
    before = PAGES.root("docker ps --all --quiet; find /etc /opt -type f -exec sha256sum {} + | sha256sum")
    (directory / "group_vars/all").mkdir(parents=True)
    (directory / "hosts.yml").write_text(json.dumps({"all": {"hosts": {PAGES.host: PAGES.reached()}}}))
    (directory / "group_vars/all/app.yml").write_text(description)
    done = PAGES.run("site", inventory=directory)
    assert done.returncode != 0 and set(changes(done).values()) == {0}, done.stdout[-3000:]
    assert PAGES.root("docker ps --all --quiet; find /etc /opt -type f -exec sha256sum {} + | sha256sum") == before
    results = [json.loads(result)["msg"] for result in re.findall(r"^fatal: .*? => ({.*})$", done.stdout, re.MULTILINE)]
    assert results and "problem(s) to solve first; nothing was changed" in results[-1], done.stdout[-3000:]
    return results[-1]


def test_what_cannot_work_is_refused_in_one_message(tmp_path):
    message = refused(tmp_path, json.dumps(WRONG))
    lines = [line for line in message.splitlines() if "- applications-pages: " in line]
    missing = {problem for problem, parts in PROBLEMS.items() if not any(all(part in line for part in parts) for line in lines)}
    assert not missing, message


def test_an_inventory_of_the_old_form_is_refused(tmp_path):
    message = refused(tmp_path, OLD)
    for old, now in MOVED.items():
        assert re.search(rf"- .*{old}: .*{now}", message), (old, message)


def test_no_secret_is_where_others_can_see_it(canaries):
    """The last one: all that was run so far has left its lines."""
    first = {
        app.name: Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "installed", f"site-{app.name}.log").read_text()
        for app in (PAGES, READER)
    }
    assert re.search(r"^\+.*https://reader\.test", first["reader"], re.MULTILINE)  # it shows differences
    places = {
        "first run": first["reader"],
        "runs": "".join(READER.said),
        "docker inspect": READER.root("docker inspect $(docker ps --all --quiet) $(docker images --quiet)"),
        "docker logs": READER.root("for id in $(docker ps --all --quiet); do docker logs $id 2>&1; done"),
        "arguments of processes": READER.root("ps axww -o args"),
        "journal": READER.root("journalctl --no-pager --output=cat"),
        "files that all may read": READER.root(f"find {PLACES} -type f -perm -o=r -exec grep -hI . {{}} + || true"),
    }
    # Each place was looked into.
    for place, known in {
        "docker logs": "admin user",
        "docker inspect": "ADMIN_USERNAME",
        "files that all may read": "root:x:0:",
    }.items():
        assert known in places[place], place
    assert len(canaries) == 2
    shown = [f"{name} in {place}" for place, text in places.items() for name, value in canaries.items() if value in text]
    assert not shown
    # The search can find: the files themselves hold them.
    files = READER.root("find /etc/reader/secrets -type f -exec cat {} +")
    assert all(value in files for value in canaries.values())
