# SPDX-License-Identifier: GPL-3.0-or-later
"""The tier of Fluentd, Elasticsearch and Kibana. None of its images can be had here: what is rendered is read by the rules that
the programs document, each rule with something that breaks it. `make lab-efk` runs it where the images can be had."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import fluentd
import pytest
import yaml
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs.redact import Redactor
from render import ROLES, render

BASE: dict[str, Any] = {
    "logging_app": "shop",
    "logging_backend": "elasticsearch",
    "logging_server": "server",
    "inventory_hostname": "server",
}
SECRET = "CANARY0123456789abcdefCANARY0123"
VARIANTS: list[dict[str, Any]] = [
    {},
    {"logging_fluentd_forward": True},
    {"logging_hosts": ["server", "far"], "logging_fluentd_forward": True},
]


def text(name: str, **changes: Any) -> str:
    return render("logging", f"elasticsearch/{name}.j2", {**BASE, **changes})


@pytest.mark.parametrize("changes", VARIANTS)
def test_fluentds_configuration(changes: dict[str, Any]) -> None:
    tree = fluentd.parse(text("fluent.conf", **changes))
    assert fluentd.problems(tree) == [] and fluentd.careless(tree) == []
    paths = [source.values["path"] for source in tree.all("source") if source.values["@type"] == "systemd"]
    assert paths == ["/var/log/journal"] + (["/var/log/journal/remote"] if "logging_hosts" in changes else [])


BREAKING = {
    "  request_timeout 30s": ("  request_timout 30s", "unknown parameter request_timout"),
    "    overflow_action block": ("    overflow_action drop", "overflow_action is 'drop'"),
    "  @type elasticsearch\n": ("  @type elastic\n", "unknown section or plugin"),
    "    flush_interval 5s": ("    flush_intervall 5s", "<buffer>: unknown parameter flush_intervall"),
    "  <storage>\n    @type local": ("  <store>\n    @type local", "closes nothing"),
    "</label>": ("", "<label> is not closed"),
    "  host elasticsearch": ("  host elasticsearch\n  host other", "host is there twice"),
    "    @type file\n": ("    @type memory\n", "no bounded buffer in files"),
    "    total_limit_size 1g\n": ("", "no bounded buffer in files"),
    "  @id redaction": ("  @id other", "an output comes before the redaction"),
    "<match {journal.**,docker}>": ("<match **>", "takes lines that the redaction does not see"),
    "<label @FLUENT_LOG>": ("<label @OTHER>", "no <label @FLUENT_LOG>"),
}


@pytest.mark.parametrize("good", BREAKING)
def test_a_broken_configuration_is_noticed(good: str) -> None:
    bad, sentence = BREAKING[good]
    whole = text("fluent.conf")
    assert good in whole
    assert sentence in verdict(whole.replace(good, bad, 1))


def verdict(configuration: str) -> str:
    try:
        tree = fluentd.parse(configuration)
    except ValueError as error:
        return str(error)
    return "\n".join(fluentd.problems(tree) + fluentd.careless(tree))


@pytest.mark.parametrize(
    "line",
    ["Authorization: Bearer abcdefgh12345678", "password=c4n4ry-secret", '{"api_key":"c4n4ry-secret"}', "postgres://u:c4n4ry-secret@h/d",
     "x eyJhbGciOiJI.eyJzdWIi.c4n4ry y", "TOKEN: c4n4ry-secret", "Authorization: Token c4n4ry-secret", "postgres://u:a/c4n4ry@h/d",
     "GET /callback?code=c4n4ry-secret"],
)  # fmt: skip
def test_fluentds_own_redaction(line: str) -> None:
    """The expressions are of the part of Ruby's language that is Python's, too."""
    tree = fluentd.parse(text("fluent.conf"))
    [redaction] = [section for section in tree.all("filter") if section.values["@id"] == "redaction"]
    shown = line
    for rule in redaction.sections:
        expression = rule.values["expression"]
        assert expression[0] == expression[-1] == "/" and not re.search(r"(?<!\\)/", expression[1:-1])
        shown = re.sub(expression[1:-1], rule.values["replace"], shown)
    assert "redacted" in shown and "c4n4ry" not in shown and "abcdefgh1234" not in shown
    assert "c4n4ry" not in Redactor().redact(line)  # and the collector's says the same


def compose(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text("compose.yml", **changes))
    return found


@pytest.mark.parametrize("changes", VARIANTS)
def test_the_project(changes: dict[str, Any]) -> None:
    services = compose(**changes)["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)  # neither 9200 nor 5601 nor 24224 is anybody's
    assert any(":24224" in port for port in ports) == bool(changes)
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"], name
        assert service["logging"]["driver"] == "local"  # never its own driver: it would wait for itself
        assert re.search(r":v?\d+\.\d+\.\d+", service["image"])
        assert name == "setup" or service["deploy"]["resources"]["limits"]["memory"]
    assert services["elasticsearch"]["environment"]["xpack.security.enabled"] == "true"
    assert services["elasticsearch"]["environment"]["xpack.security.http.ssl.enabled"] == "true"


def test_no_secret_is_rendered_anywhere() -> None:
    secrets = dict.fromkeys(("elastic_password", "kibana_password", "fluentd_password", "kibana_encryption_key"), SECRET)
    for path in (ROLES / "logging/templates/elasticsearch").iterdir():
        assert SECRET not in text(path.name.removesuffix(".j2"), logging_elasticsearch_secrets=secrets)


def test_index_template_deletes_and_stays_green() -> None:
    template = json.loads(text("index-template.json", logging_keep_days=14))
    assert (
        template["index_patterns"] == ["logs-shop-*"] and template["data_stream"] == {} and template["priority"] > 200
    )  # above Elastic's own `logs`
    assert (
        template["template"]["lifecycle"] == {"data_retention": "14d"}
        and template["template"]["settings"]["index"]["number_of_replicas"] == 0
    )
    conf = fluentd.parse(text("fluent.conf"))
    index = [section.values for section in conf.all("match")][0]
    assert index["index_name"].startswith("logs-shop-") and index["write_operation"] == "create"  # all that a data stream takes


def test_fluentd_may_write_and_nothing_else() -> None:
    assert json.loads(text("role-fluentd.json")) == {
        "cluster": ["monitor"], "indices": [{"names": ["logs-shop-*"], "privileges": ["create_doc", "auto_configure"]}],
    }  # fmt: skip


def test_fields_are_the_same_in_filter_template_and_searches() -> None:
    conf = fluentd.parse(text("fluent.conf"))
    [fields] = [section for section in conf.all("filter") if section.values["@id"] == "fields"]
    written = set(fields.sections[0].values)
    properties = json.loads(text("index-template.json"))["template"]["mappings"]["properties"]

    def names(tree: dict[str, Any], prefix: str = "") -> set[str]:
        return {
            name
            for key, node in tree.items()
            for name in (names(node["properties"], f"{prefix}{key}.") if "properties" in node else {prefix + key})
        }

    assert names(properties) == written
    objects = [json.loads(line) for line in text("saved-objects.ndjson").splitlines()]
    known = {(entry["type"], entry["id"]) for entry in objects}
    assert [entry["type"] for entry in objects] == ["index-pattern", "search", "search", "search"]
    for entry in objects[1:]:
        assert {(reference["type"], reference["id"]) for reference in entry["references"]} <= known
        source = json.loads(entry["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
        assert set(re.findall(r"([a-z.]+):", source["query"]["query"])) | set(entry["attributes"]["columns"]) <= written


def test_kibana_reads_its_secrets_from_its_environment() -> None:
    kibana = yaml.safe_load(text("kibana.yml", logging_kibana_url="https://shop.example/_kibana"))
    assert kibana["elasticsearch.password"] == "${KIBANA_PASSWORD}" and kibana["server.basePath"] == "/_kibana"
    keys = [value for name, value in kibana.items() if name.lower().endswith("encryptionkey")]
    assert keys == ["${KIBANA_KEY}"] * 3


def test_the_setup_is_a_script_that_shows_no_password() -> None:
    script = text("setup.sh")
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert not re.search(r"curl[^\n]*(-u|--user)\b", script)
