# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that no other tool checks. Each takes the folder of a checkout and returns what breaks it, one sentence each."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

PHASES = ["preflight", "install", "configure", "service", "verify"]
LINKS = ["README.md", "galaxy.yml", "meta", "playbooks", "plugins", "roles"]
MAX_LINES = 400
PRIVATE = "Private to this collection, it may change in any release."
SPDX = "SPDX-License-Identifier: GPL-3.0-or-later"
NO_HEADER = {"LICENSE", "CHANGELOG.md", "changelogs/changelog.yaml"}  # the licence, and what antsibull-changelog writes
NO_COMMENTS = {".json", ".png", ".svg", ".ico", ".gz", ".zst"}
TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "path": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "list": list,
    "dict": dict,
    "raw": object,
}


class Loader(yaml.SafeLoader):
    """Knows that ``!vault`` and ``!unsafe`` exist; their values do not matter here."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: str(node.value))


def load(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader) if path.exists() else None  # noqa: S506 - a safe loader


def files(root: Path) -> Iterator[Path]:
    """What is in version control or about to be; links are not followed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        path = root / name
        if path.is_file() and not path.is_symlink():
            yield path


def roles(root: Path) -> list[Path]:
    return sorted(path for path in (root / "roles").iterdir() if path.is_dir())


def is_template(value: Any) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a tree: tasks, and whatever they contain."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from walk(child)


def bad_option(option: dict[str, Any]) -> Iterator[str]:
    """One option of an argument specification on its own."""
    kind = option.get("type")
    if kind not in TYPES:
        yield f"has type {kind!r}, not one of {', '.join(TYPES)}"
        return
    if not option.get("description"):
        yield "has no description"
    if kind == "list" and "elements" not in option:
        yield "is a list without elements"
    default = option.get("default")
    if default is None or is_template(default):
        return
    if not isinstance(default, TYPES[kind]) or (kind in ("int", "float") and isinstance(default, bool)):
        yield f"has a default of type {type(default).__name__}, but type {kind}"
    for value in default if isinstance(default, list) else [default]:
        if "choices" in option and value not in option["choices"]:
            yield f"has the default {value!r}, which is none of its choices"


def bad_options(where: str, options: dict[str, Any]) -> Iterator[str]:
    """Options and whatever they have inside, each on its own."""
    for name, option in options.items():
        yield from (f"{where}{name} {problem}" for problem in bad_option(option))
        if "options" in option and "dict" not in (option.get("type"), option.get("elements")):
            yield f"{where}{name} has keys, but no mapping to have them"
        yield from bad_options(f"{where}{name}.", option.get("options") or {})


def argument_specs(root: Path) -> list[str]:
    """defaults/main.yml and meta/argument_specs.yml say the same."""
    found = []
    for role in roles(root):
        defaults = load(role / "defaults/main.yml") or {}
        entries = (load(role / "meta/argument_specs.yml") or {}).get("argument_specs") or {}
        if "main" not in entries:
            found.append(f"{role.name}: meta/argument_specs.yml has no entry point main")
        documented = set()
        variables = (entries.get("main") or {}).get("options") or {}
        for entry, spec in entries.items():
            tasks = role / "tasks" / f"{entry}.yml"
            found += bad_options(f"{role.name}: {entry}: ", spec.get("options") or {})
            if entry in variables:  # the keys of that variable's values: Ansible has no other place for them
                if tasks.exists():  # it would be given the keys as variables
                    found.append(f"{role.name}: entry point {entry} describes values, but there are tasks/{entry}.yml")
                continue
            if not tasks.exists():
                found.append(f"{role.name}: entry point {entry} has no tasks/{entry}.yml")
            for name, option in (spec.get("options") or {}).items():
                documented.add(name)
                where = f"{role.name}: {entry}: {name}"
                if not name.startswith(f"{role.name}_"):
                    found.append(f"{where} does not begin with {role.name}_")
                if name not in defaults:
                    if not option.get("required"):
                        found.append(f"{where} has no default in defaults/main.yml and is not required")
                elif option.get("required"):
                    found.append(f"{where} is required, but defaults/main.yml has a default")
                elif is_template(defaults[name]):
                    continue  # what it becomes is known on the host only
                elif "default" not in option and defaults[name] is not None:
                    found.append(f"{where} has a default in defaults/main.yml only")
                elif as_json(option.get("default")) != as_json(defaults[name]):  # to Python, 1 and true are equal
                    found.append(f"{where} has default {option.get('default')!r}, defaults/main.yml says {defaults[name]!r}")
        found += [f"{role.name}: {name} is in defaults/main.yml only" for name in sorted(set(defaults) - documented)]
    return found


def role_layout(root: Path) -> list[str]:
    """Each role has a README, and tasks/main.yml imports phases in their order, with their tags, and does nothing else.

    A role that a table of steps drives (vars/steps.yml) has its order there.
    """
    found = []
    for role in roles(root):
        readme = role / "README.md"
        if not readme.exists() or len(readme.read_text().splitlines()) < 3:
            found.append(f"{role.name}: README.md is missing or says nothing")
        if (role / "vars/steps.yml").exists():  # the order stands in that table
            continue
        order = []
        for task in load(role / "tasks/main.yml") or []:
            phase = str(task.get("ansible.builtin.import_tasks", "")).removesuffix(".yml")
            if phase not in PHASES or set(task) - {"name", "tags", "ansible.builtin.import_tasks"}:
                found.append(f"{role.name}: tasks/main.yml: {task.get('name')!r} is not one of the phases {', '.join(PHASES)}")
                continue
            order.append(phase)
            if not {role.name, f"{role.name}_{phase}"} <= set(task.get("tags") or []):
                found.append(f"{role.name}: tasks/main.yml: {phase} lacks the tags {role.name} and {role.name}_{phase}")
        if order != [phase for phase in PHASES if phase in order] or not order:
            found.append(f"{role.name}: tasks/main.yml: phases in the order {order}")
    return found


def role_prefixes(root: Path) -> list[str]:
    """Public ``role_x`` in defaults, private ``_role_x`` in vars, registered ``__role_x``.

    What an entry point returns is public: its description in the argument specification names it, as ``C(role_x)``.
    """
    found = []
    for role in roles(root):
        public, private, registered = (f"{underscores}{role.name}_" for underscores in ("", "_", "__"))
        specs = (load(role / "meta/argument_specs.yml") or {}).get("argument_specs") or {}
        results = {name for spec in specs.values() for name in re.findall(r"C\((\w+)\)", str(spec.get("description")))}
        for folder, prefix in (("defaults", public), ("vars", private)):
            for path in sorted((role / folder).glob("*.yml")):
                names = [name for name in load(path) or {} if not name.startswith(prefix)]
                found += [f"{role.name}: {folder}/{path.name}: {name} does not begin with {prefix}" for name in names]
        for path in sorted([*(role / "tasks").glob("*.yml"), *(role / "handlers").glob("*.yml")]):
            for task in walk(load(path)):
                names = [task["register"]] if isinstance(task.get("register"), str) else []
                facts = task.get("ansible.builtin.set_fact")
                found += [
                    f"{role.name}: {path.name}: registered {name} does not begin with {registered}"
                    for name in names
                    if not name.startswith(registered) and not (name in results and name.startswith(public))
                ]
                found += [
                    f"{role.name}: {path.name}: fact {name} is not of this role"
                    for name in (facts if isinstance(facts, dict) else {})
                    if name != "cacheable" and not name.startswith((public, private, registered))
                ]
    return found


def dependencies(root: Path) -> list[str]:
    """galaxy.yml and requirements.yml name the same collections in the same versions."""
    wanted = load(root / "galaxy.yml")["dependencies"]
    given = {entry["name"]: entry.get("version") for entry in load(root / "requirements.yml")["collections"]}
    return [
        f"{name}: {wanted.get(name)} in galaxy.yml, {given.get(name)} in requirements.yml"
        for name in sorted(wanted.keys() | given.keys())
        if wanted.get(name) != given.get(name)
    ]


def collection_links(root: Path) -> list[str]:
    """The checkout itself is the collection: relative links, so that it can be moved and cloned."""
    folder = root / "collections/ansible_collections/kasaneha/deploy"
    found = []
    for name in sorted({*LINKS, *(path.name for path in folder.iterdir())}):
        link = folder / name
        if not link.is_symlink():
            found.append(f"{name}: is no link")
        elif str(link.readlink()) != f"../../../../{name}" or not link.exists():
            found.append(f"{name}: points to {link.readlink()}, which is not the checkout's own {name}")
    return found


def module_docs(root: Path) -> list[str]:
    """Every module has DOCUMENTATION, EXAMPLES and RETURN, each of them YAML."""
    found = []
    for path in sorted((root / "plugins/modules").glob("*.py")):
        strings = {
            target.id: node.value.value
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for name in ("DOCUMENTATION", "EXAMPLES", "RETURN"):
            try:
                if not yaml.safe_load(strings.get(name) or ""):
                    found.append(f"{path.name}: has no {name}")
            except yaml.YAMLError as error:
                found.append(f"{path.name}: {name} is no YAML: {error}")
    return found


def private_filters(root: Path) -> list[str]:
    """A filter is either told of in the documentation for users, or its own documentation says that it is private."""
    pages = [root / "README.md", *root.glob("docs/*.md"), *root.glob("roles/*/README.md")]
    told = set(re.findall(r"\bkasaneha\.deploy\.(\w+)", "\n".join(page.read_text() for page in pages)))
    found = []
    for path in sorted((root / "plugins/filter").glob("*.yml")):
        private = PRIVATE in load(path)["DOCUMENTATION"]["description"]
        if private == (path.stem in told):
            found.append(
                f"{path.name}: the documentation for users tells of it, and its own says that it is private"
                if private
                else f"{path.name}: no documentation for users tells of it, and its own does not say '{PRIVATE}'"
            )
    return found


def action_group(root: Path) -> list[str]:
    """meta/runtime.yml: the action group `deploy` lists every module, so that one module_defaults reaches all of them."""
    modules = {path.stem for path in (root / "plugins/modules").glob("*.py")}
    listed = set(((load(root / "meta/runtime.yml") or {}).get("action_groups") or {}).get("deploy") or [])
    return [f"{name}: is in plugins/modules or in the action group, not in both" for name in sorted(modules ^ listed)]


def licence_headers(root: Path) -> list[str]:
    """Every source file names its licence in its first lines; the ``__init__.py`` of a package has to be empty."""
    found = []
    for path in files(root):
        name = str(path.relative_to(root))
        if name in NO_HEADER or path.suffix in NO_COMMENTS:
            continue
        text = path.read_text()
        if text and not text.startswith("$ANSIBLE_VAULT;") and not any(SPDX in line for line in text.splitlines()[:3]):
            found.append(f"{name}: no '{SPDX}' in its first 3 lines")
    return found


def file_lengths(root: Path) -> list[str]:
    """A file that can be read in one go."""
    found = []
    for path in files(root):
        name = str(path.relative_to(root))
        if name not in NO_HEADER and path.suffix not in NO_COMMENTS:
            lines = len(path.read_text().splitlines())
            found += [f"{name}: {lines} lines, at most {MAX_LINES}"] if lines > MAX_LINES else []
    return found


def pinned_images(root: Path) -> list[str]:
    """No image floats: neither `:latest` nor, in a Dockerfile, a base without tag or digest."""
    found = []
    for path in files(root):
        name = str(path.relative_to(root))
        dockerfile = path.name.startswith("Dockerfile")
        if name.startswith(("tests/", "plugins/")) or not (dockerfile or path.suffix in (".yml", ".j2", ".sh")):
            continue
        text = path.read_text()
        stages = {"scratch", *re.findall(r"(?im)^FROM .+ AS (\S+)", text)}
        for number, line in enumerate(text.splitlines(), 1):
            line = line.split("#")[0]
            base = re.match(r"(?i)FROM\s+(?:--\S+\s+)*(\S+)", line) if dockerfile else None
            untagged = base and base[1] not in stages and not re.search(r"[:@$]", base[1].rsplit("/", 1)[-1])
            if untagged or re.search(r"[\w}]:latest\b", line):
                found.append(f"{name}:{number}: {line.strip()}")
    return found


CHECKS: list[Callable[[Path], list[str]]] = [
    action_group,
    argument_specs,
    collection_links,
    dependencies,
    file_lengths,
    licence_headers,
    module_docs,
    pinned_images,
    private_filters,
    role_layout,
    role_prefixes,
]
