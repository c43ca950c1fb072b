# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Which configuration nginx has loaded."""

from __future__ import annotations

import re


def configuration_hash(text: str) -> str:
    """The hash that a configuration says of itself, which its workers say as well; empty if it says none."""
    found = re.search(r'return 200 "([0-9a-f]{64})', text)
    return found[1] if found else ""
