# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of a secret, from the inventory to the variable of a process: byte for byte, whatever stands in it."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import trust_as_template
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import secrets as release_secrets
from render import render
from role import engine, template

# What images have as /bin/sh, as far as it is here: of Debian, of Red Hat, of Alpine, and others.
NAMES = ["sh", "dash", "bash", "bash --posix", "busybox sh", "mksh", "ksh93"]
SHELLS = {name: [path, *name.split()[1:]] for name in NAMES if (path := shutil.which(name.split()[0]))}
DICE = random.Random(19)
PEM = (
    "-----BEGIN PRIVATE KEY-----\n" + "".join(f"{DICE.randbytes(32).hex()}\n" for _ in range(28)) + "-----END PRIVATE KEY-----\n"
)
CONTENTS: dict[str, bytes] = {
    "plain": b"3f9a7c1e5b8d2046af13",
    "empty": b"",
    "every byte": bytes(range(1, 256)),
    "every byte backwards": bytes(range(255, 0, -1)),
    "every control character and UTF-8": bytes([*range(1, 32), 127]) + "日本 🌊 ä".encode(),
    "line breaks at the end": b"a\n\n\n",
    "one line break": b"\n",
    "lines of Windows": b"a\r\nb\r\n",
    "blanks around": b" \t a \t ",
    "PEM": PEM.encode(),
    "JSON": b'{\n  "key": "a\\nb",\n  "n": [1, 2]\n}\n',
    "4 KB": DICE.randbytes(4096).replace(b"\0", b"\1"),
    "100 KB": b"x" * 100_000,
    "for a shell": b"$HOME ${HOME} $(id) `id` 'a' \"b\" \\c \\\\ * ? [a] ~ & | ; # ! < > %s %% -n \\",
    "for a template": b"{{ a }} {% b %} {# c #} }} %} #}",
    "the mark at the end": b"a.",
    "an option": b"-e",
}


def wrapper(folder: Path) -> list[str]:
    """The script, reading its files in this folder."""
    script = folder / "with-secrets"
    script.write_text(render("app", "with-secrets.sh.j2").replace("/run/secrets", str(folder)))
    return [str(script)]


def variables(shell: list[str], folder: Path, secrets: str, locale: str = "C", **environment: str) -> dict[bytes, bytes]:
    """What a process finds in its environment behind the wrapper."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": locale, "DEPLOY_SECRETS": secrets, **environment}
    done = subprocess.run([*shell, *wrapper(folder), "env", "-0"], env=environment, capture_output=True, check=True)
    pairs = (entry.partition(b"=") for entry in done.stdout.split(b"\0") if entry)
    return {name: value for name, _equals, value in pairs}


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
def test_a_variable_is_its_file_byte_for_byte(tmp_path: Path, shell: list[str], locale: str) -> None:
    names = {f"SECRET_{number}": content for number, content in enumerate(CONTENTS.values())}
    for name, content in names.items():
        (tmp_path / name.lower()).write_bytes(content)
    found = variables(shell, tmp_path, " ".join(f"{name}={name.lower()}" for name in names), locale)
    different = [
        case for case, (name, content) in zip(CONTENTS, names.items(), strict=True) if found.get(name.encode()) != content
    ]
    assert different == []


@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
def test_a_variable_may_end_in_any_byte(tmp_path: Path, shell: list[str]) -> None:
    """A shell that takes the mark for a part of the character before it would lose that."""
    names = {f"SECRET_{number}": b"a" + bytes([number]) for number in range(1, 256)}
    for name, content in names.items():
        (tmp_path / name.lower()).write_bytes(content)
    found = variables(shell, tmp_path, " ".join(f"{name}={name.lower()}" for name in names), "C.UTF-8")
    assert [name for name, content in names.items() if found[name.encode()] != content] == []


def test_nothing_else_reaches_the_process(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a secret")
    found = variables(SHELLS["sh"], tmp_path, "value=key pair=key API_KEY=key", OTHER="kept")
    added = {name: found.pop(name.encode()) for name in ("value", "pair", "API_KEY")}
    assert set(added.values()) == {b"a secret"}  # whatever they are called
    assert {name.decode() for name in found} - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "LC_ALL", "OTHER"}


@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
def test_a_program_without_its_secret_does_not_start(tmp_path: Path, shell: list[str]) -> None:
    environment = {"PATH": "/usr/bin:/bin", "DEPLOY_SECRETS": "API_KEY=nothing"}
    command = [*shell, *wrapper(tmp_path), "echo", "it runs"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and done.stdout == "" and "nothing" in done.stderr


def test_arguments_arrive_unchanged(tmp_path: Path) -> None:
    words = ["two words", "", "*", "$HOME", "a\nb"]
    command = [*SHELLS["sh"], *wrapper(tmp_path), "sh", "-c", 'printf "<%s>" "$@"', "sh", *words]
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", "DEPLOY_SECRETS": ""}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "".join(f"<{word}>" for word in words)


# --- from the inventory -----------------------------------------------------------------------------------


def loaded(text: str) -> dict[str, Any]:
    """Variables as Ansible reads them from a file of an inventory."""
    found: dict[str, Any] = DataLoader().load(trust_as_template(text))
    return found


def quoted(text: str) -> str:
    """A text in quotes as YAML reads them."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\x7f")


SERVICES = {"app_services": {"backend": {"image": "b", "secrets": {"A": "a"}}}}
TEXTS = {
    case: content.decode() for case, content in CONTENTS.items() if content.decode(errors="ignore").encode() == content != b""
}
LOOKUP = "lookup('kasaneha.deploy.secret_problems', 'app_secrets', strict=false)"


@pytest.mark.parametrize("case", TEXTS)
@pytest.mark.parametrize(
    "through", ["a: !unsafe VALUE", "a: '{{ vault_a }}'\nvault_a: !unsafe VALUE"], ids=["itself", "from the vault"]
)
def test_an_unsafe_value_reaches_its_file_byte_for_byte(case: str, through: str) -> None:
    value, vault = (through.replace("VALUE", quoted(TEXTS[case])).splitlines() + [""])[:2]
    templar = engine("app", **loaded(f"app_secrets: {{{value}}}\n{vault}"), **SERVICES)
    files = template(templar, "{{ _app_secret_files }}")
    assert files == {"backend": {"a": TEXTS[case]}}
    wanted = release_secrets.desired(files, {"backend": "1"}, True)
    assert wanted["backend/a"].content == CONTENTS[case]
    assert [problem for problem in template(templar, f"{{{{ {LOOKUP} }}}}") if case != "one line break"] == []


@pytest.mark.parametrize("case", [case for case in TEXTS if case != "for a template"])
def test_only_a_template_needs_unsafe(case: str) -> None:
    templar = engine("app", **loaded(f"app_secrets: {{a: {quoted(TEXTS[case])}}}"), **SERVICES)
    assert template(templar, "{{ _app_secret_files }}") == {"backend": {"a": TEXTS[case]}}
    assert [problem for problem in template(templar, f"{{{{ {LOOKUP} }}}}") if case != "one line break"] == []


@pytest.mark.parametrize(
    ("text", "becomes", "said"),
    [
        ("x{{7}}y", "x7y", "it would arrive changed"),
        ("x{# c #}y", "xy", "it would arrive changed"),
        ("x{% if 1 %}y{% endif %}", "xy", "it would arrive changed"),
        ("{{7}}", 7, "it would arrive changed"),
        ("x{{ q }}", None, "it would arrive changed"),  # a function, and its address
        ("x{{ 'a' | b64encode }}", "xYQ==", "it would arrive changed"),
        ("x{{ canary }}", "?", "cannot be evaluated"),
        ("{{ canary.canary }}", "?", "cannot be evaluated"),
        ("x{{ 1 | canary }}", "?", "cannot be evaluated"),
        ("x{#s", "?", "it is none"),
        ("x{{}}", "?", "it is none"),
        ("x{%", "?", "it is none"),
        # These are meant.
        ("{{ app_name }}", "kasaneha", ""),
        ("{{ canary | default('3f9a7c') }}", "3f9a7c", ""),
        ("{{ lookup('ansible.builtin.env', 'NOTHING', default='3f9a7c') }}", "3f9a7c", ""),
        ("{{ query('ansible.builtin.env', 'NOTHING', default='3f9a7c') | first }}", "3f9a7c", ""),
        ("x{{ '{{' }}y", "x{{y", ""),
        ("x{% raw %}{{ y }}{% endraw %}", "x{{ y }}", ""),
        ("{% raw %}3f9a7c{% endraw %}", "3f9a7c", ""),
        ("{{ app_name | kasaneha.deploy.bracketed }}", "kasaneha", ""),  # a filter of a collection
        ("{% for a in [app_name] %}{{ a }}{% endfor %}", "kasaneha", ""),
    ],
)
def test_a_secret_that_would_be_taken_for_a_template_is_refused(text: str, becomes: Any, said: str) -> None:
    for variables, where in (
        ({"app_secrets": {"a": text}}, "app_secrets.a"),
        ({"app_secrets": {"a": "{{ vault_a | default('') }}"}, "vault_a": text}, "vault_a"),
        ({"app_secrets": "{{ kasaneha_secrets | combine({}) }}", "kasaneha_secrets": {"a": text}}, "kasaneha_secrets.a"),
    ):
        templar = engine("app", **loaded(json.dumps(variables)))
        found = template(templar, f"{{{{ {LOOKUP} }}}}")
        if said:
            problem, *_rest = found  # that it is empty, or no string
            assert problem.startswith(f"{where}: ") and said in problem and f"{where.rpartition('.')[2]}: !unsafe '…'" in problem
            assert "canary" not in " ".join(found)
        else:
            assert found == []
        if becomes is not None:  # this is what Ansible does, and why it is refused
            assert template(templar, "{{ app_secrets.a }}") in (
                becomes,
                "" if becomes == "?" and "vault_a" in variables else becomes,
            )


def test_the_inventories_are_sound() -> None:
    assert template(engine("app"), f"{{{{ {LOOKUP} }}}}") == []
