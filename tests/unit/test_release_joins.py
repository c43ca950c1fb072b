# SPDX-License-Identifier: GPL-3.0-or-later
"""An app host that joins: roles/release, real but for the two roles that it calls, which note in files what they would do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import journal
from test_release_transaction import FAULT, FAULTS, Fleet

FAULTS["fails"] = [{"ansible.builtin.fail": {"msg": "The gate said no."}}]
ORDER = {"ansible.builtin.shell": "echo '{{ inventory_hostname }} {{ __did }}' >> {{ order }}"}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """A second app host that has no record yet beside one that serves v1."""
    fleet = Fleet(tmp_path)
    inventory = yaml.safe_load((tmp_path / "hosts.yml").read_text())["all"]
    (tmp_path / "app2").mkdir()
    inventory["hosts"]["app2"] = {"app_name": str(tmp_path / "app2"), "note": str(tmp_path / "app2/did")}
    for host, address in (("app1", "10.0.0.1"), ("app2", "10.0.0.2")):
        inventory["hosts"][host]["app_bind_address"] = address
    inventory["children"]["app"]["hosts"]["app2"] = {}
    inventory["vars"].update(order=str(tmp_path / "order"), app_release="v1")
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": inventory}))
    for role, step, what in (
        ("app", "service", "service"),
        ("app", "gate", "gate"),
        ("nginx", "upstreams", "told without {{ nginx_without | join }}"),
    ):
        tasks = [{**ORDER, "vars": {"__did": what}}, {**FAULT, "vars": {"__did": what}}]
        (fleet.collection / f"roles/{role}/tasks/{step}.yml").write_text(yaml.safe_dump(tasks))
    return fleet


def order(fleet: Fleet) -> list[str]:
    """What was done, edges sorted, since they work side by side."""
    lines = [line.strip() for line in (fleet.folder / "order").read_text().splitlines()]
    return [line for line in lines if not line.startswith("edge2")]


def test_edges_are_told_of_a_host_when_it_has_proven_itself(fleet: Fleet) -> None:
    said = fleet.release()
    assert fleet.code == 0, said[-3000:]
    assert order(fleet) == ["edge1 told without 10.0.0.2", "app2 service", "app2 gate", "edge1 told without"]
    assert (journal.Releases(fleet.folder / "app2").record() or {})["release"] == "v1"


def test_a_host_that_does_not_prove_itself_is_told_to_nobody(fleet: Fleet) -> None:
    said = fleet.release("fails", app2="gate")
    assert fleet.code != 0 and "Not every host shows what the record says. v1 serves as before." in said, said[-3000:]
    assert order(fleet) == ["edge1 told without 10.0.0.2", "app2 service", "app2 gate"]
    assert not journal.Releases(fleet.folder / "app2").record()  # a copy would say that it has
    assert fleet.shown() == ("v1", ["blue", "blue"])
