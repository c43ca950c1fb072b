# SPDX-License-Identifier: GPL-3.0-or-later
"""With which options a playbook was started; the rules: module_utils/inventory/test_options.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
LOADED = """
import json, sys
from ansible.plugins.loader import init_plugin_loader, lookup_loader
init_plugin_loader()
lookup_loader.get("kasaneha.deploy.run_options").run([])
print(json.dumps(list(sys.modules)))
"""


def test_all_filters_are_loaded_when_a_playbook_first_asks():
    """In an interpreter of its own, since tests of filters load them as well."""
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    files = [file.stem for file in (ROOT / "plugins/filter").glob("*.py")]
    assert files and [name for name in files if f"ansible_collections.kasaneha.deploy.plugins.filter.{name}" not in loaded] == []
