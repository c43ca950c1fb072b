# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Certificates of an edge: what is wanted, what is there, what to say. Pure functions: values in, sentences out.

What is in a certificate or a key is said in the words of community.crypto's modules. Without an end (``not_after``) or fingerprints it
could not be read: a task that may fail says of itself that it did not.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

NAME = re.compile("[a-z0-9][a-z0-9_-]*")
HOST_NAME = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# A timer renews when a third of the life time is left; with less than a quarter it has failed more than once.
OVERDUE = 0.25
LETS_ENCRYPT = "letsencrypt.org"
CERTIFICATE_TIME = "%Y%m%d%H%M%SZ"
PLACEHOLDER = "placeholder-"  # begins the name of each directory with a placeholder


class Place(NamedTuple):
    """What is where a certificate is to be."""

    link: str = ""  # what it leads to, if it is a link
    directory: bool = False  # it is one itself
    whole: bool = False  # certificate and key are there


def certificate_problems(
    certificates: Any, enabled: bool, email: Any, directory: Any, eab_kid: Any, eab_hmac_key: Any
) -> list[str]:
    """Judge ``certbot_certificates`` and what an authority wants to know.

    :param enabled: an authority is asked; otherwise names may be of any kind.
    """
    problems: list[str] = []
    if not isinstance(certificates, (list, tuple)):
        return problems  # the argument specification reports it
    seen: set[str] = set()
    for index, certificate in enumerate(certificates):
        if not isinstance(certificate, Mapping) or not certificate.get("name") or not certificate.get("names"):
            problems.append(f"certbot_certificates[{index}]: needs name and names, e.g. {{name: main, names: [a.example]}}.")
            continue
        where = f"certbot_certificates[{certificate['name']}]"
        if not NAME.fullmatch(str(certificate["name"])):
            problems.append(f"{where}.name: use a-z, 0-9, dashes and underscores.")
        if certificate["name"] in seen:
            problems.append(f"{where}: stands there twice.")
        seen.add(certificate["name"])
        names = certificate["names"]
        if isinstance(names, str):
            problems.append(f"{where}.names: is not a list. Write [{names}].")
            continue
        problems += [f"{where}.names: {name} stands there twice." for name in sorted(set(names)) if list(names).count(name) > 1]
        problems += [problem for name in names for problem in _name_problems(where, str(name)) if enabled]
    if not enabled or not certificates:
        return problems
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", str(email)):
        problems.append(
            f"certbot_email: {email!r} is not an e-mail address. The authority writes to it when something is wrong." if email
            else "certbot_email: is not set. The authority writes to it when something is wrong."
        )  # fmt: skip
    if not re.fullmatch(r"https://\S+", str(directory)):
        problems.append(f"certbot_directory: {directory!r} is not the HTTPS address of an ACME directory.")
    if bool(eab_kid) != bool(eab_hmac_key):
        problems.append("certbot_eab_kid and certbot_eab_hmac_key: one is set without the other. The authority gives both.")
    return problems


def _name_problems(where: str, name: str) -> list[str]:
    if name.startswith("*."):
        return [
            f"{where}.names: {name} is a wildcard, which is not proven by a web page. List the names, or use certbot_enabled: false."
        ]
    if not HOST_NAME.fullmatch(name):
        return [f"{where}.names: {name!r} is not a public host name in lower case; no authority signs it."]
    return []


def covers(names: Iterable[str], wanted: str) -> bool:
    """Whether one of a certificate's names stands for a host name; a wildcard does for one label."""
    return any(name == wanted or (name.startswith("*.") and wanted.partition(".")[2] == name[2:]) for name in names)


def alternative_names(found: Mapping[str, Any]) -> list[str]:
    """The host names in what `x509_certificate_info` returned."""
    return [name[4:] for name in found.get("subject_alt_name") or [] if name.startswith("DNS:")]


def own_certificate_problems(wanted: Any, certificates: Mapping[str, Any], keys: Mapping[str, Any]) -> list[str]:
    """Judge certificates of one's own before they replace anything.

    :param wanted: as ``certbot_certificates``.
    :param certificates: name -> result of `x509_certificate_info`; ``keys`` name -> result of `openssl_privatekey_info`.
    """
    problems: list[str] = []
    for certificate in wanted if isinstance(wanted, (list, tuple)) else []:
        if not isinstance(certificate, Mapping) or not isinstance(certificate.get("names"), (list, tuple)):
            continue  # reported by certificate_problems
        where = f"certbot_own_certificates.{certificate.get('name')}"
        found, key = certificates.get(certificate.get("name", "")), keys.get(certificate.get("name", ""))
        if found is None or key is None:
            problems.append(f"{where}: is not set. Give it fullchain and privkey, the second from the vault.")
            continue
        if not found.get("not_after"):
            problems.append(f"{where}.fullchain: is no certificate in PEM. It begins with -----BEGIN CERTIFICATE-----.")
        if not key.get("public_key_fingerprints"):
            problems.append(f"{where}.privkey: is no private key in PEM without a passphrase.")
        if not found.get("not_after") or not key.get("public_key_fingerprints"):
            continue
        if found.get("public_key_fingerprints") != key.get("public_key_fingerprints"):
            problems.append(
                f"{where}: certificate and key do not match. Look for the key that the certificate was requested with."
            )
        if found.get("expired"):
            problems.append(f"{where}.fullchain: has expired. Renew it where it came from.")
        missing = [name for name in certificate["names"] if not covers(alternative_names(found), str(name))]
        if missing:
            problems.append(
                f"{where}.fullchain: does not cover {', '.join(missing)}. Order one that does, or take the name off the list."
            )
    return problems


def left(found: Mapping[str, Any], now: datetime.datetime) -> float:
    """Share of its life time that a certificate has left, 0 if it has expired."""
    begin, end = (datetime.datetime.strptime(found[key], CERTIFICATE_TIME) for key in ("not_before", "not_after"))
    return max(0.0, (end - now) / (end - begin))


def described(pem: bytes, now: datetime.datetime | None = None) -> dict[str, Any]:
    """What is in the first certificate of a file, as far as it is judged here; nothing if it cannot be read.

    :param now: in UTC; by default, now.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec, rsa
    except ImportError:  # as in check mode on a bare host
        return {}
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.DNSName
        )
    except x509.ExtensionNotFound:
        names = []
    except ValueError:
        return {}
    key = certificate.public_key()
    # Since version 42 the ones without a zone are deprecated.
    begin, end = (
        (getattr(certificate, f"{name}_utc", None) or getattr(certificate, name)).replace(tzinfo=None)
        for name in ("not_valid_before", "not_valid_after")
    )
    return {
        "subject_alt_name": [f"DNS:{name}" for name in names],
        "not_before": begin.strftime(CERTIFICATE_TIME),
        "not_after": end.strftime(CERTIFICATE_TIME),
        "expired": end < (now or datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)),
        "public_key_type": "ECC"
        if isinstance(key, ec.EllipticCurvePublicKey)
        else "RSA"
        if isinstance(key, rsa.RSAPublicKey)
        else "",
        "issuer": certificate.issuer.rfc4514_string(),
        "subject": certificate.subject.rfc4514_string(),
    }


def issue_reason(
    names: Iterable[str],
    found: Mapping[str, Any],
    renewal: str,
    directory: str,
    key_type: str,
    now: datetime.datetime | None = None,
) -> str:
    """Why an authority must be asked for a certificate, empty if it need not.

    :param found: what certbot has, as :func:`described`.
    :param renewal: certbot's own file on how it got it.
    :param now: in UTC; by default, now.
    """
    if not found.get("not_after"):
        return "there is none yet"
    source = re.search(r"^server\s*=\s*(\S+)", renewal, re.MULTILINE)
    if not source:
        return "certbot does not know how to renew it"
    wanted, there = set(names), set(alternative_names(found))
    if wanted != there:
        changes = [*(f"+{name}" for name in sorted(wanted - there)), *(f"-{name}" for name in sorted(there - wanted))]
        return f"other names ({' '.join(changes)})"
    if source[1] != directory:
        return f"it is from {source[1]}"
    if {"ecdsa": "ECC", "rsa": "RSA"}[key_type] != found.get("public_key_type"):
        return f"its key is not {key_type}"
    now = now or datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    share = left(found, now)
    if share < OVERDUE:
        return f"{share:.0%} of its time is left, and the timer has not renewed it"
    return ""


def certbot_error(output: str, directory: str) -> str:
    """What went wrong, in one sentence, from what certbot printed."""
    if re.search(
        r"ConnectionError|Connection refused|NewConnectionError|ConnectTimeout|timed out|Max retries exceeded", output
    ) and ("Detail:" not in output):
        return f"the authority ({directory}) did not answer. Nothing was changed; run again later."
    details = re.findall(r"^\s*(?:Detail|Hint): (.*)$", output, re.MULTILINE)
    if not details:
        noise = re.compile(r"^(Saving debug log|Ask for help|See the logfile|- - -|\s*$)")
        details = [line.strip() for line in output.splitlines() if not noise.match(line)][-1:]
    text = "; ".join(dict.fromkeys(details)) or "certbot gave no reason"
    if "rateLimited" in output or "too many" in output:
        text += " (a limit of the authority: certbot_staging: true rehearses without it)"
    return f"the authority refused: {text}. /var/log/letsencrypt/letsencrypt.log on the server has the rest."


def served_problems(
    certificates: Iterable[Mapping[str, Any]], served: Iterable[Mapping[str, Any]], failures: Iterable[str], own: bool = False
) -> list[str]:
    """What is wrong with the certificates that nginx has now, with what failed on the way.

    :param served: each as :func:`described`, in the order of ``certificates``.
    :param failures: sentences that were collected.
    :param own: they are of one's own, and may be signed by themselves.
    """
    problems = list(failures)
    for certificate, found in zip(certificates, served):
        name = certificate["name"]
        if not found.get("not_after"):
            problems.append(f"{name}: there is no certificate to serve.")
            continue
        missing = [wanted for wanted in certificate["names"] if not covers(alternative_names(found), wanted)]
        if found.get("issuer") == found.get("subject") and not own:
            problems.append(
                f"{name}: the placeholder is served, which browsers warn of. Solve what stands above, then run again."
            )
        elif missing:
            problems.append(f"{name}: what is served does not cover {', '.join(missing)}.")
        if found.get("expired"):
            problems.append(f"{name}: what is served has expired.")
        elif problems:
            end = datetime.datetime.strptime(found["not_after"], CERTIFICATE_TIME)
            problems.append(f"{name}: what is served is valid until {end:%Y-%m-%d %H:%M} UTC.")
    return problems


def only_names_wait(
    certificates: Iterable[Mapping[str, Any]],
    served: Iterable[Mapping[str, Any]],
    failures: Iterable[str],
    waiting: Iterable[str],
) -> bool:
    """Whether nothing is wrong but that names of a new site do not lead here yet, so that it is served with its placeholder.

    :param served: each as :func:`described`, in the order of ``certificates``.
    :param failures: sentences that were collected; ``waiting``: those of them that are about where names lead.
    """
    failures, waiting = list(failures), list(waiting)
    if not waiting or failures != waiting:
        return False
    for certificate, found in zip(certificates, served):
        if any(sentence.startswith(f"{name}: ") for name in certificate["names"] for sentence in waiting):
            if not found.get("not_after") or found.get("issuer") != found.get("subject"):
                return False
        elif served_problems([certificate], [found], []):
            return False
    return True


def certificate_status(served: Iterable[Mapping[str, Any]], now: datetime.datetime | None = None) -> list[str]:
    """One line for each certificate: names, issuer, end, time left.

    :param served: results of a loop over `x509_certificate_info`; ``item`` is the certificate's name.
    :param now: in UTC; by default, now.
    """
    now = now or datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    lines = []
    for found in served:
        if not found.get("not_after"):
            lines.append(f"{found.get('item')}: MISSING")
            continue
        end = datetime.datetime.strptime(found["not_after"], CERTIFICATE_TIME)
        issuer = found.get("issuer") or {}
        source = (
            "signed by itself"
            if issuer == found.get("subject")
            else f"from {issuer.get('organizationName') or issuer.get('commonName')}"
        )
        warning = " EXPIRED" if end <= now else " RENEWAL IS LATE" if left(found, now) < OVERDUE else ""
        names = ", ".join(alternative_names(found))
        lines.append(
            f"{found.get('item')}: {names}; {source}; until {end:%Y-%m-%d %H:%M} UTC, {max(0, (end - now).days)} days left{warning}"
        )
    return lines


def placeholders(places: Mapping[str, Place], current: str, ends: bool) -> dict[str, Any]:
    """Where a placeholder is needed, so that nginx starts with its final configuration.

    :param places: name of a certificate -> what is there.
    :param current: name of the placeholder for the names that the sites have now.
    :param ends: whether that one ends soon.
    """
    missing = [
        name
        for name, place in places.items()
        if not place.whole or (place.link.startswith(PLACEHOLDER) and place.link != current)
    ]
    shown = [name for name, place in places.items() if name in missing or place.link == current]
    return {
        "missing": missing,
        "placeholders": shown,
        "aside": [name for name in missing if places[name].directory],
        "stale": bool(shown) and ends,
    }
