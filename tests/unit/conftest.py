# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes ``ansible_collections.kasaneha.deploy`` importable, from the checkout and from an extracted tarball."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.utils.collection_loader import AnsibleCollectionConfig
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = Path(__file__).absolute().parents[2]
# …/ansible_collections/kasaneha/deploy is found from the folder above; a checkout brings that folder itself.
IN_PLACE = ROOT.parts[-3:] == ("ansible_collections", "kasaneha", "deploy")

if AnsibleCollectionConfig.collection_finder is None:  # tests/conftest.py and ansible-test bring their own
    _AnsibleCollectionFinder(paths=[str(ROOT.parents[2] if IN_PLACE else ROOT / "collections")])._install()

# What tests of the same folder share is imported by its name; ansible-test does not put the folder of a test on the path.
sys.path += [str(Path(__file__).parent / "plugins/module_utils" / folder) for folder in ("inventory", "release")]
