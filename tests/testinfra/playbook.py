# SPDX-License-Identifier: GPL-3.0-or-later
"""Run playbooks of the checkout from a test."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
INVENTORY = ROOT / "molecule/default/inventory"


def play(playbook: str, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run a playbook on the server of the scenario `default` with other variables; the inventory's stay as they are."""
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    environment.pop("ANSIBLE_FORCE_COLOR", None)  # molecule sets it, and it would win
    return subprocess.run(
        ["ansible-playbook", playbook, "-i", str(INVENTORY), "-e", json.dumps(variables), *options],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
