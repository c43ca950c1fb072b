# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of sets."""

from __future__ import annotations

import time
from pathlib import Path

from ansible_collections.kasaneha.deploy.plugins.module_utils import _backup_plan as plan
from ansible_collections.kasaneha.deploy.plugins.module_utils._backup_sets import PARTIAL, Sets


def test_sets_that_are_made_at_once_have_an_order(tmp_path: Path) -> None:
    sets = Sets(plan.Config(instance="shop", root=str(tmp_path / "sets"), container="c", database="d", user="u"))
    sets.ready()
    names = []
    for _attempt in range(2):
        partial = sets.partial()
        names.append(partial.name[len(PARTIAL) :])
        partial.rename(sets.root / names[-1])
    assert plan.id_time(names[0]) < plan.id_time(names[1]) <= time.time()
    # A set of the future, made before somebody set the clock right, holds up nobody.
    (sets.root / plan.set_id(time.time() + 3600, "abcdef")).mkdir()
    began = time.monotonic()
    sets.partial()
    assert time.monotonic() - began < 0.5
