# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that the role `app` writes for PostgreSQL and Redis."""

from __future__ import annotations

import hashlib
import re

from compose import data
from inventory import SECRETS, inventory
from render import evaluate, render


def test_postgres_reads_its_password_from_a_file() -> None:
    postgres = data()["services"]["postgres"]
    assert postgres["environment"]["POSTGRES_PASSWORD_FILE"] == "/run/secrets/postgres_password"
    assert "POSTGRES_PASSWORD" not in postgres["environment"]
    assert postgres["environment"]["PGDATA"] == "/var/lib/postgresql/15/data"
    assert {"postgres:/var/lib/postgresql", "/etc/kasaneha/secrets/postgres:/run/secrets:ro"} <= set(postgres["volumes"])


def test_health_of_the_databases() -> None:
    services = data()["services"]
    assert {"-h", "127.0.0.1", "-d", "kasaneha_db"} <= set(services["postgres"]["healthcheck"]["test"])
    assert "PONG" in services["redis"]["healthcheck"]["test"][1]
    assert all((entry["healthcheck"]["interval"], entry["healthcheck"]["retries"]) == ("10s", 5) for entry in services.values())


def test_docker_looks_every_second_while_they_start_where_it_can() -> None:
    def checks(**engine: str) -> list[str]:
        services = data(__app_data_seen=engine)["services"]
        return [entry["healthcheck"].get("start_interval", "") for entry in services.values()]

    assert checks(stdout="26.1.5+dfsg1") == checks(stdout="25.0.0") == ["1s", "1s"]
    assert checks(stdout="24.0.9") == checks(stdout="20.10.24+dfsg1") == ["", ""]  # it refuses what it does not know
    assert checks(stdout="") == checks() == ["", ""]  # a plan for a bare host


def first_match(rules: list[list[str]], kind: str, address: str) -> str:
    """The method by which PostgreSQL lets a client in: the first rule that fits decides; none refuses."""
    kinds = {"local": {"local"}, "plain": {"host", "hostnossl"}, "tls": {"host", "hostssl"}}[kind]
    for rule in rules:
        if rule[0] in kinds and (rule[0] == "local" or rule[3] in ("all", f"{address}/32", f"{address}/128")):
            return rule[-1]
    return "refused"


def test_postgres_lets_nobody_in_without_tls() -> None:
    rules = [line.split() for line in render("app", "pg_hba.conf.j2").splitlines() if line and not line.startswith("#")]
    assert all(rule[0] in ("local", "host", "hostssl") for rule in rules)
    assert first_match(rules, "plain", "10.0.0.9") == "refused"
    assert first_match(rules, "tls", "10.0.0.9") == "scram-sha-256"
    assert first_match(rules, "plain", "127.0.0.1") == first_match(rules, "plain", "::1") == "scram-sha-256"
    assert first_match([["host", "all", "all", "all", "md5"], *rules], "plain", "10.0.0.9") == "md5"


def test_postgres_settings() -> None:
    text = render(
        "app",
        "postgresql.conf.j2",
        inventory(
            app_postgres_settings={
                "shared_buffers": "256MB",
                "cluster_name": "it's",
                "jit": False,
                "log_line_prefix": "\\t%m",
                "search_path": "\\'",
            }
        ),
    )
    settings = dict(re.findall(r"^(\w+)(?: =)? (.+)$", text, re.MULTILINE))
    assert (settings["ssl"], settings["password_encryption"]) == ("on", "'scram-sha-256'")
    assert (settings["shared_buffers"], settings["cluster_name"], settings["jit"]) == ("'256MB'", "'it''s'", "'False'")
    # PostgreSQL reads two backslashes as one: alone it would take the next sign with it, even the closing quote.
    assert (settings["log_line_prefix"], settings["search_path"]) == (r"'\\t%m'", r"'\\'''")
    assert list(settings).index("include_dir") < list(settings).index("shared_buffers")  # the last one wins


def test_redis_knows_its_password_by_hash_only() -> None:
    text = render("app", "redis.conf.j2", inventory(app_redis_password_secret="jwt_secret"))  # noqa: S106 # a name
    secret = SECRETS["jwt_secret"]
    assert f"user default on #{hashlib.sha256(secret.encode()).hexdigest()} " in text
    assert secret not in text
    assert not re.search("requirepass|nopass|>", text)
    assert "user default" not in render("app", "redis.conf.j2", inventory())


def test_redis_keeps_its_data_within_bounds() -> None:
    lines = render("app", "redis.conf.j2", inventory(app_redis_maxmemory="64mb")).splitlines()
    assert {"appendonly yes", "dir /data", "maxmemory 64mb", "maxmemory-policy noeviction"} <= set(lines)


def test_secrets_that_lie_on_a_host_are_those_of_what_runs_there() -> None:
    """Others are not searched for by verify.yml: it would find that they are missing."""

    def here(host: str) -> set[str]:
        groups = {"all": ["a", "d", "c"], "app": ["a"], "db": ["d"], "cache": ["c"]}
        mine = [group for group, hosts in groups.items() if host in hosts]
        given = inventory("prod", mine, groups=groups, hosts={name: {} for name in groups["all"]}, inventory_hostname=host)
        return set(evaluate("app", "_app_secrets_here", {**given, "app_redis_password_secret": "redis_password"}))

    assert {"jwt_secret", "gemini_api_key"} <= here("a")
    assert here("d") == {"postgres_password"}
    assert here("c") == set()
