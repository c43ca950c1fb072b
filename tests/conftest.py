# SPDX-License-Identifier: GPL-3.0-or-later
"""Python imports this collection, and the ones it needs, the way Ansible does."""

from __future__ import annotations

from pathlib import Path

from ansible.plugins.loader import init_plugin_loader

init_plugin_loader([str(Path(__file__).parent.parent / "collections")])
