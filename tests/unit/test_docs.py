# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents: links lead somewhere, commands are such that exist, and what no test runs is marked."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import documents
import pytest
import yaml
from ansible.cli.galaxy import GalaxyCLI
from ansible.cli.playbook import PlaybookCLI
from ansible.cli.vault import VaultCLI
from ansible.errors import AnsibleError
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import cli as backup_cli
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs import command as logs_command

ROOT = Path(__file__).parent.parent.parent
BLOCKS = documents.blocks_of(ROOT)
# An inventory that a reader makes stands for the one that is shipped as an example.
INVENTORIES = {
    "shop": "inventories/example",
    "./shop": "inventories/example",
    "shop-new": "inventories/example",
    "./shop-new": "inventories/example",
}
GALAXY = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
TARBALL = f"{GALAXY['namespace']}-{GALAXY['name']}-{GALAXY['version']}.tar.gz"
# Words of the field, and those that they replace.
WORDS = re.compile(
    r"\bfolders?\b|\banew\b|\bmend(s|ed|ing)?\b|\bthe hub\b|\b(log|logging) hub\b|\bfirst design\b|\byour own words\b|\bwho is told\b",
    re.IGNORECASE,
)


def marked(block: documents.Block) -> bool:
    return bool(block.lines) and block.lines[0].strip().startswith(documents.NOT_RUN)


def shell_blocks() -> list[documents.Block]:
    return [block for block in BLOCKS if block.info.split(" ")[0] in documents.SHELL and not marked(block)]


# --- links, paths, lines ------------------------------------------------------------------------------
def test_every_link_leads_somewhere() -> None:
    assert not list(documents.dead_links(ROOT))


def test_every_path_that_is_named_is_there() -> None:
    assert not list(documents.lost_paths(ROOT))


def test_dead_links_and_lost_paths_are_noticed(tmp_path: Path) -> None:
    """The negative control."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text(
        "# One two\n[a](a.md#one-two) [b](b.md) [c](#three) [d](../../e) `docs/x.yml` `docs/*.md`\n```\n[no](no.md)\n```\n"
    )
    assert list(documents.dead_links(tmp_path)) == [f"docs/a.md:2: {target}" for target in ("b.md", "#three", "../../e")]
    assert list(documents.lost_paths(tmp_path)) == ["docs/a.md:2: docs/x.yml"]


@pytest.mark.parametrize("name", ["README.md", "README.ja.md"])
def test_lines_of_the_readme_are_short(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert not [number for number, line in enumerate(lines, 1) if len(line) > 160]


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    pages = [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md"]
    assert not [name for name in pages if f"]({name})" not in index]


def test_the_words_are_those_of_the_field() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {word[0]}"
        for path in documents.pages(ROOT)
        for number, line in documents.parts("", path.read_text(encoding="utf-8"))[0]
        for word in WORDS.finditer(documents.SPAN.sub("", line))
    ]
    assert not found, "\n".join(found)


# --- blocks -------------------------------------------------------------------------------------------
def test_every_block_says_what_it_is() -> None:
    assert not [str(block) for block in BLOCKS if not block.info]


class Loader(yaml.SafeLoader):
    """YAML with Ansible's own tags."""


Loader.add_multi_constructor("!", lambda loader, _tag, node: loader.construct_scalar(node))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.info.startswith("yaml")], ids=str)
def test_yaml_can_be_read(block: documents.Block) -> None:
    assert yaml.load("\n".join(block.lines), Loader) is not None  # noqa: S506


# --- commands -----------------------------------------------------------------------------------------
@functools.cache
def variables() -> set[str]:
    """Every word of the playbooks, of the roles' arguments and of the developer's inventory: a variable that none of these has, nobody reads."""
    files = [
        *ROOT.glob("playbooks/**/*.yml"),
        *ROOT.glob("roles/*/meta/argument_specs.yml"),
        *ROOT.glob("inventories/dev/**/*.yml"),
    ]
    return {word for file in files for word in re.findall(r"\w+", file.read_text(encoding="utf-8"))}


@functools.cache
def tags() -> set[str]:
    files = [*ROOT.glob("playbooks/*.yml"), *ROOT.glob("roles/*/tasks/*.yml")]
    return {
        tag.strip()
        for file in files
        for found in re.findall(r"tags: \[?([^\]\n]+)", file.read_text(encoding="utf-8"))
        for tag in found.split(",")
    }


def playbook_file(name: str) -> str:
    return f"playbooks/{name.removeprefix('kasaneha.deploy.')}.yml" if name.startswith("kasaneha.deploy.") else name


def extra_variables(words: list[str]) -> list[str]:
    """The names of the variables that ``-e`` sets."""
    found: list[str] = []
    for word in words:
        found += (
            json.loads(word)
            if word.startswith("{")
            else []
            if word.startswith("@")
            else [pair.partition("=")[0] for pair in word.split(" ", 1)[:1]]
        )
    return found


def playbook_problems(words: list[str]) -> list[str]:
    """One order of ansible-playbook: its options are Ansible's, and what it names is there."""
    options = PlaybookCLI(words)
    options.init_parser()
    try:
        given = options.parser.parse_args(words[1:])
    except SystemExit:
        return ["ansible-playbook does not take these options"]
    found = [f"{name} is no playbook" for name in given.args if not (ROOT / playbook_file(name)).exists()]
    for name in given.inventory or []:
        if (
            not documents.PLACEHOLDER.search(name)
            and not name.endswith(",")
            and not (ROOT / INVENTORIES.get(name.rstrip("/"), name)).exists()
        ):
            found.append(f"{name} is no inventory")
    found += [f"{name} is a variable that nobody reads" for name in extra_variables(given.extra_vars) if name not in variables()]
    given_tags = [tag for text in [*(given.tags or []), *(given.skip_tags or [])] for tag in text.split(",")]
    return found + [f"{tag} is no tag" for tag in given_tags if tag not in tags() | {"all"}]


def cli_problems(kind: type[GalaxyCLI] | type[VaultCLI], words: list[str]) -> list[str]:
    options = kind(words)
    options.init_parser()
    try:
        options.parser.parse_args(words[1:])
    except (SystemExit, AnsibleError):
        return [f"{words[0]} does not take these options"]
    return []


def pip_problems(words: list[str]) -> list[str]:
    """``pip install``: packages that the requirements name, or these files."""
    known = set(re.findall(r"(?m)^([\w-]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8")))
    files = {str(path.relative_to(ROOT)) for path in ROOT.glob("requirements*.txt")}
    return [f"{word} is no package of requirements.txt" for word in words[2:]
            if not word.startswith("-") and word not in files and re.split(r"[=<>~]", word)[0] not in known]  # fmt: skip


@functools.cache
def make_problems(*words: str) -> list[str]:
    done = subprocess.run(["make", "-n", *(word for word in words if not documents.PLACEHOLDER.search(word))],
                          cwd=ROOT, capture_output=True, text=True, check=False)  # fmt: skip
    return [] if done.returncode == 0 else [done.stderr.strip()]


def command_problems(words: list[str]) -> list[str]:
    """What is wrong with one command; one of a kind that is not known here has to be marked."""
    name = Path(words[0]).name
    if name == "sudo":
        return command_problems(words[1:])
    if words[0] in ("lab/mitogen.sh", "tests/run.sh"):
        return command_problems(words[1:]) if words[0] == "lab/mitogen.sh" else []
    if name == "ansible-playbook":
        return playbook_problems(words)
    if name == "ansible-galaxy":
        return cli_problems(GalaxyCLI, words) + [
            f"{word} is not what a build makes" for word in words if word.endswith(".gz") and word != TARBALL
        ]
    if name == "ansible-vault":
        return cli_problems(VaultCLI, words)
    if name == "pip":
        return pip_problems(words)
    if name == "make":
        return make_problems(*words[1:])
    if name.endswith(("-backup", "-logs")):
        parser = (backup_cli if name.endswith("-backup") else logs_command).parser(name)
        try:
            parser.parse_args(words[1:])
        except SystemExit:
            return [f"{name} does not take these arguments"]
        return []
    return [f"no test knows {words[0]}: the block has to begin with '{documents.NOT_RUN}: …'"]


@pytest.mark.parametrize("block", shell_blocks(), ids=str)
def test_commands_are_such_that_exist(block: documents.Block) -> None:
    found = [f"{' '.join(words)}: {problem}" for words in documents.commands(block.lines) for problem in command_problems(words)]
    assert not found, "\n".join(found)


def test_commands_in_prose_are_such_that_exist() -> None:
    found = [
        f"{where}: {text}: {problem}"
        for where, text in documents.spans(ROOT)
        if text.startswith(("ansible-playbook ", "make "))
        for problem in command_problems([word for word in next(documents.commands((text,))) if word != "…"])
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "ansible-playbook kasaneha.deploy.nothing -i shop",
        "ansible-playbook kasaneha.deploy.site -i inventories/nowhere",
        "ansible-playbook kasaneha.deploy.site -i shop --no-such-option",
        "ansible-playbook kasaneha.deploy.deploy -i shop -e app_relase=v1",
        """ansible-playbook kasaneha.deploy.deploy -i shop -e '{"absent_hostes": []}'""",
        "ansible-playbook kasaneha.deploy.site -i shop --tags firewal",
        "ansible-galaxy collection instal x",
        "ansible-galaxy collection install kasaneha-deploy-0.0.1.tar.gz",
        "ansible-vault encrypd x",
        "pip install something-else",
        "make nothing-of-the-kind",
        "shop-backup run --no-such-option",
        "shop-logs --since",
        "docker ps",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(line: str) -> None:
    """The negative control."""
    assert [problem for words in documents.commands((line,)) for problem in command_problems(words)]


def orders() -> dict[str, list[str]]:
    """Inventory -> playbooks that the documents run with it: every inventory with one at least, and every playbook once."""
    found: dict[str, list[str]] = {}
    for block in shell_blocks():
        for words in documents.commands(block.lines):
            if words[0] == "ansible-playbook":
                options = PlaybookCLI(words)
                options.init_parser()
                given = options.parser.parse_args(words[1:])
                for name in given.inventory or ["localhost,"]:
                    read = found.setdefault(INVENTORIES.get(name.rstrip("/"), name), [])
                    known = {playbook_file(playbook) for playbooks in found.values() for playbook in playbooks}
                    read += [playbook for playbook in given.args if not read or playbook_file(playbook) not in known]
    return found


@pytest.mark.parametrize(("inventory", "playbooks"), orders().items(), ids=list(orders()))
def test_their_playbooks_can_be_read_with_their_inventory(inventory: str, playbooks: list[str]) -> None:
    done = subprocess.run(["ansible-playbook", "--syntax-check", "-i", inventory, *playbooks], cwd=ROOT,
                          env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("playbook:") == len(playbooks)


# --- the examples for CI ------------------------------------------------------------------------------
SECRETS = {name: f"CANARY of {name}" for name in ("SSH_PRIVATE_KEY", "SSH_KNOWN_HOSTS", "VAULT_PASSWORD")}
TAG = {"GITHUB_REF_NAME": "v1.2.0", "CI_COMMIT_TAG": "v1.2.0"}
NOTED = ("apt-get", "pip", "ansible-galaxy")


def jobs(name: str) -> list[tuple[str, dict[str, str]]]:
    """The scripts of an example, each with what its service gives it: secrets as variables (GitHub) or as paths of files (GitLab)."""
    described = yaml.safe_load((ROOT / "docs/examples" / name).read_text(encoding="utf-8"))
    if "jobs" in described:
        steps = [step for job in described["jobs"].values() for step in job["steps"] if "run" in step]
        return [(step["run"], {key: SECRETS[re.findall(r"secrets\.(\w+)", text)[0]] for key, text in step.get("env", {}).items()})
                for step in steps]  # fmt: skip
    return [("\n".join([*job["before_script"], *job["script"]]), job["variables"]) for job in described.values()]


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "docs/examples").glob("*.yml")))
def test_an_example_for_ci_runs_up_to_the_server(name: str, tmp_path: Path) -> None:
    home, programs = tmp_path / "home", tmp_path / "bin"
    home.mkdir()
    programs.mkdir()
    shutil.copytree(ROOT / "inventories/example", tmp_path / "shop")
    given = {}
    for secret, text in SECRETS.items():  # as files, for GitLab
        (tmp_path / secret).write_text(text)
        given[secret] = str(tmp_path / secret)
    for program in NOTED:
        (programs / program).write_text(f'#!/bin/sh\necho {program} "$@" >>{tmp_path}/noted\n')
    (programs / "ansible-playbook").write_text(f'#!/bin/sh\nexec {shutil.which("ansible-playbook")} "$@" --syntax-check\n')
    for path in programs.iterdir():
        path.chmod(0o755)
    said = ""
    for script, environment in jobs(name):
        expanded = {key: re.sub(r"\$(\w+)", lambda found: given[found[1]], text) for key, text in environment.items()}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, **TAG, **given, **expanded, "HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}",
                 "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "ANSIBLE_NOCOLOR": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        said += done.stdout + done.stderr
    assert said.count("playbook: ") == 2  # the plan, and the release
    assert "CANARY" not in said
    assert {line.split()[0] for line in (tmp_path / "noted").read_text().splitlines()} >= {"pip", "ansible-galaxy"}
    written = [path for path in home.rglob("*") if path.is_file() and "CANARY" in path.read_text()]
    private = written if name == "github-deploy.yml" else [tmp_path / "SSH_PRIVATE_KEY"]
    assert len(private) == len(written or private) and private
    assert not [path for path in private if path.stat().st_mode & 0o077]


@pytest.mark.parametrize("block", list(documents.scripts(ROOT)), ids=str)
def test_commands_of_the_examples_for_ci_are_such_that_exist(block: documents.Block) -> None:
    known = [words for words in documents.commands(block.lines) if words[0] in ("ansible-playbook", "ansible-galaxy", "pip")]
    assert len(known) >= 4
    assert not [problem for words in known for problem in command_problems(words)]


def test_the_architecture_answers_where_the_code_is() -> None:
    """Ten questions at least, each with a path; that the paths are there, another test says."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| … ")]
    assert len(rows) >= 10
    assert not [
        question for question, answer in rows if not any(documents.PATH.match(span) for span in documents.SPAN.findall(answer))
    ]


def test_the_readme_in_japanese_follows_the_other() -> None:
    """The same commands, in the same order, and the same pages."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ja.md")]
    orders_of = [
        [words for block in documents.parts("", text)[1] if block.info == "sh" for words in documents.commands(block.lines)]
        for text in texts
    ]
    pages = [
        {target for target in documents.LINK.findall(text) if "README" not in target and not target.startswith("#")}
        for text in texts
    ]
    assert orders_of[0] == orders_of[1]
    assert pages[0] == pages[1]
