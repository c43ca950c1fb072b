# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What would stop the role `certbot` on a host. Pure: facts and variables in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import certificates


def problems(facts: Mapping[str, Any]) -> list[str]:
    """Judge the certificates that the role is to request, or those of one's own that it is to install.

    :param facts: ``argument_errors`` and ``cast_problems``, which Ansible and the lookup of that name found; the role's ``certificates``,
        ``enabled``, ``email``, ``directory`` (of the authority), ``eab_kid``, ``eab_hmac_key``, ``receives`` (whether certificates come
        from another host), ``issuer`` and ``issuer_address``, ``introduced`` (whether the issuer is part of the run, or was once);
        without an authority also ``own_certificates`` and ``own_keys``, the results of community.crypto's modules for each item of the
        variable.
    :returns: one sentence for each problem: the variable, what is wrong, what to do.
    """
    wanted, enabled = facts["certificates"], facts["enabled"]
    found = [
        *facts["argument_errors"],
        *facts["cast_problems"],
        *certificates.certificate_problems(
            wanted, enabled, facts["email"], facts["directory"], facts["eab_kid"], facts["eab_hmac_key"]
        ),
    ]
    if facts["receives"] and not facts["issuer_address"]:
        found.append(
            f"certbot_issuer_address: is not set, and certificates come from {facts['issuer']}. Give the address that it is reached by."
        )
    if not facts["introduced"]:
        found.append(
            f"certbot_issuer: {facts['issuer']}, which lets this host fetch certificates, is left out of this run, and has not let it in yet."
            " Run it without --limit, or name it, too."
        )
    if not enabled:
        found += certificates.own_certificate_problems(wanted, _by_name(facts["own_certificates"]), _by_name(facts["own_keys"]))
    return found


def _by_name(results: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The results of a loop over a mapping, by its keys."""
    return {result["item"]["key"]: result for result in results}
