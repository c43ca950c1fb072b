# SPDX-License-Identifier: GPL-3.0-or-later
"""Mitogen's strategy, which looks for the installed collections and reads the imports of a file once per run.

As it comes, it looks for collections in each task, and for imports in each file anew with each module that needs the file.
"""

from __future__ import annotations

import functools
import gc

import ansible.collections.list
import ansible_mitogen.module_finder
from ansible.plugins.loader import filter_loader
from ansible_mitogen.plugins.strategy.mitogen_linear import StrategyModule

__all__ = ["StrategyModule"]

gc.disable()  # a run ends before its garbage matters, and each task is a fork that would look through all there is
collections = tuple(ansible.collections.list.list_collection_dirs())
ansible.collections.list.list_collection_dirs = lambda: collections
ansible_mitogen.module_finder.compile = functools.cache(compile)
# As plugins/lookup/run_options.py does for playbooks that ask it: what is loaded here no task loads again.
filter_loader.get("kasaneha.deploy.wired")
