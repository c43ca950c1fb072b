# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rehearsal decides before a server is made: the copy of the inventory, what stands in, what is refused, and what a report says."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "lab"))

from rehearsal import inventory, report, standins  # noqa: E402
from rehearsal.inventory import RehearsalError  # noqa: E402
from rehearsal.plan import Plan  # noqa: E402
from rehearsal.run import checks, failure, sentence  # noqa: E402

PROD = ROOT / "inventories/prod"


def judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: Path, **options: Any) -> Plan:
    """The plan of a rehearsal, up to the moment at which servers would be made; no image can be pulled."""
    monkeypatch.setattr(Plan, "pulled", lambda self, image: False)
    given = {"release": "", "data": None, "identity": None, "extra": None, **options}
    plan = Plan(Namespace(inventory=source, **given), tmp_path / "place")
    plan.judge()
    return plan


def changed(tmp_path: Path, **files: Any) -> Path:
    """A copy of inventories/prod in which some files are others; `{file: text or mapping}`, with __ for a slash and _yml at the end."""
    target = tmp_path / "shop"
    inventory.copy(PROD, target)
    for name, content in files.items():
        path = target / (name.replace("__", "/").removesuffix("_yml") + ".yml")
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content)
        else:
            path.write_text(yaml.safe_dump({**(yaml.safe_load(path.read_text()) if path.exists() else {}), **content}))
    return target


# --- the copy ---------------------------------------------------------------------------------------------------------
def test_a_vault_is_left_out_whole_or_value_by_value(tmp_path):
    source = tmp_path / "source"
    (source / "group_vars/all").mkdir(parents=True)
    (source / "hosts.yml").write_text("all: {hosts: {a: }}\n")
    (source / "group_vars/all/vault.yml").write_text("app_secrets: {a: plain}\n")
    (source / "group_vars/all/keys.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3031\n")
    (source / "group_vars/all/main.yml").write_text(
        "one: 1\ntwo: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3031\nthree: !unsafe '{{x'\n"
    )
    left = inventory.copy(source, tmp_path / "copy")
    assert left == ["group_vars/all/keys.yml", "group_vars/all/main.yml: two", "group_vars/all/vault.yml"]
    text = (tmp_path / "copy/group_vars/all/main.yml").read_text()
    assert "one: 1" in text and "!unsafe" in text and "two" not in text
    assert (source / "group_vars/all/vault.yml").exists()


def test_addresses_of_hosts_are_those_of_the_lab_wherever_they_stand(tmp_path):
    said = {
        "a": {"ansible_host": "shop.example", "private_address": "10.0.0.5"},
        "b": {"ansible_host": "10.0.0.51", "app_bind_address": "127.0.0.1"},
    }
    moved = inventory.addresses(said, {"a": "198.51.100.100", "b": "198.51.100.101"})
    assert moved == {"10.0.0.5": "198.51.100.100", "10.0.0.51": "198.51.100.101"}
    (tmp_path / "main.yml").write_text("hosts: [10.0.0.5, 10.0.0.51]\nother: 10.0.0.55\nnet: 10.0.0.0/8\nlong: 110.0.0.5\n")
    inventory.readdress(tmp_path, moved)
    assert (
        tmp_path / "main.yml"
    ).read_text() == "hosts: [198.51.100.100, 198.51.100.101]\nother: 10.0.0.55\nnet: 10.0.0.0/8\nlong: 110.0.0.5\n"


# --- what is refused before a server is made ----------------------------------------------------------------------------
HOSTS = {"all": {"hosts": {"shop-1": {"ansible_host": "shop.example"}}}}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown group": (
        {"hosts_yml": {"all": {"hosts": {"shop-1": None}, "children": {"edges": {"hosts": {"shop-1": None}}, "app": {"hosts": {"shop-1": None}}}}}},
        r"edges: is no group of this collection\. Did you mean edge\?",
    ),
    "host in no group of ours": (
        {"hosts_yml": {"all": {"hosts": {"shop-1": None}, "children": {"app": {"hosts": {"shop-1": None}}, "printers": {"hosts": {"shop-2": None}}}}}},
        r"shop-2: is in no group of this collection \(printers\), so nothing would run on it\.",
    ),
    "no hosts": ({"hosts_yml": {"all": {"hosts": {}, "children": {}}}}, r"has no hosts, so there is nothing to make servers of\."),
    "variable of the environment": (
        {"group_vars__all__main_yml": {"certbot_email": "{{ lookup('env', 'CERT_MAIL') }}"}},
        r"kasaneha-prod: certbot_email: reads an environment variable of the real place \(lookup 'env'\)\. Give it a value .* EXTRA=",
    ),
    "file, by way of another variable": (
        {"group_vars__all__main_yml": {"certbot_email": "{{ my_mail }}", "my_mail": "{{ lookup('ansible.builtin.file', '/etc/mailname') }}"}},
        r"kasaneha-prod: my_mail: reads a file of the real place",
    ),
    "this very machine": ({"group_vars__all__main_yml": {"ansible_connection": "local"}}, r"ansible_connection is local, so it is this very machine"),
    "not by ssh": ({"group_vars__all__main_yml": {"ansible_connection": "winrm"}}, r"ansible_connection is winrm; throw-away servers are reached by ssh"),
    "a secret that no service names": (
        {"group_vars__all__main_yml": {"app_service_overrides": {"backend": {"environment": {"DSN": "{{ app_secrets.sentry_dsn }}"}}},
                                       "monitoring_runbook_url": "https://{{ app_secrets.sentry_dsn }}"}},
        r"uses app_secrets\.sentry_dsn, a secret that no service names in `secrets`, so no value was invented",
    ),
    "a value that was in the vault": (
        {"group_vars__all__main_yml": {"certbot_email": "{{ vault_mail }}"}, "group_vars__all__vault_yml": {"vault_mail": "a@b.example"}},
        r"certbot_email: vault_mail is not defined in what is left of the inventory without group_vars/all/vault\.yml\. Give vault_mail a value",
    ),
    "a name that no server can have": ({"hosts_yml": {"all": {"hosts": {"shop_1": None}}}}, r"shop_1: no server can have this name"),
    "a Debian that the lab does not have": ({"hosts_yml": {"all": {"hosts": {"shop-1": {"lab_release": "buster"}}}}}, r"lab_release is buster"),
    "more hosts than addresses": (
        {"hosts_yml": {"all": {"hosts": {f"shop-{number}": None for number in range(29)}}}}, r"29 hosts, and the lab has addresses for 28 servers",
    ),
    "a PostgreSQL that cannot be had": ({"group_vars__all__main_yml": {"app_postgres_major": 12}}, r"app_postgres_image: .* cannot be pulled"),
    "no YAML": ({"hosts_yml": "all: {hosts: [\n"}, r"Ansible cannot read it|has no hosts"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence_before_a_server_is_made(case, monkeypatch, tmp_path):
    files, expected = REFUSED[case]
    with pytest.raises(RehearsalError) as refused:
        judged(monkeypatch, tmp_path, changed(tmp_path, **files))
    assert re.search(expected, str(refused.value)), refused.value
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("environment", ["prod", "staging", "example-fleet"])
def test_a_shipped_inventory_is_not_refused(environment, monkeypatch, tmp_path):
    """The negative control."""
    found = judged(monkeypatch, tmp_path, ROOT / "inventories" / environment)
    assert found.put.known and set(found.addresses.values()) == {f"198.51.100.{100 + n}" for n in range(len(found.hosts))}


def test_storage_that_hosts_share_is_mounted_where_it_is_used(monkeypatch, tmp_path):
    plan = judged(monkeypatch, tmp_path, ROOT / "inventories/example-fleet")
    told = {host: yaml.safe_load((plan.work / f"reach/host_vars/{host}.yml").read_text())["lab_mounts"] for host in plan.hosts}
    uploads = ["kasaneha-lab-rehearsal-shared-uploads:/var/lib/kasaneha/uploads"]
    assert {host for host, mounts in told.items() if mounts == uploads} == {"fleet-app-1", "fleet-app-2", "fleet-db-1"}
    assert [mounts for mounts in told.values() if mounts not in ([], uploads)] == []
    assert ("storage of several hosts at /var/lib/kasaneha/uploads", "a directory of this machine") in plan.put.instead
    assert judged(monkeypatch, tmp_path, PROD).storage() == []


def test_that_of_a_developer_is_refused(monkeypatch, tmp_path):
    with pytest.raises(RehearsalError, match="ansible_connection is local"):
        judged(monkeypatch, tmp_path, ROOT / "inventories/dev")


def test_an_inventory_that_is_not_there_or_is_a_program_is_refused(monkeypatch, tmp_path):
    with pytest.raises(RehearsalError, match="There is no inventory"):
        judged(monkeypatch, tmp_path, tmp_path / "nowhere")
    source = changed(tmp_path)
    (source / "hosts.py").write_text("#!/bin/sh\necho {}\n")
    (source / "hosts.py").chmod(0o755)
    with pytest.raises(RehearsalError, match=r"hosts\.py is a program"):
        judged(monkeypatch, tmp_path, source)


def test_what_is_only_at_the_real_place_may_be_given(monkeypatch, tmp_path):
    source = changed(tmp_path, group_vars__all__main_yml={"certbot_email": "{{ lookup('env', 'CERT_MAIL') }}"})
    (tmp_path / "extra.yml").write_text("certbot_email: a@b.example\n")
    found = judged(monkeypatch, tmp_path, source, extra=tmp_path / "extra.yml")
    assert json.loads((found.work / "standins.json").read_text())["certbot_email"] == "a@b.example"


def test_an_encrypted_vault_is_no_obstacle(monkeypatch, tmp_path):
    source = changed(tmp_path)
    (source / "group_vars/all/vault.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n30313233\n")
    found = judged(monkeypatch, tmp_path, source)
    assert found.left == ["group_vars/all/vault.yml"]
    assert set(found.put.variables["app_secrets"]) == {"postgres_password", "jwt_secret", "gemini_api_key"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"identity": "key.txt"}, "IDENTITY opens the set that DATA names, and DATA is not set"),
        ({"data": "."}, "is no directory of a backup set"),
        ({"data": "set"}, "the set is encrypted. Name the file with the private key"),
        ({"data": "other"}, "the set is one of shop, and the inventory's application is kasaneha"),
        ({"extra": "nothing.yml"}, "EXTRA: .* cannot be read"),
    ],
)
def test_options_that_cannot_work(options, expected, monkeypatch, tmp_path):
    for name, manifest in {"set": {"instance": "kasaneha", "recipients": ["age1x"]}, "other": {"instance": "shop"}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RehearsalError, match=expected):
        judged(monkeypatch, tmp_path, PROD, **{name: tmp_path / value for name, value in options.items()})


# --- what stands in -----------------------------------------------------------------------------------------------------
CANARIES = {
    "monitoring_receivers": [
        {"name": "chat", "slack": "https://canary.example/slack", "channel": "#ops"},
        {"name": "hook", "webhook": "https://canary.example/hook", "token": "canary-token"},
        {"name": "post", "email": ["ops@shop.example"]},
    ],
    "monitoring_smtp": {"host": "canary.example:587", "from": "a@b.example", "username": "canary", "password": "canary-password"},
    "monitoring_heartbeat_url": "https://canary.example/heartbeat",
    "backup_remotes": ["s3:canary-bucket/path", "/mnt/nas"],
    "backup_rclone_config": "[s3]\ntype = s3\nendpoint = canary.example\n",
    "certbot_directory": "https://canary.example/directory",
    "certbot_eab_kid": "canary",
}


def test_nothing_that_is_written_to_keeps_its_address(monkeypatch, tmp_path):
    found = judged(monkeypatch, tmp_path, changed(tmp_path, group_vars__all__main_yml=CANARIES))
    put = json.loads((found.work / "standins.json").read_text())
    assert (
        "canary.example" not in json.dumps(put)
        and "canary-token" not in json.dumps(put)
        and "canary-password" not in json.dumps(put)
    )
    assert set(CANARIES) <= set(put)
    assert put["monitoring_heartbeat_url"] == "http://world.lab/heartbeat" and put["monitoring_smtp"]["host"] == "world.lab:25"
    assert [one.get("slack") or one.get("webhook") for one in put["monitoring_receivers"]] == [
        "http://world.lab/slack/chat",
        "http://world.lab/webhook/hook",
        None,
    ]
    assert put["backup_remotes"] == ["s3:canary-bucket/path", "/mnt/nas"]  # under its own name, and a folder of the server
    assert put["backup_rclone_config"] == "[s3]\ntype = alias\nremote = /srv/rehearsal-remotes/s3\n"
    assert {"backup_remotes: s3:canary-bucket/path", "monitoring_heartbeat_url", "webhook of monitoring_receivers, hook"} <= {
        what for what, _ in found.put.instead
    }


def test_keys_of_certificates_are_not_asked_for(monkeypatch, tmp_path):
    own = {"kasaneha": {"fullchain": "PEM", "privkey": "{{ vault_key }}"}}
    changes = {"certbot_enabled": False, "certbot_own_certificates": own}
    put = judged(monkeypatch, tmp_path, changed(tmp_path, group_vars__all__main_yml=changes)).put.variables
    assert put["certbot_enabled"] is True and put["certbot_own_certificates"] == {}


def test_nobody_logs_in_at_a_registry(monkeypatch, tmp_path):
    login = [{"registry": "canary.example", "username": "me", "password": "{{ vault_token }}"}]
    found = judged(monkeypatch, tmp_path, changed(tmp_path, group_vars__all__main_yml={"docker_registry_login": login}))
    assert json.loads((found.work / "standins.json").read_text())["docker_registry_login"] == []
    assert "docker_registry_login" not in judged(monkeypatch, tmp_path, PROD).put.variables


def test_backups_that_are_encrypted_are_encrypted_with_a_key_of_the_rehearsal(monkeypatch, tmp_path):
    key = "age1" + "q" * 58
    found = judged(monkeypatch, tmp_path, changed(tmp_path, group_vars__all__main_yml={"backup_recipients": [key]}))
    assert found.put.variables["backup_recipients"] != [key]
    assert (found.work / "age.txt").stat().st_mode & 0o077 == 0


def test_secrets_are_invented_of_what_services_name():
    services = {"web": {"secrets": {"URL": "postgres_url", "KEY": "api_key"}}, "worker": {"secrets": {"CACHE": "redis_url"}}}
    assert standins.secret_names({}, services, True, False) == ["api_key", "postgres_password"]
    assert standins.secret_names({}, services, True, True) == ["api_key", "postgres_password", "redis_password"]
    own = {
        "app_postgres_password_secret": "db",
        "app_redis_password_secret": "cache",
        "app_build_secrets": {"npm": "npm_token", "ca": {"file": "/x"}},
    }
    assert standins.secret_names(own, services, True, False) == ["api_key", "npm_token", "db", "cache"]


def test_an_image_that_can_be_pulled_is_real_and_another_is_made_of_its_description():
    services = {
        "web": {"image": "registry.example/shop/web", "port": 8080, "health": {"path": "/ok", "status": 204}, "release_key": "v.release", "metrics": "/m",
                "assets": "/srv/assets", "command": ["./serve"], "healthcheck": {"test": ["CMD-SHELL", "wget -q x"]}, "secrets": {"DB": "postgres_url"}},
        "mail": {"image": "postfix:3.9"},
    }  # fmt: skip
    said = {"app_name": "shop", "app_migrations": {"service": "web", "command": ["./main", "up"]}}
    sites = [
        {
            "upstream": "web",
            "probes": ["/", {"path": "/api/x", "release_key": "release"}],
            "locations": [{"path": "/api/", "upstream": "mail"}],
        }
    ]
    found = standins.choose(
        said, services, sites, ["v1", "v2"], {"postgres_password": "x"}, ["app", "db"], lambda image: image == "postfix:3.9"
    )
    assert "image postfix:3.9" in found.real
    assert found.variables["app_service_overrides"] == {"web": {"image": "registry.lab:5000/rehearsal/shop-web"}}
    made = [image for image in found.images if image["folder"] == "images/standin"]
    assert [image["tag"] for image in made] == ["kasaneha-rehearsal/shop-web:v1", "kasaneha-rehearsal/shop-web:v2"]
    described = json.loads(made[0]["args"]["DESCRIPTION"])
    assert described["answers"] == {"/ok": {"status": 204, "key": "v.release"}, "/": {"status": 200, "key": ""}}
    assert (
        described["programs"] == ["./serve", "./main", "wget"]
        and described["migrate"] == ["up"]
        and described["database"] == ["DB"]
    )


def test_the_standin_of_an_image_answers_as_described(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("standin", ROOT / "lab/images/standin/standin.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HOME", tmp_path / "said.json")
    described = standins.description(
        "web", {"port": 8080, "health": "/ok", "release_key": "a.b", "assets": str(tmp_path / "_astro")}, {}, ["/"]
    )
    described["programs"] = [str(tmp_path / "bin/main")]
    monkeypatch.setenv("DESCRIPTION", json.dumps(described))
    monkeypatch.setenv("RELEASE", "v7")
    monkeypatch.setattr(
        module, "Path", lambda *parts: Path(*parts) if str(parts[0]) != "/usr/local/bin" else Path(tmp_path, *parts[1:])
    )
    module.build()
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["release"] == "v7" and re.fullmatch(r"/_astro/page\.[0-9a-f]{8}\.css", said["asset"])
    assert module.with_key("a.b", "v7") == {"a": {"b": "v7"}} and module.with_key("", "v7") == {}
    assert (tmp_path / "bin/main").stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("release", "expected"), [("v1.0.0", "v1.1.0"), ("2.9", "2.10"), ("v1.4.2", "v1.5.0"), ("nightly", "nightly-next")]
)
def test_the_next_release(release, expected):
    assert standins.next_release(release) == expected


# --- what is said -----------------------------------------------------------------------------------------------------
def test_why_a_playbook_failed():
    several = "2 problem(s) to solve first; nothing was changed:\n- shop-1: app_release: is not set.\n- shop-1: other.\n"
    assert sentence(several) == "shop-1: app_release: is not set. (and 1 more)"
    told = {"failed": [{"host": "a", "task": "first", "msg": "rescued"}, {"host": "b", "task": "last", "msg": "no space\nleft"}]}
    assert failure(told, "") == ("b", "no space left")
    assert failure({}, "x\n[ERROR]: the playbook: a.yml could not be found\n") == ("", "the playbook: a.yml could not be found")


def test_lines_of_verify():
    told = {
        "shown": [
            {"msg": ["shop-1", "  ok    a is b", "  FAIL  c: no", "  skip  d", "1 passed, 1 FAILED, 1 skipped"]},
            {"msg": "text"},
        ]
    }
    assert checks(told) == [("ok", "a is b"), ("FAIL", "c: no"), ("skip", "d")]


RESULT: dict[str, Any] = {
    "inventory": "inventories/<shop>", "date": "2026-11-29 20:00 UTC", "commit": "abc", "reason": "", "seconds": 400.0, "seconds_after_images": 380.0,
    "hosts": {"shop-1": ["edge", "app"]}, "releases": ["v1", "v2"],
    "steps": [{"name": "site.yml", "began": 0.0, "seconds": 160.0, "result": "ok", "note": "94 tasks", "checks": []},
              {"name": "verify.yml", "began": 160.0, "seconds": 20.0, "result": "ok", "note": "", "checks": [("ok", "<b>"), ("skip", "d")]}],
    "load": {"total": 900, "failed": 0, "p99_ms": 31.2, "max_ms": 80.0, "kinds": {"h2": {"total": 900, "failed": 0}}},
    "requests": [{"second": 0, "answered": {"v1": 20}, "failed": 0, "slowest": 12.0},
                 {"second": 1, "answered": {"v1": 3, "v2": 17}, "failed": 1, "slowest": 80.0}],
    "events": [("deploy v2", 0.5, 1.5)], "real": ["packages"], "instead": [("image a", "b")], "told": {"heartbeat": 3},
}  # fmt: skip


def test_a_report_needs_nothing_from_elsewhere_and_escapes_what_others_wrote(tmp_path):
    page, said = report.write(tmp_path, RESULT)
    text = page.read_text()
    assert "<b>" not in text.replace('<div class="card"><b>', "") and "&lt;b&gt;" in text and "inventories/&lt;shop&gt;" in text
    assert not re.search(r"(src|href)=|url\(|@import|<script", text)
    assert text.count("<svg") == 2 and "deploy v2" in text and "3 × heartbeat" in text
    assert "900 requests, 0 failed" in said and "6 min 20 s" in said and "1 passed, 0 failed, 1 skipped" in said
    assert json.loads((tmp_path / "report.json").read_text())["inventory"] == "inventories/<shop>"


def test_a_report_of_a_rehearsal_that_failed_says_so_first(tmp_path):
    _, said = report.write(tmp_path, {**RESULT, "reason": "site.yml: it broke", "load": {}, "requests": [], "events": []})
    assert said.splitlines()[0].endswith("FAILED") and said.splitlines()[1].strip() == "site.yml: it broke"


def test_requests_by_second():
    entry = {"kind": "h2", "error": "", "release": "v1", "colour": "blue", "ms": 5.0}
    found = report.by_second(
        [
            {**entry, "start": 10.0},
            {**entry, "start": 10.9, "error": "status 500"},
            {**entry, "start": 11.5, "kind": "slow", "ms": 2000.0},
        ]
    )
    assert found == [
        {"second": 0, "answered": {"v1": 1}, "failed": 1, "slowest": 5.0},
        {"second": 1, "answered": {"v1": 1}, "failed": 0, "slowest": 0.0},
    ]


def test_the_command_ends_with_one_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "lab/rehearse.py"), str(tmp_path / "nowhere")], capture_output=True, text=True, check=False
    )
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(lines) == 1 and lines[0].endswith("No server was made."), done
