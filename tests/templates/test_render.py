# SPDX-License-Identifier: GPL-3.0-or-later
"""The renderer: layers of variables, includes, this collection's filters, and errors where Ansible has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleError
from render import render


@pytest.fixture
def toy_role(tmp_path: Path) -> Path:
    files = {
        "defaults/main.yml": "toy_port: 80\ntoy_url: 'http://{{ toy_host }}:{{ toy_port }}'\n",
        "vars/main.yml": "_toy_ports: \"{{ [toy_port, toy_port + 1] | join(',') }}\"\n",
        "templates/toy.j2": "{% if toy_port %}\n{% include 'part.j2' %}\n{% endif %}ports={{ _toy_ports }}\n",
        "templates/part.j2": "url={{ toy_url }}\n\n",
        "templates/filter.j2": "secrets={{ {} | kasaneha.deploy.service_secrets }}\n",
    }
    for name, content in files.items():
        path = tmp_path / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "toy"


def test_defaults_vars_and_scenario_are_templates(toy_role: Path) -> None:
    assert (
        render(toy_role, "toy.j2", {"toy_host": "{{ inventory_hostname }}.example"})
        == "url=http://server.example:80\nports=80,81\n"
    )


def test_a_scenario_wins_over_the_defaults(toy_role: Path) -> None:
    assert render(toy_role, "toy.j2", {"toy_host": "a", "toy_port": 8080}) == "url=http://a:8080\nports=8080,8081\n"


def test_an_undefined_variable_is_an_error(toy_role: Path) -> None:
    with pytest.raises(AnsibleError, match="'toy_host' is undefined"):
        render(toy_role, "toy.j2")


def test_filters_of_this_collection_work_by_their_full_name(toy_role: Path) -> None:
    assert render(toy_role, "filter.j2") == "secrets=[]\n"


def test_an_unknown_filter_is_an_error(toy_role: Path) -> None:
    (toy_role / "templates" / "filter.j2").write_text("{{ 1 | kasaneha.deploy.no_such_filter }}")
    with pytest.raises(AnsibleError, match="no_such_filter"):
        render(toy_role, "filter.j2")
