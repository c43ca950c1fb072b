# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates on two edges, from an authority of the lab; numbers are those of the audit of kasaneha's first design.

The checks run in their order: each begins with what the one before left, a site with a certificate of the authority.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .edges import EDGE1, EDGE2, SITE, Visitors, authority_down, headers, on, served, status, words
from .playbook import ROOT, play

API, WWW = "api.kasaneha.test", "www.kasaneha.test"
TLS = "/etc/edge/tls"
CERTIFICATES, CONVERGE, LIMIT = "playbooks/certificates.yml", "molecule/edge/converge.yml", ("--limit", "molecule-edge1")
QUICK = (*LIMIT, "--skip-tags", "nginx_install,certbot_install")  # both are there
SSLYZE = "sslyze==6.3.1"

pytestmark = pytest.mark.usefixtures("once")


@pytest.fixture(autouse=True)
def once(host: Any) -> None:
    """The checks speak of both edges: they run for one of them only."""
    if host.backend.get_hostname() != "molecule-edge1":
        pytest.skip("once for both edges")


# --- the first certificate, and its renewal --------------------------------------------------------------


def test_107_the_first_certificate_reaches_both_edges() -> None:
    """103 and 108: without a stop of nginx, without a question. One of the names leads to the second edge, which passed its challenge on."""
    for address in (EDGE1, EDGE2):
        shown = served(address)
        assert "Pebble" in shown["issuer"] and shown["names"] == f"{API} {SITE} {WWW}"
    assert served(EDGE1)["serial"] == served(EDGE2)["serial"] != ""
    config = on(EDGE1, "cat /etc/letsencrypt/renewal/main.conf")
    assert "authenticator = webroot" in config and "standalone" not in config


def test_hsts_came_with_it() -> None:
    assert "strict-transport-security: max-age=300" in headers()


def test_110_keys_are_elliptic_and_roots_alone() -> None:
    for address in (EDGE1, EDGE2):
        assert "ASN1 OID: prime256v1" in on(address, f"openssl pkey -in {TLS}/main/privkey.pem -noout -text")
        assert on(address, f"find {TLS} /etc/letsencrypt -name 'privkey*' -type f -perm /077 2>/dev/null || true") == ""
        assert on(address, f"su nobody -s /bin/sh -c 'cat {TLS}/main/privkey.pem' 2>&1 || true").endswith("Permission denied")
    assert on(EDGE1, "find /var/lib/edge-certificates -perm /007") == ""
    key = "-i /etc/ssh/edge-certificates -o UserKnownHostsFile=/etc/ssh/edge-certificates.known_hosts -o BatchMode=yes"
    for command in ("id", "cat /etc/shadow", ""):  # whatever is asked for, there is one answer
        said = on(EDGE2, f"ssh {key} edge-certificates@{EDGE1} {command} | tar -t | sort | head -2")
        assert said.splitlines() == ["./", "./main/"]


def test_104_and_105_there_is_one_timer_and_no_crontab() -> None:
    assert on(EDGE1, "systemctl is-enabled certbot.timer; systemctl is-active certbot.timer") == "enabled\nactive"
    assert on(EDGE1, "crontab -l 2>&1 || true") in ("no crontab for root", "") or "not found" in on(
        EDGE1, "crontab -l 2>&1 || true"
    )
    assert on(EDGE2, "systemctl is-active edge-certificates-receive.timer") == "active"
    assert on(EDGE2, "systemctl is-enabled certbot.timer 2>/dev/null || true") in ("", "not-found")


def test_106_a_renewed_certificate_is_served_and_nobody_notices() -> None:
    before = served()["serial"]
    with Visitors() as visitors:
        on(EDGE1, "REQUESTS_CA_BUNDLE=/etc/ssl/acme.lab.pem certbot renew --force-renewal --no-random-sleep-on-renew -q")
        after = served()["serial"]
    assert after != before and after == on(EDGE1, f"openssl x509 -in {TLS}/main/fullchain.pem -noout -serial").removeprefix(
        "serial="
    )
    assert visitors.good > 100 and visitors.failed == []
    on(EDGE2, "systemctl start edge-certificates-receive.service")
    assert served(EDGE2)["serial"] == after


def test_106_what_could_not_be_installed_then_is_later() -> None:
    """certbot's own service looks after it each time, due or not."""
    on(EDGE1, "mv /etc/letsencrypt/renewal-hooks/deploy/50-edge /root/; "
              "REQUESTS_CA_BUNDLE=/etc/ssl/acme.lab.pem certbot renew --force-renewal --no-random-sleep-on-renew -q; "
              "mv /root/50-edge /etc/letsencrypt/renewal-hooks/deploy/")  # fmt: skip
    new = on(EDGE1, "openssl x509 -in /etc/letsencrypt/live/main/fullchain.pem -noout -serial").removeprefix("serial=")
    assert served()["serial"] != new
    on(EDGE1, "systemctl start certbot.service")  # what the timer starts
    assert served()["serial"] == new
    assert on(EDGE1, "/usr/local/sbin/edge-certificate main /etc/letsencrypt/live/main") == ""  # nothing left to do


def test_the_wrong_key_never_reaches_nginx() -> None:
    before = served()["serial"]
    on(EDGE1, "mkdir -p /tmp/wrong && cp /etc/letsencrypt/live/main/fullchain.pem /tmp/wrong/ && "
              "openssl ecparam -name prime256v1 -genkey -noout -out /tmp/wrong/privkey.pem")  # fmt: skip
    assert "the key is not that of the certificate" in on(EDGE1, "! /usr/local/sbin/edge-certificate main /tmp/wrong 2>&1")
    # A certificate that is good by itself, while nginx is not: the one before is back.
    on(EDGE1, "echo 'nonsense on;' >> /etc/nginx/nginx.conf; mkdir -p /tmp/good; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
              f"-nodes -days 2 -subj /CN={SITE} -addext subjectAltName=DNS:{SITE} "
              "-keyout /tmp/good/privkey.pem -out /tmp/good/fullchain.pem 2>/dev/null")  # fmt: skip
    try:
        said = on(EDGE1, "! /usr/local/sbin/edge-certificate main /tmp/good 2>&1")
        assert "nginx refuses its configuration" in said and "The one before is served again" in said
    finally:
        on(EDGE1, "sed -i '/^nonsense on;$/d' /etc/nginx/nginx.conf; nginx -t -q")
    assert served()["serial"] == before


# --- other names, other authorities -----------------------------------------------------------------------


def test_a_name_is_added_and_removed() -> None:
    more = {"edge_names": [SITE, API, "more.kasaneha.test"]}
    done = play(CONVERGE, *QUICK, **more)
    assert done.returncode == 0, words(done)[-3000:]
    assert served()["names"] == f"{API} {SITE} more.kasaneha.test {WWW}"
    assert status("more.kasaneha.test") == 200
    done = play(CONVERGE, *QUICK)
    assert done.returncode == 0, words(done)[-3000:]
    assert served()["names"] == f"{API} {SITE} {WWW}"


def test_109_another_authority_that_binds_its_accounts() -> None:
    """EAB, and the way from a rehearsal to the real one: a certificate from elsewhere is asked for again."""
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    before = served()["issuer"]
    other = {"certbot_staging": True, "certbot_staging_directory": "https://eab.acme.lab:14000/dir", "certbot_eab_kid": "kid-1"}
    secret = Path("/tmp") / "edge-eab.yml"
    secret.write_text(json.dumps({"certbot_eab_hmac_key": key}))
    try:
        done = play(CERTIFICATES, *LIMIT, "-vvv", "--diff", "-e", f"@{secret}", **other)
    finally:
        secret.unlink()
    assert done.returncode == 0, words(done)[-3000:]
    assert key not in done.stdout + done.stderr
    assert on(EDGE1, "stat -c %a /etc/letsencrypt/edge.ini") == "600"
    assert served()["issuer"] != before and "Pebble" in served()["issuer"]
    assert play(CERTIFICATES, *LIMIT).returncode == 0
    assert served()["issuer"] == before


# --- what goes wrong ------------------------------------------------------------------------------------------


def test_the_authority_is_down_when_a_certificate_is_needed() -> None:
    before = served()["serial"]
    with authority_down():
        done = play(CONVERGE, *QUICK, edge_names=[SITE, API, "more.kasaneha.test"])
        assert done.returncode != 0
        assert "main: the authority (https://acme.lab:14000/dir) did not answer. Nothing was changed; run again later." in words(
            done
        )
        assert "what is served does not cover more.kasaneha.test" in words(done)
        assert served()["serial"] == before and status() == 200
        on(
            EDGE1,
            "! REQUESTS_CA_BUNDLE=/etc/ssl/acme.lab.pem certbot renew --force-renewal --no-random-sleep-on-renew -q 2>/dev/null",
        )
        assert served()["serial"] == before and status() == 200


def test_the_authority_is_down_at_the_first_run_and_files_are_deleted() -> None:
    """Everything of the certificate is gone: the site is served with a placeholder until the authority is back."""
    on(EDGE1, f"mv /etc/letsencrypt /root/letsencrypt; rm -rf {TLS}/main {TLS}/main-*")
    assert status() == 200  # what nginx has in memory
    with authority_down():
        done = play(CONVERGE, *QUICK)
        assert done.returncode != 0
        assert "did not answer" in words(done) and "main: the placeholder is served, which browsers warn of" in words(done)
        assert status() == 200 and "Pebble" not in served()["issuer"]
        on(EDGE1, "systemctl restart nginx")  # would fail without certificate files
        assert status() == 200
        assert "strict-transport-security" not in headers()
    # A placeholder that has expired is made anew.
    on(
        EDGE1,
        f"""cd {TLS}/placeholder-* && python3 - <<'PYTHON'
import datetime
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
key = serialization.load_pem_private_key(open("privkey.pem", "rb").read(), None)
old = x509.load_pem_x509_certificate(open("fullchain.pem", "rb").read())
past = datetime.datetime(2020, 1, 1)
made = (x509.CertificateBuilder().subject_name(old.subject).issuer_name(old.issuer).public_key(key.public_key()).serial_number(7)
        .not_valid_before(past).not_valid_after(past + datetime.timedelta(days=1)).sign(key, hashes.SHA256()))
open("fullchain.pem", "wb").write(made.public_bytes(serialization.Encoding.PEM))
PYTHON
systemctl reload nginx""",
    )
    assert status() == 200
    done = play(CONVERGE, *QUICK, certbot_certificates=[])
    assert done.returncode == 0, words(done)[-3000:]
    assert served()["serial"] != "07" and on(EDGE1, f"openssl x509 -in {TLS}/main/fullchain.pem -noout -checkend 86400") != ""
    done = play(CONVERGE, *QUICK)
    assert done.returncode == 0, words(done)[-3000:]
    assert "Pebble" in served()["issuer"]
    on(EDGE1, "rm -rf /root/letsencrypt")


def pair(folder: Path, name: str, names: str) -> dict[str, str]:
    """A certificate of one's own and its key."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "5", "-subj", f"/CN={name}",
         "-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True,
    )  # fmt: skip
    return {"fullchain": certificate.read_text(), "privkey": key.read_text()}


def refused(variables: dict[str, Any], sentences: dict[str, str]) -> str:
    """One message before anything is changed, with a line for each thing that is wrong; all that was said."""
    done = play("playbooks/preflight.yml", *LIMIT, **variables)
    assert done.returncode != 0
    said = words(done)
    assert "problem(s) to solve first; nothing was changed" in said and "- molecule-edge1: " in said
    assert {what for what, sentence in sentences.items() if sentence not in said} == set(), said[-3000:]
    assert re.search(r"changed=0 ", done.stdout)
    return done.stdout + done.stderr


def test_refused_before_anything_is_changed() -> None:
    wrong = {
        "certbot_email": "",
        "certbot_certificates": [{"name": "main", "names": ["*.kasaneha.test"]}],
        "certbot_eab_kid": "kid-1",
        "nginx_hsts_preload": True,
        "nginx_real_ip_from": ["balancer"],
    }
    sentences = {
        "no e-mail": "certbot_email: is not set",
        "wildcard": "is a wildcard",
        "half of EAB": "one is set without the other",
        "preload too early": "nginx_hsts_preload: needs nginx_hsts_include_subdomains",
        "no network": "nginx_real_ip_from: 'balancer' is not an address or a network",
    }
    refused(wrong, sentences)


def test_names_that_do_not_lead_here_are_not_asked_for() -> None:
    before, asked = served()["serial"], on(EDGE1, "ls /var/log/letsencrypt | wc -l")
    done = play(CERTIFICATES, *LIMIT, edge_names=[SITE, "nowhere.kasaneha.test", "elsewhere.kasaneha.test"])
    assert done.returncode != 0
    said = words(done)
    assert "nowhere.kasaneha.test: has no address. Point its DNS record here" in said
    assert "elsewhere.kasaneha.test: 198.51.100.75 (A record) does not answer on port 80" in said
    assert served()["serial"] == before and on(EDGE1, "ls /var/log/letsencrypt | wc -l") == asked


def test_a_snippet_with_a_syntax_error_is_refused_and_the_old_configuration_stays() -> None:
    before = on(EDGE1, "sha256sum /etc/nginx/nginx.conf; pgrep -o nginx")
    done = play(CONVERGE, *QUICK, nginx_extra_http="server { listen 81; nonsense on; }")
    assert done.returncode != 0
    assert 'unknown directive "nonsense"' in words(done) and "The line: server { listen 81; nonsense on; }" in words(done)
    assert on(EDGE1, "sha256sum /etc/nginx/nginx.conf; pgrep -o nginx") == before and status() == 200


def test_certificates_of_ones_own(tmp_path: Path) -> None:
    good, short = pair(tmp_path, "good", f"DNS:{SITE},DNS:*.{SITE}"), pair(tmp_path, "short", f"DNS:{SITE}")
    own = {
        "main": short,
        "mixed": {**good, "privkey": short["privkey"]},
        "text": {**good, "fullchain": "nothing"},
        "locked": {**good, "privkey": "nothing"},
    }
    others = [{"name": name, "names": [SITE]} for name in ("mixed", "text", "locked", "missing")]
    sentences = {
        "main": f"does not cover {API}, {WWW}",
        "mixed": "certbot_own_certificates.mixed: certificate and key do not match",
        "text": "is no certificate in PEM",
        "locked": "is no private key in PEM",
        "missing": "certbot_own_certificates.missing: is not set",
    }
    certificates = [{"name": "main", "names": [SITE, API, WWW]}, *others]
    said = refused({"certbot_enabled": False, "certbot_own_certificates": own, "certbot_certificates": certificates}, sentences)
    assert not [name for name, one in {"good": good, "short": short}.items() if one["privkey"].splitlines()[1] in said]
    before = served()["issuer"]
    done = play(CERTIFICATES, *LIMIT, certbot_enabled=False, certbot_own_certificates={"main": good})
    assert done.returncode == 0, words(done)[-3000:]
    assert served()["names"] == f"*.{SITE} {SITE}"
    done = play(CERTIFICATES, *LIMIT)
    assert done.returncode == 0, words(done)[-3000:]
    assert served()["issuer"] == before


# --- seen from outside ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sslyze() -> Callable[..., dict[str, Any]]:
    """The scanner, in an environment of its own: it wants other libraries than Ansible."""
    folder = ROOT / ".cache/sslyze"
    if not (folder / "bin/sslyze").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", SSLYZE], check=True)

    def scan(address: str, *options: str) -> dict[str, Any]:
        done = subprocess.run(
            [str(folder / "bin/python"), "-m", "sslyze", "--sni", SITE, *options, f"{address}:443"],
            capture_output=True,
            text=True,
            check=False,
        )
        return {"code": done.returncode, "said": done.stdout + done.stderr}

    return scan


def test_the_profile_intermediate_of_mozilla(sslyze: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    root = subprocess.run(
        ["curl", "-sk", "https://198.51.100.75:15000/roots/0"], check=True, capture_output=True, text=True
    ).stdout
    (tmp_path / "root.pem").write_text(root)
    found = sslyze(EDGE1, "--mozilla_config=intermediate", f"--certinfo_ca_file={tmp_path}/root.pem")
    assert "OK - Compliant" in found["said"], found["said"][-3000:]
    strict = sslyze(EDGE1, "--mozilla_config=modern")  # it can say no: TLS 1.2 is too old for this one
    assert "OK - Compliant" not in strict["said"] and "FAILED" in strict["said"]
