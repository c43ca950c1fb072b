# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/verify.yml: a good server passes, and each of its checks fails on a server that is broken in its way."""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

import pytest
import yaml

from .playbook import play

# An edge that gets everything wrong, so that nothing of the real one's configuration has to be known here.
BAD_EDGE = """
worker_processes 1;
pid /run/nginx.pid;
events {}
http {
  log_format main escape=json '{"client":"$http_x_forwarded_for","request_id":"$http_x_request_id","uri":"$uri"}';
  access_log /var/log/nginx/access.log main;
  ssl_certificate /root/bad.pem;
  ssl_certificate_key /root/bad.pem;
  ssl_protocols TLSv1 TLSv1.1 TLSv1.2;
  ssl_ciphers ALL:@SECLEVEL=0;
  default_type text/html;
  server { listen 80 default_server; listen [::]:80 default_server; location / { return 302 https://$host/; } }
  server {
    listen 443 ssl default_server;
    listen [::]:443 ssl default_server;
    location = / { return 503 '<script src="/_astro/app.js"></script>'; }
    location = /api/v1/sessions { return 301 /api/v1/sessions/; }
    location /_astro/ { return 404; }
    location / { return 200 "numbers"; }
  }
}
"""
BREAK = [
    "ufw delete allow from ::/0 to ::/0 port 80 proto tcp; ufw allow 9191/tcp comment mine",
    "mkdir -p /var/lib/firewall/unconfirmed; systemctl disable firewall-rollback",
    "systemd-run --unit=spare python3 -m http.server 9191 --bind :: --directory /usr/share/doc",
    "nft delete table inet container_firewall",
    "docker network create --opt com.docker.network.bridge.name=strange0 strange",
    "docker run --detach --name leak --label kasaneha.deploy.app=kasaneha --publish 0.0.0.0:8098:8098 --health-cmd false --health-interval 1s"
    " --health-retries 1 --entrypoint sleep $(docker inspect --format '{{.Config.Image}}' kasaneha-backend-blue) infinity",
    "for i in $(seq 60); do docker ps --quiet --filter name=leak --filter health=unhealthy | grep -q . && exit 0; sleep 0.5; done; exit 1",
    "bash -c '(exec -a \"$(cat /etc/kasaneha/secrets/blue/backend/jwt_secret)\" sleep 1000) >/dev/null 2>&1 & echo $! >/root/blab.pid'",
    "chmod 0440 /etc/kasaneha/secrets/blue/backend/jwt_secret",
    "cp /etc/nginx/nginx.conf /root/good.conf; openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=bad -days 1 -keyout /root/bad.key -out /root/bad.crt",
    "cat /root/bad.key /root/bad.crt >/root/bad.pem; cp /root/bad.conf /etc/nginx/nginx.conf; nginx -t && systemctl reload nginx && sleep 1",
    "echo 'no_such_directive;' >>/etc/nginx/nginx.conf",
]
MEND = [
    "cp /root/good.conf /etc/nginx/nginx.conf; systemctl reload nginx; rm -f /root/bad.*",
    "chmod 0400 /etc/kasaneha/secrets/blue/backend/jwt_secret; kill $(cat /root/blab.pid)",
    "docker rm --force leak; docker network rm strange; systemctl reload container-firewall",
    "rmdir /var/lib/firewall/unconfirmed; systemctl enable firewall-rollback; ufw --force delete allow 9191/tcp",
]
# Words of a check's name -> what it must say about what was broken.
BROKEN = {
    "UFW's rules": "add allow 80/tcp from anywhere (IPv6)",
    "no change of the firewall": "run site.yml again",
    "the container firewall is loaded": "is not loaded",
    "come back at boot": "firewall-rollback is disabled",
    "every network": "strange (strange0) is not",
    "containers publish": "leak publishes 0.0.0.0 port 8098/tcp",
    "(IPv4": "9191 is open, and no rule allows it",
    "(IPv6": "80 should be open, and is silent",
    "run and are healthy": "leak is unhealthy",
    "are confined": "leak may change its own files",
    "no secret where": "found in arguments of processes",
    "files with secrets": "jwt_secret can be read by others",
    "every site answers": "kasaneha.test answers 503",
    "TLS 1.2 and 1.3": "TLSv1.1 is accepted",
    "every name has a TLS": "a stranger's name gets one",
    "requests for a name": "HTTP answers 302",
    "HTTP leads": "answers 302 https://kasaneha.test/, not 301",
    "security headers": "has X-Frame-Options 0 times",
    "what is internal": "kasaneha.test/metrics answers 200",
    "POST is not": "POST /api/v1/sessions answers 301",
    "hashed assets": "/_astro/app.js answers 404",
    "too many requests": "met no limit",
    "says of itself": "X-Forwarded-For of a client is taken for its address",
    "that are served": "nginx serves another one than the one on disk",
    "nginx would start": "unknown directive",
}
# Those whose checks are broken here; logging and monitoring are verified in scenario operations.
ROLES = [{"role": role, "needed": True} for role in ("firewall", "app", "nginx")]


def verify(**variables: Any) -> tuple[int, dict[str, tuple[str, str]]]:
    """Run it: the exit code, and check -> its state and what it says."""
    done = play("playbooks/verify.yml", **{"verify_roles": ROLES, **variables})
    shown = re.search(r"TASK \[Show what passed\][\s\S]*?\n    msg:\n((?:    [ -].*\n)+)", done.stdout)
    assert shown, done.stdout[-3000:]
    checks = {}
    for line in yaml.safe_load(dedent(shown[1])):
        found = re.match("  (ok|FAIL|skip) +(.*)", line)
        if found:
            name, _colon, said = found[2].partition(": ")
            checks[name] = (found[1], said)
    assert not re.search(r"changed=[1-9]", done.stdout)
    return done.returncode, checks


@pytest.fixture(scope="module")
def broken(root):
    """What verify.yml says of a server on which everything is broken; it is mended again."""
    root(f"cat >/root/bad.conf <<'END'\n{BAD_EDGE}\nEND")
    try:
        for command in BREAK:
            root(command)
        code, checks = verify()
    finally:
        for command in MEND:
            root(f"{command}; true")
    assert code != 0
    return checks


@pytest.mark.parametrize("check", BROKEN)
def test_each_check_fails_on_a_server_that_is_broken_in_its_way(check, broken):
    (found,) = [entry for name, entry in broken.items() if check in name]
    assert found[0] == "FAIL" and BROKEN[check] in found[1]


def test_no_check_is_left_without_such_a_server(broken):
    rest = {name for name in broken if not any(check in name for check in BROKEN)}
    assert rest == {"rules of the inventory can be applied"}  # the last test's


def test_a_good_server_passes(root, broken):
    root(
        "systemctl stop spare; for i in $(seq 60); do docker ps | grep -q -e starting -e unhealthy || exit 0; sleep 1; done; exit 1"
    )
    play("molecule/firewall/firewall.yml")
    code, checks = verify()
    assert {name: entry for name, entry in checks.items() if entry[0] != "ok"} == {}
    assert code == 0 and len(checks) == len(BROKEN) + 1


def test_a_wrong_inventory_is_one_failure(broken):
    """After the good server: its firewall is what the inventory says."""
    code, checks = verify(firewall_ssh_ports=[2222], verify_roles=[{"role": "firewall", "needed": True}])
    failed = {name: said for name, (state, said) in checks.items() if state == "FAIL"}
    assert code != 0 and set(failed) == {"rules of the inventory can be applied"}
    assert "nothing answers SSH on port 2222" in failed["rules of the inventory can be applied"]
