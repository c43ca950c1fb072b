# SPDX-License-Identifier: GPL-3.0-or-later
"""A bare server, an image in a registry that needs a login, a name that does not lead here yet: what a newcomer's first commands did, and what
later ones say of bad input. The inventory is the one that `new` wrote, the collection the installed one."""

from __future__ import annotations

import json
import os
import re
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from .playbook import ROOT

EPHEMERAL = Path(os.environ.get("MOLECULE_EPHEMERAL_DIRECTORY", "/nowhere"))
INSTALLED, SECRETS = EPHEMERAL / "installed", EPHEMERAL / "secrets"
REGISTRY = "newcomer-registry.lab:5000"
PLACES = "/etc /opt /usr/local /var/log /var/lib/newcomer /run /root /home /tmp /var/tmp"
SAID: list[str] = []


def run(*words: str, vault: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command as the newcomer does, in the directory with the empty ansible.cfg; with Mitogen, for the tests have no time."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_CONFIG": str(INSTALLED / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(INSTALLED),
                    "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PIPELINING": "1"}  # fmt: skip
    if vault:
        environment["ANSIBLE_VAULT_PASSWORD_FILE"] = str(SECRETS / "vault")
    done = subprocess.run(
        [str(ROOT / "lab/mitogen.sh"), *words], cwd=INSTALLED, env=environment, capture_output=True, text=True, check=False
    )
    SAID.append(done.stdout + done.stderr)
    return done


def play(playbook: str, *options: str, vault: bool = True, **variables: Any) -> subprocess.CompletedProcess[str]:
    inventory = ("-i", "./newcomer", "-i", str(ROOT / "molecule/newcomer/lab"))
    return run("ansible-playbook", f"kasaneha.deploy.{playbook}", *inventory, "-e", json.dumps(variables), *options, vault=vault)


def words(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).replace("\\n", " ").split())


@pytest.fixture(scope="module")
def password() -> str:
    """Of the registry: no place but the vault may have it."""
    return (SECRETS / "registry").read_text().split()[0]


@pytest.fixture
def unchanged(root):
    """What the server has, to be the same after the test."""
    look = "docker ps --all --quiet; docker images --quiet --no-trunc | sort; cat /var/lib/newcomer/release.json; find /etc /opt -type f -exec sha256sum {} + "
    before = root(look)
    yield
    assert root(look) == before


def test_the_first_run_ends_well_and_names_the_next_command() -> None:
    said = " ".join((INSTALLED / "site.log").read_text().replace("\\n", " ").split())
    assert re.search(r"newcomer-1 : ok=\d+ changed=\d+ unreachable=0 failed=0", said)
    assert "WARNING: the site is served with a placeholder" in said and "newcomer.test: " in said
    assert re.search(r"Then run: ansible-playbook kasaneha\.deploy\.certificates -i \S+/newcomer -i ", said)


def test_the_site_answers(root) -> None:
    body = subprocess.run(
        ["curl", "--silent", "--show-error", "--insecure", "--max-time", "20", "--resolve", "newcomer.test:443:198.51.100.97",
         "https://newcomer.test/"], capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "This is release v1.0.0." in body
    running = root("docker ps --format '{{.Names}} {{.Image}}'").splitlines()
    assert {line.split()[0] for line in running} == {"newcomer-web-blue", "newcomer-postgres"}
    assert all(line.split()[1].startswith(REGISTRY) for line in running)  # both images needed the login
    assert "postgres://newcomer:" in root(
        'docker exec newcomer-web-blue sh -c \'tr "\\0" "\\n" </proc/1/environ; cat /run/secrets/* 2>/dev/null\''
    )


def test_a_second_run_changes_nothing() -> None:
    done = play("site")
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"newcomer-1 +: ok=\d+ +changed=0 ", done.stdout), re.findall(r"^changed: .*", done.stdout, re.MULTILINE)


@pytest.mark.usefixtures("unchanged")
def test_an_image_that_is_not_there() -> None:
    done = play("deploy", app_release="v9.9.9")
    said = words(done)
    assert done.returncode != 0 and "newcomer-1: app_services.web.image, release v9.9.9: " in said, said[-3000:]
    assert "Does release v9.9.9 exist (app_release)" in said and "Nothing of the application was changed." in said


@pytest.mark.usefixtures("unchanged")
def test_a_login_that_is_refused(root) -> None:
    wrong = "not-the-password-0815"
    done = play(
        "deploy",
        "-vvv",
        app_release="v1.1.0",
        app_registry_login=[{"registry": REGISTRY, "username": "newcomer", "password": wrong}],
    )
    said = words(done)
    sentence = f"newcomer-1: app_registry_login: {REGISTRY} refuses the login of user newcomer ("
    assert done.returncode != 0 and sentence in said and "vault.yml" in said, said[-3000:]
    # It was given on the command line, which -vvv shows as typed; no task shows it.
    assert wrong not in re.sub(r"^.*\n(?=PLAY )", "", done.stdout, count=1, flags=re.DOTALL)
    assert root("ls -d /run/*registry-login* 2>/dev/null || true") == ""


@pytest.mark.usefixtures("unchanged")
def test_a_login_that_cannot_work_is_refused_first() -> None:
    login = [{"registry": f"http://{REGISTRY}", "username": "newcomer", "password": "x"}]
    done = play("deploy", app_release="v1.1.0", app_registry_login=login)
    assert done.returncode != 0
    assert "problem(s) to solve first; nothing was changed" in words(done) and "app_registry_login[0].registry: " in words(done)


def test_a_server_that_does_not_answer() -> None:
    done = play("site", ansible_host="198.51.100.250")
    said = words(done)
    assert done.returncode != 0 and "1 server(s) cannot be reached; nothing was changed" in said, said[-3000:]
    assert "newcomer-1: " in said and "ansible_host (198.51.100.250)" in said and "changed=0" in said


def test_no_vault_password() -> None:
    """Ansible's own sentence: it comes before anything of a playbook can speak. What `new` says at its end names the remedy."""
    done = play("site", vault=False)
    assert done.returncode != 0 and "Attempting to decrypt but no vault secrets found" in words(done)
    assert "TASK" not in done.stdout and "PLAY RECAP" not in done.stdout  # no host was contacted
    assert "Every run needs it: --ask-vault-pass" in (INSTALLED / "new.log").read_text()


def test_a_directory_that_exists_and_a_domain_that_is_none() -> None:
    before = {path: path.read_bytes() for path in (INSTALLED / "newcomer").rglob("*") if path.is_file()}
    asked = {
        "app_name": "newcomer",
        "image": f"{REGISTRY}/lab/pages:v1.0.0",
        "domain": "https://newcomer.test",
        "server": "198.51.100.97",
    }
    done = run("ansible-playbook", "kasaneha.deploy.new", "-i", "localhost,", "-e", json.dumps(asked))
    said = words(done)
    assert done.returncode != 0 and "2 problem(s) to solve first; nothing was written" in said, said
    assert f"app_name: {INSTALLED.resolve()}/newcomer exists" in said and "Write newcomer.test" in said
    assert {path: path.read_bytes() for path in (INSTALLED / "newcomer").rglob("*") if path.is_file()} == before


def test_the_password_of_the_registry_is_nowhere(root, password: str) -> None:
    """The last one: all that was run so far has left its lines."""
    login = b64encode(f"newcomer:{password}".encode()).decode()  # as Docker's configuration would have it
    # In two pieces each, so that the search does not find its own words.
    halves = " ".join(f"-e '{text[:20]}''{text[20:40]}'" for text in (password, login))
    places = {
        "first runs": (INSTALLED / "new.log").read_text() + (INSTALLED / "site.log").read_text(),
        "later runs": "".join(SAID),
        "files of the newcomer": "".join(path.read_text() for path in (INSTALLED / "newcomer").rglob("*.yml")),
        "docker inspect": root("docker inspect $(docker ps --all --quiet) $(docker images --quiet)"),
        "arguments of processes": root("ps axww -o args"),
        "journal": root("journalctl --no-pager --output=cat"),
        "files on the server": root(
            f"find {PLACES} -xdev -type f ! -path '/var/log/journal/*' -exec grep -hIF {halves} {{}} + || true"
        ),
    }
    assert "kasaneha.deploy" in places["first runs"] and "newcomer" in places["docker inspect"]  # each was looked into
    shown = [place for place, text in places.items() if password in text or login in text]
    assert not shown
    assert root("ls -d /root/.docker /run/*registry-login* 2>/dev/null || true") == ""
    # The search can find: the vault has it.
    vault = run("ansible-vault", "view", "newcomer/group_vars/all/vault.yml").stdout
    SAID.pop()
    assert password in vault
