# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventories as they are shipped, where nobody filled in what may stay empty, and hosts that nothing ran on before."""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import wiring
from inventory import inventory, said
from render import ROLES, evaluate
from role import JUDGING, NAMES, arguments, engine, options, role_tasks, template
from role import problems as role_problems

# What Ansible itself takes for absent is no value of a parameter: these say what a file or a program gets.
SAID = ("content", "stdin")


@functools.cache
def rendered(role: str, text: str) -> Any:
    """What a parameter becomes where everything that may be empty is."""
    return template(empty(role), text)


@functools.cache
def empty(role: str) -> Any:
    """The role with nothing in what may stay empty."""
    return engine(
        role, **{name: option["default"] for name, option in options(role).items() if option.get("default") in ("", [], {})}
    )


@pytest.mark.parametrize("role", NAMES)
def test_what_is_empty_is_written_as_empty(role: str) -> None:
    said = [(file, task["name"], given[name]) for file, task in role_tasks(role) for given in arguments(task)
            for name in SAID if isinstance(given.get(name), str)]  # fmt: skip
    assert [(file, name) for file, name, text in said if rendered(role, text) is None] == []


def test_a_loop_over_nothing_is_noticed() -> None:
    """The negative control."""
    assert rendered("monitoring", "{% for name in monitoring_page_users %}{{ name }}{% endfor %}") is None
    assert rendered("monitoring", "{{ monitoring_page_users | join }}") == ""


def listed(role: str, files: Any, own: dict[str, Any]) -> list[Any]:
    """What a list of the module `files` is: written out, or an expression with lists of the task's own variables."""
    if not isinstance(files, str):
        return list(files)
    for name in own:
        files = re.sub(rf"\b{name}\b", "[]", files)
    return [*(rendered(role, files) or []), *(entry for value in own.values() if isinstance(value, list) for entry in value)]


def made(role: str, tasks: Iterable[tuple[str, Any]] = ()) -> Iterator[tuple[str, str, bool]]:
    """File of tasks, path under /run, and whether it is a directory that is made there; in the order of a run."""
    for file, task in tasks or role_tasks(role):
        for parameters in arguments(task):
            for given in [parameters, *listed(role, parameters.get("files", []), task.get("vars", {}))]:
                path, when = (rendered(role, str(given.get(key, ""))) for key in ("path" if "path" in given else "dest", "when"))
                if str(path).startswith(("/run/", "/var/run/")) and when not in (False, "False"):
                    yield file, str(path), given.get("state") == "directory"


@pytest.mark.parametrize("role", NAMES)
def test_a_directory_that_is_lost_at_a_reboot_is_made_before_it_is_used(role: str) -> None:
    made_so_far: set[tuple[str, str]] = set()
    missing = []
    for file, path, directory in made(role):
        made_so_far |= {(file, path)} if directory else set()
        if (
            not directory
            and posixpath.dirname(path) not in ("/run", "/var/run")
            and (file, posixpath.dirname(path)) not in made_so_far
        ):
            missing.append((file, path))
    assert missing == []


def test_such_a_directory_is_seen() -> None:
    """The negative control."""
    listed = [{"path": "/run/{{ app_name }}", "state": "directory"}, {"path": "/run/b/c", "when": False}, {"path": "/run/b/d"}]
    tasks = [("a.yml", {"ansible.builtin.copy": {"dest": "/run/a/b"}}), ("b.yml", {"kasaneha.deploy.files": {"files": listed}}),
             ("c.yml", {"ansible.builtin.file": {"path": "/etc/a"}})]  # fmt: skip
    found = list(made("app", tasks))
    assert found == [("a.yml", "/run/a/b", False), ("b.yml", "/run/kasaneha", True), ("b.yml", "/run/b/d", False)]


# --- what a preflight says of them ------------------------------------------------------------------------

NEEDS = {"nginx": "edge", "certbot": "edge", "backup": "backup", "monitoring": "monitoring", "logging": "logging"}
# Of a secret: that it is not there is no fault of an inventory as it is shipped.
SECRETS = """lookup('kasaneha.deploy.secret_problems', 'app_secrets', strict=app_strict_secrets | bool, one_line=_app_data_secrets,
                    needed=_app_services | kasaneha.deploy.service_secrets | difference(_app_derived_secrets) + _app_data_secrets)"""


def problems(environment: str, groups: Sequence[str], **changes: Any) -> dict[str, list[str]]:
    """Role -> what it refuses of an inventory with one host."""
    given = inventory(
        environment, groups, groups={group: ["server"] for group in ("all", *groups)}, hosts={"server": {}}, **changes
    )
    given["__app_secret_problems"] = evaluate("app", SECRETS, given)
    found = {role: role_problems(role, given) for role in JUDGING if NEEDS.get(role, "app") in groups}
    return {role: sentences for role, sentences in found.items() if sentences}


@pytest.mark.parametrize("environment", ["prod", "staging", "local", "example-fleet"])
def test_a_shipped_inventory_is_refused_by_no_role(environment: str) -> None:
    assert problems(environment, wiring.GROUPS) == {}


def test_the_example_is_refused_by_no_role() -> None:
    """Its secrets are those that a reader puts in; its host is in the groups that it needs."""
    assert problems("example", wiring.needed_groups(said("example"))) == {}


def test_that_of_a_developer_is_refused_by_no_role() -> None:
    paths = {f"/home/me/deploy/{name}{file}": not file for name in ("backend", "frontend") for file in ("", "/Dockerfile.dev")}
    sources = {"results": [{"item": path, "stat": {"exists": True, "isdir": folder}} for path, folder in paths.items()]}
    own: dict[str, Any] = {"inventory_dir": "/home/me/deploy/inventories/dev", "dev_user": "1", "dev_group": "1"}
    assert problems("dev", ("app", "db", "cache"), **own, __app_sources=sources) == {}


def test_each_judgement_is_asked() -> None:
    """The negative control."""
    wrong: dict[str, Any] = {
        "app_services": {"web": {"prot": 80}}, "nginx_sites": [{"nmaes": ["a.test"]}], "certbot_email": "nobody", "backup_level": 77,
        "certbot_certificates": [{"name": "a", "names": ["a_b"]}], "firewall_extra_rules": [{"name": "x"}],
        "monitoring_slo_objective": 7, "logging_keep_days": 0, "docker_min_memory_mb": 10**9,
    }  # fmt: skip
    assert set(problems("prod", wiring.GROUPS, **wrong)) == set(JUDGING)


def examples() -> dict[str, dict[str, Any]]:
    """The descriptions of whole applications in the documentation."""
    text = (ROLES.parent / "docs/inventory.md").read_text()
    found = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    return {said["app_name"]: said for said in found if "nginx_sites" in said and "app_services" in said}


@pytest.mark.parametrize("name", examples())
def test_an_example_of_the_documentation_is_refused_by_no_role(name: str, tmp_path: Path) -> None:
    (tmp_path / "group_vars/all").mkdir(parents=True)
    (tmp_path / "group_vars/all/app.yml").write_text(yaml.safe_dump(examples()[name]))
    assert problems(str(tmp_path), wiring.needed_groups(examples()[name])) == {}


def test_there_are_such_examples() -> None:
    assert len(examples()) >= 2
