# SPDX-License-Identifier: GPL-3.0-or-later
"""Which configuration nginx has loaded."""

from __future__ import annotations

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import loaded

HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f'location = /configuration {{ return 200 "{HASH}\\n"; }}', HASH),
        (f'location = /health {{ return 200 "healthy\\n"; }}\nlocation = /configuration {{ return 200 "{HASH}\\n"; }}', HASH),
        ('location = /configuration { return 200 "0123\\n"; }', ""),  # written by somebody else
        ("", ""),
    ],
)
def test_the_hash_of_a_configuration(text: str, found: str) -> None:
    assert loaded.configuration_hash(text) == found
