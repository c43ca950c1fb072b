# SPDX-License-Identifier: GPL-3.0-or-later
"""Where promtool and amtool are: lab/setup.sh puts those of Debian beside the Python environment; others will do."""

from __future__ import annotations

import shutil
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / ".cache/prometheus/usr/bin"
PROMTOOL = shutil.which("promtool", path=str(FOLDER)) or shutil.which("promtool")
AMTOOL = shutil.which("amtool", path=str(FOLDER)) or shutil.which("amtool")
