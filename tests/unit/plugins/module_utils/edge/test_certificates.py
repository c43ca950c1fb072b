# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of certificates: wanted ones, own ones, those that are there, and why an authority is asked."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import certificates as edge_certificates
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge.certificates import Place
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

DIRECTORY = "https://ca.example/directory"
NOW = datetime.datetime(2026, 11, 25)
GOOD = {
    "subject_alt_name": ["DNS:a.example", "DNS:www.a.example"],
    "not_before": "20261101000000Z",
    "not_after": "20270130000000Z",
    "public_key_type": "ECC",
    "public_key_fingerprints": {"sha256": "aa"},
    "issuer": {"commonName": "ca"},
    "subject": {"commonName": "a.example"},
    "expired": False,
}
KEY = {"public_key_fingerprints": {"sha256": "aa"}}
MAIN = {"name": "main", "names": ["a.example", "www.a.example"]}


def wanted(*certificates: Any, **changes: Any) -> list[str]:
    """What is wrong with the certificates that are wanted."""
    options = {"enabled": True, "email": "x@a.example", "directory": DIRECTORY, "eab_kid": "", "eab_hmac_key": ""}
    return edge_certificates.certificate_problems(list(certificates), **{**options, **changes})


@pytest.mark.parametrize(
    ("certificates", "changes", "expected"),
    [
        ([MAIN], {}, []),
        ([], {"email": ""}, []),  # nothing is wanted
        ([{"name": "main"}], {}, ["certbot_certificates[0]: needs name and names"]),
        (["main"], {}, ["certbot_certificates[0]: needs name and names"]),
        ([{**MAIN, "name": "../x"}], {}, ["certbot_certificates[../x].name: use a-z"]),
        ([MAIN, MAIN], {}, ["certbot_certificates[main]: stands there twice"]),
        ([{**MAIN, "names": "a.example"}], {}, ["names: is not a list. Write [a.example]"]),
        ([{**MAIN, "names": ["a.example", "a.example"]}], {}, ["a.example stands there twice"]),
        ([{**MAIN, "names": ["*.a.example"]}], {}, ["is a wildcard"]),
        ([{**MAIN, "names": ["*.a.example", "localhost"]}], {"enabled": False}, []),
        ([{**MAIN, "names": ["localhost"]}], {}, ["'localhost' is not a public host name"]),
        ([{**MAIN, "names": ["A.example"]}], {}, ["'A.example' is not a public host name"]),
        ([MAIN], {"email": ""}, ["certbot_email: is not set"]),
        ([MAIN], {"email": "", "enabled": False}, []),
        ([MAIN], {"email": "nobody"}, ["certbot_email: 'nobody' is not an e-mail address"]),
        ([MAIN], {"directory": "http://ca"}, ["certbot_directory: 'http://ca' is not the HTTPS address"]),
        ([MAIN], {"eab_kid": "k"}, ["one is set without the other"]),
        ([MAIN], {"eab_hmac_key": "CANARY"}, ["one is set without the other"]),
    ],
)
def test_what_is_wanted(certificates: list[Any], changes: dict[str, Any], expected: list[str]) -> None:
    found = wanted(*certificates, **changes)
    assert len(found) == len(expected), found
    for problem, sentence in zip(found, expected, strict=True):
        assert sentence in problem
    assert "CANARY" not in str(found)


def pem(key: Any, *names: str, issuer: str = "ca", days: int = 90) -> bytes:
    """A certificate, and another one behind it, as in a chain."""
    made = []
    for common, extensions in ((names[0], [x509.SubjectAlternativeName([x509.DNSName(name) for name in names])]), ("ca", [])):
        builder = (
            x509.CertificateBuilder().subject_name(named(common)).issuer_name(named(issuer)).public_key(key.public_key())
            .serial_number(7).not_valid_before(NOW).not_valid_after(NOW + datetime.timedelta(days=days))
        )  # fmt: skip
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        made.append(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return b"".join(made)


def named(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, common)])


def test_what_is_in_a_certificate_is_read_as_it_is_judged() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    found = edge_certificates.described(pem(key, "a.example", "www.a.example"), NOW)
    assert found == {
        "subject_alt_name": ["DNS:a.example", "DNS:www.a.example"], "not_before": "20261125000000Z", "not_after": "20270223000000Z",
        "expired": False, "public_key_type": "ECC", "issuer": "CN=ca", "subject": "CN=a.example",
    }  # fmt: skip
    assert edge_certificates.issue_reason(MAIN["names"], found, RENEWAL, DIRECTORY, "ecdsa", NOW) == ""
    assert edge_certificates.served_problems([MAIN], [found], []) == []
    later = edge_certificates.described(pem(key, "a.example"), NOW + datetime.timedelta(days=91))
    assert later["expired"] and edge_certificates.served_problems([{**MAIN, "names": ["a.example"]}], [later], []) == [
        "main: what is served has expired."
    ]


def test_a_placeholder_is_known_by_its_issuer_and_a_key_by_its_kind() -> None:
    found = edge_certificates.described(pem(rsa.generate_private_key(65537, 2048), "a.example", issuer="a.example"), NOW)
    assert found["issuer"] == found["subject"] and found["public_key_type"] == "RSA"


@pytest.mark.parametrize("content", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_as_none(content: bytes) -> None:
    assert edge_certificates.described(content) == {}


def test_a_variable_of_the_wrong_type_is_reported_by_its_specification() -> None:
    options = {"enabled": True, "email": "", "directory": "", "eab_kid": "", "eab_hmac_key": ""}
    assert edge_certificates.certificate_problems("main", **options) == []


@pytest.mark.parametrize(
    ("names", "name", "covered"),
    [
        (["a.example"], "a.example", True),
        (["*.a.example"], "www.a.example", True),
        (["*.a.example"], "a.example", False),
        (["*.a.example"], "x.www.a.example", False),
        ([], "a.example", False),
    ],
)
def test_a_wildcard_stands_for_one_label(names: list[str], name: str, covered: bool) -> None:
    assert edge_certificates.covers(names, name) is covered


@pytest.mark.parametrize(
    ("certificates", "keys", "expected"),
    [
        ({"main": GOOD}, {"main": KEY}, ""),
        ({}, {}, "main: is not set"),
        ({"main": GOOD}, {}, "main: is not set"),
        ({"main": {"failed": False, "msg": "x"}}, {"main": KEY}, "main.fullchain: is no certificate"),
        ({"main": GOOD}, {"main": {"failed": False}}, "main.privkey: is no private key"),
        ({"main": GOOD}, {"main": {"public_key_fingerprints": {"sha256": "bb"}}}, "do not match"),
        ({"main": {**GOOD, "expired": True}}, {"main": KEY}, "has expired"),
        ({"main": {**GOOD, "subject_alt_name": ["DNS:a.example"]}}, {"main": KEY}, "does not cover www.a.example"),
        ({"main": {**GOOD, "subject_alt_name": None}}, {"main": KEY}, "does not cover a.example, www.a.example"),
    ],
)
def test_certificates_of_ones_own(certificates: dict[str, Any], keys: dict[str, Any], expected: str) -> None:
    found = edge_certificates.own_certificate_problems([MAIN], certificates, keys)
    assert len(found) == (1 if expected else 0)
    assert expected in "".join(found)


RENEWAL = f"[renewalparams]\naccount = 1\nserver = {DIRECTORY}\n"


@pytest.mark.parametrize(
    ("changes", "renewal", "names", "key_type", "reason"),
    [
        ({}, RENEWAL, MAIN["names"], "ecdsa", ""),
        ({}, RENEWAL, ["www.a.example", "a.example"], "ecdsa", ""),  # their order does not matter
        ({"not_after": None}, RENEWAL, MAIN["names"], "ecdsa", "there is none yet"),
        ({}, "", MAIN["names"], "ecdsa", "certbot does not know how to renew it"),
        ({}, RENEWAL, ["a.example", "b.example"], "ecdsa", "other names (+b.example -www.a.example)"),
        ({}, RENEWAL.replace("ca.", "staging."), MAIN["names"], "ecdsa", "it is from https://staging.example/directory"),
        ({}, RENEWAL, MAIN["names"], "rsa", "its key is not rsa"),
        ({"public_key_type": "RSA"}, RENEWAL, MAIN["names"], "ecdsa", "its key is not ecdsa"),
        ({"not_after": "20261130000000Z"}, RENEWAL, MAIN["names"], "ecdsa", "17% of its time is left"),
        ({"not_after": "20261124000000Z"}, RENEWAL, MAIN["names"], "ecdsa", "0% of its time is left"),
        (
            {"not_before": "20261124120000Z", "not_after": "20261126000000Z"},
            RENEWAL,
            MAIN["names"],
            "ecdsa",
            "",
        ),  # a life of hours
    ],
)
def test_why_an_authority_is_asked(changes: dict[str, Any], renewal: str, names: list[str], key_type: str, reason: str) -> None:
    found = edge_certificates.issue_reason(names, {**GOOD, **changes}, renewal, DIRECTORY, key_type, NOW)
    assert found.startswith(reason) and bool(found) is bool(reason)


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("requests.exceptions.ConnectionError: HTTPSConnectionPool: Max retries exceeded", "did not answer. Nothing was changed"),
        (
            "Saving debug log\nChallenge failed\n  Detail: no such host\n  Hint: look at DNS\nAsk for help",
            "refused: no such host; look at DNS",
        ),
        ("  Detail: Connection refused", "refused: Connection refused"),  # the authority did answer
        ("urn:ietf:params:acme:error:rateLimited :: too many certificates", "certbot_staging: true rehearses"),
        ("Saving debug log\nSome error\nSee the logfile x", "refused: Some error"),
        ("", "certbot gave no reason"),
    ],
)
def test_why_certbot_failed(output: str, sentence: str) -> None:
    assert sentence in edge_certificates.certbot_error(output, DIRECTORY)


@pytest.mark.parametrize(
    ("changes", "failures", "own", "expected"),
    [
        ({}, [], False, []),
        ({}, ["main: no answer"], False, ["main: no answer", "main: what is served is valid until 2027-01-30"]),
        ({"not_after": None}, [], False, ["main: there is no certificate to serve"]),
        ({"issuer": GOOD["subject"]}, [], False, ["main: the placeholder is served", "main: what is served is valid until"]),
        ({"issuer": GOOD["subject"]}, [], True, []),
        ({"subject_alt_name": ["DNS:a.example"]}, [], False, ["does not cover www.a.example", "valid until"]),
        ({"expired": True}, [], False, ["main: what is served has expired"]),
    ],
)
def test_what_is_said_of_what_is_served(changes: dict[str, Any], failures: list[str], own: bool, expected: list[str]) -> None:
    found = edge_certificates.served_problems([MAIN], [{**GOOD, **changes}], failures, own)
    assert len(found) == len(expected), found
    for problem, sentence in zip(found, expected, strict=True):
        assert sentence in problem


PLACEHOLDER = {"issuer": GOOD["subject"]}
WAITING = ["a.example: has no address. Point its DNS record here, then run again."]
OTHER = {"name": "other", "names": ["b.example"]}


@pytest.mark.parametrize(
    ("changes", "other", "failures", "waits"),
    [
        (PLACEHOLDER, {"subject_alt_name": ["DNS:b.example"]}, WAITING, True),
        ({}, {"subject_alt_name": ["DNS:b.example"]}, WAITING, False),  # it had a certificate, which will not be renewed
        ({"not_after": None}, {"subject_alt_name": ["DNS:b.example"]}, WAITING, False),
        (PLACEHOLDER, PLACEHOLDER, WAITING, False),  # the other one has another reason
        (PLACEHOLDER, {"subject_alt_name": ["DNS:b.example"]}, [*WAITING, "other: the authority did not answer."], False),
        (PLACEHOLDER, {"subject_alt_name": ["DNS:b.example"]}, [], False),
    ],
)
def test_a_new_site_may_wait_for_its_names(changes, other, failures, waits) -> None:
    found = [{**GOOD, **changes}, {**GOOD, **other}]
    assert edge_certificates.only_names_wait([MAIN, OTHER], found, failures, failures and WAITING) is waits


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "main: a.example, www.a.example; from ca; until 2027-01-30 00:00 UTC, 66 days left"),
        ({"issuer": {"organizationName": "CA", "commonName": "x"}}, "from CA; until"),
        ({"issuer": GOOD["subject"]}, "signed by itself"),
        ({"not_after": "20261130000000Z"}, "5 days left RENEWAL IS LATE"),
        ({"not_after": "20261124000000Z"}, "0 days left EXPIRED"),
        ({"not_after": None}, "main: MISSING"),
    ],
)
def test_the_line_of_a_certificate(changes: dict[str, Any], line: str) -> None:
    assert line in edge_certificates.certificate_status([{**GOOD, "item": "main", **changes}], NOW)[0]


NEW, OLD = "placeholder-0a1b2c3d", "placeholder-ffffffff"


@pytest.mark.parametrize(
    ("place", "missing", "shown", "aside"),
    [
        (Place("main-0123456789abcdef", whole=True), False, False, False),
        (Place(directory=True, whole=True), False, False, False),  # somebody's own
        (Place(), True, True, False),  # a new site
        (Place("main-0123456789abcdef"), True, True, False),  # the files behind the link were deleted
        (Place(directory=True), True, True, True),  # one of its files was
        (Place(NEW, whole=True), False, True, False),
        (Place(NEW), True, True, False),
        (Place(OLD, whole=True), True, True, False),  # for other names
    ],
)
def test_where_a_placeholder_is_needed(place: Place, missing: bool, shown: bool, aside: bool) -> None:
    found = edge_certificates.placeholders({"main": place}, NEW, ends=False)
    expected = {"missing": missing, "placeholders": shown, "aside": aside}
    assert found == {**{key: ["main"] if there else [] for key, there in expected.items()}, "stale": False}


def test_a_placeholder_that_ends_is_made_anew_where_it_is_needed() -> None:
    real = Place("main-0123456789abcdef", whole=True)
    for places, stale in (
        ({"main": Place(NEW, whole=True)}, True),
        ({"main": real, "other": Place()}, True),
        ({"main": real}, False),
    ):
        assert edge_certificates.placeholders(places, NEW, ends=True)["stale"] is stale
