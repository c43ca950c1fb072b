# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that would be taken for templates: found where they stand, and never repeated; ``tests/templates/test_secrets.py`` has Ansible's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import templates

CHANGED, NONE, UNDEFINED = "and it would arrive changed.", "and it is none.", "cannot be evaluated"


class Unsafe(str):
    """A text that is never read as a template."""


def read(text: Any) -> frozenset[str] | None:
    """What a text refers to, for texts as simple as these."""
    if not isinstance(text, str) or isinstance(text, Unsafe) or not templates.DELIMITER.search(text):
        return None
    if any(text.count(begin) != text.count(end) for begin, end in (("{{", "}}"), ("{%", "%}"), ("{#", "#}"))):
        raise ValueError(text)
    return frozenset(re.findall(r"{{ ([a-z]\w*)", text))


def value(variables: dict[str, Any]) -> Callable[[Any], Any]:
    """What becomes of texts as simple as these."""

    def of(raw: Any) -> Any:
        if isinstance(raw, dict):
            return {key: of(item) for key, item in raw.items()}
        if isinstance(raw, list):
            return [of(item) for item in raw]
        if read(raw) is None:
            return raw
        text = re.sub("{#.*?#}", "", raw)
        text = re.sub("{% raw %}(.*?){% endraw %}", lambda found: found[1].replace("{", "\0"), text)
        whole = re.fullmatch(r"{{ ([a-z]\w*)( \| default)? }}", text)
        if whole:
            return name(whole)
        return re.sub(
            r"{{ ([a-z]\w*)( \| default)? }}|{{ ?(\d+) ?}}|{{ '(.*?)' }}", lambda found: str(name(found)), text
        ).replace("\0", "{")

    def name(found: re.Match[str]) -> Any:
        if found.lastindex and found.lastindex > 2:
            return found[found.lastindex]
        try:
            return of(variables[found[1]])
        except (KeyError, ValueError) as error:
            if found[2]:
                return ""
            raise ValueError(found[1]) from error

    return of


def problems(app_secrets: Any, **variables: Any) -> list[str]:
    variables = {"app_secrets": app_secrets, **variables}
    return templates.template_problems("app_secrets", variables, read, value(variables))


@pytest.mark.parametrize(
    ("secrets", "variables"),
    [
        ({}, {}),
        ({"a": "3f9a7c", "b": 7, "c": None, "d": ["x"]}, {}),
        ({"a": Unsafe("x{{ y }}{#")}, {}),
        ({"a": "{{ vault_a }}"}, {"vault_a": "3f9a7c"}),
        ({"a": "{{ vault_a }}"}, {"vault_a": Unsafe("x{{ y }}")}),
        ({"a": "{{ vault_a | default }}"}, {}),
        ({"a": "postgres://{{ user }}:{{ vault_a }}@db"}, {"user": "shop", "vault_a": "3f9a7c"}),
        ("{{ all_secrets }}", {"all_secrets": {"a": "{{ vault_a }}"}, "vault_a": "3f9a7c"}),
        ("{{ all_secrets }}", {"all_secrets": {"a": Unsafe("{# c #}")}}),
        ({"a": "x{% raw %}{{ y }}{% endraw %}"}, {}),  # whoever writes this knows
        ({"a": "{% raw %}3f9a7c{% endraw %}"}, {}),
        # A text that a secret is made of may be made as it likes, a secret itself not.
        ({"a": "https://x/?wait={{ seconds }}"}, {"seconds": "{{ 60 }}"}),
        # What is never reached may be what it likes.
        ({"a": "3f9a7c"}, {"other": "x{{ nothing }}{#"}),
        (
            {"a": "{{ group }}"},
            {"group": "x{# of all #}{{ vault_a }}", "vault_a": "3f9a7c"},
        ),  # a comment beside a reference is one
    ],
)
def test_what_arrives_as_it_is_meant_is_passed_over(secrets: Any, variables: dict[str, Any]) -> None:
    assert problems(secrets, **variables) == []


@pytest.mark.parametrize(
    ("secrets", "variables", "said"),
    [
        ({"a": "x{{7}}y"}, {}, {"app_secrets.a": CHANGED}),
        ({"a": "{{7}}"}, {}, {"app_secrets.a": CHANGED}),
        ({"a": "x{# c #}y"}, {}, {"app_secrets.a": CHANGED}),
        ({"a": "{# c #}"}, {}, {"app_secrets.a": CHANGED}),
        ({"a": "{{ vault_a }}"}, {"vault_a": "x{{7}}y"}, {"vault_a": CHANGED}),
        ({"a": "{{ vault_a }}"}, {"vault_a": "{{7}}"}, {"vault_a": CHANGED}),
        ({"a": "{{ vault_a | default }}"}, {"vault_a": "x{# c #}"}, {"vault_a": CHANGED}),
        ({"a": "amqp://x:{{ vault_a }}@mq"}, {"vault_a": "x{{7}}y"}, {"vault_a": CHANGED}),
        ("{{ all_secrets }}", {"all_secrets": {"a": "{{ vault_a }}"}, "vault_a": "x{{7}}"}, {"vault_a": CHANGED}),
        ("{{ all_secrets }}", {"all_secrets": {"a": {"b": ["x{{7}}"]}}}, {"all_secrets.a.b[0]": CHANGED}),
        # The same one by two ways, the loose one first.
        ({"a": "x{{ vault_a }}", "b": "{{ vault_a }}"}, {"vault_a": "{{7}}"}, {"vault_a": CHANGED}),
        ({"a": "x{{ y }}"}, {}, {"app_secrets.a": UNDEFINED}),
        ({"a": "{{ vault_a }}"}, {}, {"app_secrets.a": UNDEFINED}),
        ({"a": "{{ vault_a }}"}, {"vault_a": "x{{ y }}"}, {"vault_a": UNDEFINED}),  # not where it is read, but where it stands
        ({"a": "{{ vault_a | default }}"}, {"vault_a": "x{{"}, {"vault_a": NONE}),  # an empty secret, and this is why
        ({"a": "{{ vault_a }}", "b": "u{{ v }}"}, {"vault_a": "x{{ y }}"}, {"vault_a": UNDEFINED, "app_secrets.b": UNDEFINED}),
        ("{{ all_secrets }}", {}, {"app_secrets": UNDEFINED}),
        ({"a": "x{#s"}, {}, {"app_secrets.a": NONE}),
        ({"a": "{{ vault_a }}"}, {"vault_a": "x{{"}, {"vault_a": NONE}),
    ],
)  # fmt: skip
def test_what_would_not_arrive_is_named_where_it_stands(secrets: Any, variables: dict[str, Any], said: dict[str, str]) -> None:
    found = problems(secrets, **variables)
    assert {
        problem.partition(": ")[0]: sentence
        for problem, sentence in zip(found, said.values(), strict=True)
        if sentence in problem
    } == said
    for problem in found:
        assert "!unsafe" in problem


@pytest.mark.parametrize("loop", [{"vault_a": "{{ vault_a }}"}, {"vault_a": "{{ vault_b }}", "vault_b": "{{ vault_a }}"}])
def test_a_circle_is_walked_once(loop: dict[str, str]) -> None:
    def never(_raw: Any) -> Any:
        raise ValueError("a circle")  # as Ansible says

    found = templates.template_problems("app_secrets", {"app_secrets": {"a": "{{ vault_a }}"}, **loop}, read, never)
    assert len(found) == 1 and UNDEFINED in found[0]


def test_what_cannot_be_evaluated_for_another_reason_is_not_passed_over() -> None:
    def never(_raw: Any) -> Any:
        raise ValueError("a vault without its password")

    (problem,) = templates.template_problems("app_secrets", {"app_secrets": {"a": object()}}, read, never)
    assert problem.startswith("app_secrets: is taken for") and UNDEFINED in problem


def test_where_ansible_keeps_everything_nothing_is_looked_for() -> None:
    everything = {"vars": {"x": "x{{7}}"}, "hostvars": {"web": {"x": "x{{7}}"}}}
    assert problems({"a": "{{ vars }} {{ hostvars }}"}, **everything) == []


@pytest.mark.parametrize("text", ["CANARY{{7}}", "CANARY{{ y }}", "CANARY{#", "{{ canary }}", "{{ CANARY"])
def test_a_secret_is_never_repeated(text: str) -> None:
    for found in (problems({"a": text}), problems({"a": "{{ vault_a }}"}, vault_a=text)):
        assert found and "canary" not in " ".join(found).lower()
