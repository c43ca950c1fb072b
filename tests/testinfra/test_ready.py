# SPDX-License-Identifier: GPL-3.0-or-later
"""A scenario that starts from a provisioned server changes nothing of it but what its own inventory says otherwise."""

from __future__ import annotations

import os
import subprocess

SCENARIO = os.environ.get("MOLECULE_SCENARIO_NAME", "release")
# What the converge of each changes: its inventory asks for another daemon.
DIFFERS = {"release": set(), "firewall": {"kasaneha.deploy.docker : Bring Docker's daemon to its settings"}}


def test_converge_changes_what_the_inventory_says_otherwise(converged):
    started_from = subprocess.run(
        ["docker", "inspect", "--format", "{{.Config.Image}}", f"kasaneha-lab-molecule-{SCENARIO}"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    changed = {line.removeprefix("ready: ").partition(" (")[0] for line in converged}
    if started_from.startswith("kasaneha-lab/ready:"):
        assert changed == DIFFERS[SCENARIO], converged
    else:  # run by itself, on a bare server: all of it was to be done
        assert len(converged) > 50
