# SPDX-License-Identifier: GPL-3.0-or-later
"""A scenario that starts from a provisioned server changes nothing of it but what its own inventory says otherwise."""

from __future__ import annotations

import os
import re
import subprocess

SCENARIO = os.environ.get("MOLECULE_SCENARIO_NAME", "release")
# What the converge of each changes, as regular expressions of tasks: what its inventory says otherwise.
ROLE = "kasaneha[.]deploy[.]"
DIFFERS = {
    "release": (),
    "interrupted": (),
    "verify": (),
    "variants": (),
    "firewall": (f"{ROLE}docker : Configure Docker's daemon",),
    "backup": (f"{ROLE}backup : Write the configuration",),
    # They watch a second host and take its journal: databases and containers stay as they are.
    "logging": (
        f"{ROLE}firewall : .*",
        f"{ROLE}logging : .*",
        f"{ROLE}monitoring : .*",
        f"{ROLE}nginx : (Write the configuration|Reload nginx)",
    ),
    "operations": (
        f"{ROLE}firewall : .*",
        f"{ROLE}logging : .*",
        f"{ROLE}monitoring : .*",
        f"{ROLE}nginx : (Write the configuration|Reload nginx)",
    ),
}


def test_converge_changes_what_the_inventory_says_otherwise(converged):
    started_from = subprocess.run(
        ["docker", "inspect", "--format", "{{.Config.Image}}", f"kasaneha-lab-molecule-{SCENARIO}"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    changed = {line.removeprefix("ready: ").partition(" (")[0] for line in converged if line.startswith("ready: ")}
    if started_from.startswith("kasaneha-lab/ready:"):
        patterns = DIFFERS[SCENARIO]
        assert not [task for task in changed if not any(re.fullmatch(pattern, task) for pattern in patterns)], converged
        assert all(any(re.fullmatch(pattern, task) for task in changed) for pattern in patterns), converged
    else:  # run by itself, on a bare server: all of it was to be done
        assert len(converged) > 30
