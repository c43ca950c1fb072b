# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reader opens to follow a playbook, counted in the tree; and the borders between roles.

*Followed* is the way from the command to each thing that is done on a host: which steps there are, in which order, where, under which
condition, and what happens when one fails. The walk begins at a playbook and goes on wherever a file names another one without saying
what is in it: imported playbooks, roles, their tables (``include_vars``), task files, and each entry point that a table of steps names.

It ends where a documented interface says what is behind:

- a *module*, a filter or a lookup: its documentation (``ansible-doc``) says what it takes, does and returns. So their files, and the
  ``module_utils`` that they are made of, are *beneath*;
- the *entry point* of another role, described in ``meta/argument_specs.yml``: its own file is opened, for it says what is done; what that
  file includes of its own role (how an image is pulled, built or carried) is beneath;
- what is *apart*, by the table APART: the checks before anything is changed, which end in one message, and the role ``app`` by itself, on
  a machine without colours, where nothing is ever switched. Each is followed by itself.

What is beneath is walked as well, and counted apart: nothing of the tree that a run may execute is left out of the two numbers.
Documentation (``README.md``, ``argument_specs.yml``, documentation of filters) is not counted, nor are templates, defaults and variables
of roles, which hold values and no order; a table that tasks include is counted.

    python tests/unit/follow.py [playbook]
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from metadata import Loader, files, walk

ROOT = Path(__file__).parent.parent.parent
COLLECTION = "kasaneha.deploy."
APART = {"playbooks/preflight.yml", "roles/release/tasks/scope.yml", "roles/app/tasks/main.yml"}
INCLUDES = ("import_tasks", "include_tasks")
UTILS = "ansible_collections.kasaneha.deploy.plugins."


def load(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader)  # noqa: S506 - a safe loader


def role_of(path: Path, root: Path) -> str:
    """The role that a file belongs to; empty for a playbook's."""
    parts = path.relative_to(root).parts
    return parts[1] if parts[0] == "roles" else ""


def named(value: Any, key: str) -> str:
    """What an include names: a word, or a mapping with it."""
    return str(value.get(key) or "") if isinstance(value, dict) else str(value)


def choices(name: str, folder: Path) -> Iterator[Path]:
    """The files that a name in a folder may stand for: one, or where it is made by a template, all that match it."""
    pattern = re.sub(r"\{\{.*?\}\}", "*", name)
    if not pattern.endswith(".yml"):
        pattern += ".yml"
    if pattern.strip("*") == ".yml":  # the whole name is an expression: the words in it that are files
        pattern = ""
        yield from (folder / word for word in re.findall(r"[\w/]+\.yml", name) if (folder / word).exists())
    yield from (path for path in sorted(folder.glob(pattern) if pattern else []) if path.is_file())


def steps(document: Any) -> Iterator[tuple[str, str]]:
    """Role and entry point of each row of a table."""
    for row in walk(document):
        if isinstance(row.get("role"), str) and isinstance(row.get("tasks"), str):
            yield row["role"], row["tasks"]


def references(path: Path, root: Path) -> Iterator[tuple[Path, bool]]:
    """What a playbook, a file of tasks or a table names, and whether that is an entry point of a role."""
    document = load(path)
    own = root / "roles" / role_of(path, root) if role_of(path, root) else path.parent
    tasks = own / "tasks" if role_of(path, root) else path.parent
    for role, entry in steps(document):
        yield root / "roles" / role / "tasks" / f"{entry}.yml", True
    for task in walk(document):
        for module, value in task.items():
            word = str(module).removeprefix("ansible.builtin.")
            if word == "import_playbook":
                yield (path.parent / str(value)).resolve(), False
            elif word in INCLUDES:
                yield from ((file, False) for file in choices(named(value, "file"), tasks))
            elif word == "include_vars":
                yield own / "vars" / named(value, "file"), False
            elif word in ("import_role", "include_role") and not named(value, "name").startswith(COLLECTION + "{{"):
                entry = str(value.get("tasks_from") or "main")
                entries = [entry] if "{{" not in entry else [str(item) for item in task.get("loop") or []]
                role = named(value, "name").removeprefix(COLLECTION)
                yield from ((root / "roles" / role / "tasks" / f"{name}.yml", True) for name in entries)
        for role in task.get("roles") or [] if "hosts" in task else []:
            name = named(role, "role").removeprefix(COLLECTION)
            yield root / "roles" / name / "tasks/main.yml", True


def plugins(path: Path, root: Path) -> set[Path]:
    """The modules, filters and lookups of this collection that a file of tasks, variables or a table calls."""
    found = set()
    for name in set(re.findall(r"kasaneha\.deploy\.(\w+)", path.read_text())):
        module, filters = root / f"plugins/modules/{name}.py", root / "plugins/filter"
        lookup = root / f"plugins/lookup/{name}.py"
        found |= {file for file in (module, lookup) if file.exists()}
        found |= {file for file in filters.glob("*.py") if re.search(rf'"{name}":', file.read_text())}
    return found


def imports(path: Path, root: Path) -> Iterator[Path]:
    """The files of this collection that a Python file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(UTILS[:-1]):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            file = root / "plugins" / f"{name.removeprefix(UTILS).replace('.', '/')}.py"
            if file.exists():
                yield file


def follow(playbook: str, root: Path = ROOT) -> tuple[list[Path], list[Path]]:
    """The files that are followed from a playbook, in the order in which they are met, and those beneath them.

    :raises FileNotFoundError: a file names another one that is not there.
    """
    followed: list[Path] = []
    beneath: set[Path] = set()
    waiting: list[tuple[Path, str, bool]] = [
        (root / playbook, "", True)
    ]  # file, the role whose inside it is, whether it is followed
    called: set[Path] = set()
    while waiting:
        path, inside, open_it = waiting.pop(0)
        if not path.exists():
            raise FileNotFoundError(path)
        open_it = open_it and str(path.relative_to(root)) not in APART
        if path in followed or (path in beneath and not open_it):
            continue
        beneath.discard(path)
        if open_it:
            followed.append(path)
        else:
            beneath.add(path)
        called |= plugins(path, root)
        for file, entry in references(path, root):
            role = role_of(file, root)
            # The role that drives is followed all the way; of one that a step calls, the entry point.
            driven = role == role_of(path, root) and not inside
            waiting.append((file, "" if driven or not role_of(path, root) else role, open_it and (driven or entry or not role)))
    todo = sorted(called)
    while todo:
        path = todo.pop()
        if path not in beneath:
            beneath.add(path)
            todo += imports(path, root)
    return followed, sorted(beneath)


# --- borders ----------------------------------------------------------------------------------------------
def crossings(root: Path = ROOT) -> list[str]:
    """Private variables of a role (``_role_x``, ``__role_x``) that another role or a playbook reads or sets: `path: variable`."""
    names = sorted(path.name for path in (root / "roles").iterdir() if path.is_dir())
    private = re.compile(rf"(?<![\w'\"-])_{{1,2}}({'|'.join(names)})_\w+")
    found = []
    for path in files(root):
        name = path.relative_to(root).as_posix()
        if name.startswith(("playbooks/", "roles/")) and path.suffix in (".yml", ".j2"):
            own = role_of(path, root)
            found += [f"{name}: {match[0]}" for match in private.finditer(path.read_text()) if match[1] != own]
    return sorted(set(found))


def repeated_defaults(root: Path = ROOT) -> list[str]:
    """Variables with a default in a role that a playbook gives a default of its own: `path: variable`.

    The wiring (``playbooks/group_vars``) is the one place that may.
    """
    owned = {name for path in (root / "roles").glob("*/defaults/main.yml") for name in load(path) or {}} - {
        "app_name"
    }  # which is everybody's
    found = []
    for path in files(root):
        name = path.relative_to(root).as_posix()
        if name.startswith("playbooks/") and not name.startswith("playbooks/group_vars/") and path.suffix == ".yml":
            for variable in re.findall(r"(?<![\w.])(\w+) *\| *default\(", path.read_text()):
                found += [f"{name}: {variable}"] if variable in owned else []
    return sorted(set(found))


def main() -> None:
    playbook = sys.argv[1] if len(sys.argv) > 1 else "playbooks/deploy.yml"
    followed, beneath = follow(playbook)
    print(f"{playbook} is followed in {len(followed)} files:")
    print(*(f"  {path.relative_to(ROOT)}" for path in followed), sep="\n")
    print(f"Beneath them, behind documented interfaces, are {len(beneath)}:")
    for kind in (
        "playbooks",
        "roles",
        "plugins/modules",
        "plugins/filter",
        "plugins/lookup",
        "plugins/plugin_utils",
        "plugins/module_utils",
    ):
        print(f"  {kind}: {sum(path.relative_to(ROOT).as_posix().startswith(kind + '/') for path in beneath)}")
    print(*(f"A private variable crosses a border: {crossing}" for crossing in crossings()), sep="\n")
    print(*(f"A role's default is repeated: {repeated}" for repeated in repeated_defaults()), sep="\n")


if __name__ == "__main__":
    main()
