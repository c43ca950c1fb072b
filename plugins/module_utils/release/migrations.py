# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Whether the migrations of a release run, and what the record says of them afterwards. Pure functions.

What an image is decides, not its name: a tag can be pushed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def migrates(plan: Mapping[str, Any], images: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the migrations are to run, now that the images are known: a name may stand for another image than it did.

    :param images: service -> image of the release that is about to start.
    """
    served = plan["record"].get("services", {})
    moved = any(image["id"] != served.get(name, {}).get("id") for name, image in images.items())
    return bool(plan["migrate"] or (plan["action"] == "reconfigure" and not plan["back"] and moved))


def schema_after(plan: Mapping[str, Any], images: Mapping[str, Mapping[str, Any]], declared: str) -> str:
    """What the record says of the release's migrations once it serves: ``none``, ``compatible`` or ``needs_restore``.

    :param images: as for `migrates`.
    :param declared: what the inventory says of the migrations that run now (``app_migrations.rollback``).
    """
    before = str(plan["migrations"])
    added = plan["action"] == "reconfigure" and before == "needs_restore"  # under the same name; the first ones stay done
    return declared if migrates(plan, images) and not added else before
