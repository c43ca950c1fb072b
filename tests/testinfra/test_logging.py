# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs on two servers: what is written is found, once, in time, without secrets; what is away for a while catches up."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from typing import Any

import pytest
from render import render

from .playbook import ROOT, play

HUB, FAR = "198.51.100.88", "198.51.100.89"
BACKEND = "kasaneha-backend-blue"
HANGS = 0.5  # seconds more of a request that waits for its line to be taken; what the way of a line costs is measured by benchmarks/logs.py
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJlLWNhbmFyeQ"


def on(address: str, command: str, code: int = 0) -> str:
    """Run a command as root on one of the two servers. It goes in by the standard input: sudo logs what stands in its arguments."""
    state = ROOT / "lab/state"
    done = subprocess.run(
        ["ssh", f"-i{state}/id_ed25519", f"-oUserKnownHostsFile={state}/known_hosts", "-oControlMaster=auto", "-oControlPersist=60",
         f"-oControlPath={state}/logs-%C", f"debian@{address}", "sudo bash -s"],
        input=command, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def find(token: str, *options: str, wait: float = 10, address: str = HUB, count: int = 1) -> list[dict[str, Any]]:
    """What the command finds of a token; it is given ten seconds."""
    command = " ".join(["kasaneha-logs --json --since '20 min ago' --grep", token, *options])
    end = time.monotonic() + wait
    while True:
        began = time.monotonic()
        found = [json.loads(line) for line in on(address, command).splitlines()]
        if len(found) >= count or time.monotonic() > end:
            return found
        # Who asks for 100,000 lines again and again keeps the collector from its work.
        time.sleep(max(0.5, 3 * (time.monotonic() - began)))


def only(token: str, *options: str, **where: Any) -> dict[str, Any]:
    found = find(token, *options, **where)
    assert len(found) == 1, found
    return found[0]


def token(name: str) -> str:
    return f"{name}{time.time_ns()}"


def container(name: str, script: str, service: str = "probe", options: str = "") -> None:
    """A container of the application that runs a script of its own, as its services log."""
    labels = f"--label kasaneha.deploy.app=kasaneha --label kasaneha.deploy.service={service} --label kasaneha.deploy.release=v9"
    image = "$(docker inspect --format '{{.Config.Image}}' kasaneha-postgres)"
    logs = "--log-driver local --log-opt max-size=20m --log-opt max-file=5"
    on(HUB, f"cat >/root/{name}.sh <<'END'\n{script}\nEND\ndocker rm --force {name} 2>/dev/null; docker run --detach --name {name} {labels} {logs} {options}"
            f" --volume /root/{name}.sh:/probe.sh:ro --user 65534 --entrypoint bash {image} /probe.sh")  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def clean() -> Any:
    for address in (HUB, FAR):
        on(address, "command -v curl && command -v openssl || apt-get install --yes --no-install-recommends curl openssl 2>&1")
    yield
    on(HUB, "docker rm --force probe flood quiet late 2>/dev/null; true")


# --- found, once, with everything about it ------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_line_of_the_backend(stream: str) -> None:
    mark = token("backend")
    # The process of the backend itself: what it has open as its output.
    file = {"stdout": 1, "stderr": 2}[stream]
    pid = on(HUB, f"docker inspect --format '{{{{.State.Pid}}}}' {BACKEND}").strip()
    on(HUB, f'echo \'{{"level":"warn","message":"{mark}"}}\' >/proc/{pid}/fd/{file}')
    entry = only(mark)
    assert {
        "service": "backend",
        "colour": "blue",
        "release": "v1.0.0",
        "level": "warning",
        "stream": stream,
        "host": "ready",
    }.items() <= entry.items()
    assert abs(time.time() - time.mktime(time.strptime(entry["time"][:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 60
    assert only(mark, "--service backend --release v1.0.0 --colour blue --level warning")["message"].endswith(f'{mark}"}}')
    for other in ("--service frontend", "--release v2", "--colour green", "--level err", "--until '10 min ago'"):
        assert find(mark, other, wait=0) == []  # the negative controls


def test_a_request_in_nginx_and_in_the_frontend() -> None:
    mark = token("page")
    on(HUB, f"curl --silent --insecure --resolve kasaneha.test:443:127.0.0.1 'https://kasaneha.test/{mark}?token=c4n4ry-in-a-query'")  # fmt: skip
    entry = only(mark, "--service nginx")
    assert entry["stream"] == "access" and json.loads(entry["message"])["status"] == 404 and entry["level"] == "info"
    assert only(mark, "--service frontend")["colour"] == "blue"
    assert "c4n4ry" not in json.dumps(find(mark))


def test_an_error_of_nginx_with_a_secret_in_its_query() -> None:
    mark = token("error")
    on(HUB, f"echo '2026/11/25 09:00:00 [error] 7#7: *1 x, request: \"GET /{mark}?password=c4n4ry HTTP/1.1\"' >>/var/log/nginx/error.log")  # fmt: skip
    entry = only(mark, "--service nginx --level err --since '400 days ago'")
    assert "password=[redacted]" in entry["message"] and "c4n4ry" not in entry["message"] and entry["stream"] == "error"


def test_postgres_and_a_secret_in_a_statement() -> None:
    mark = token("role")
    on(
        HUB,
        f"docker exec kasaneha-postgres psql -U kasaneha -d kasaneha_db -c \"ALTER ROLE {mark} PASSWORD 'c4n4ry-{mark}x'\"",
        code=1,
    )
    found = find(mark, "--service postgres")
    assert found and found[0]["level"] == "err" and "c4n4ry" not in json.dumps(found)


def test_a_unit_of_the_host() -> None:
    mark = token("unit")
    on(HUB, f"systemd-run --wait --unit={mark} echo {mark} password=c4n4ry")
    found = find(mark, f"--service {mark}")
    assert [entry["message"] for entry in found if mark + " password" in entry["message"]] == [f"{mark} password=[redacted]"]


def test_strange_lines() -> None:
    marks = {name: token(name) for name in ("long", "trace", "japan", "bytes", "secret")}
    container("probe", f"""
head -c 40960 /dev/zero | tr '\\0' x; echo {marks['long']}
printf 'Traceback (most recent call last):\\n  File "{marks['trace']}"\\n    y\\nValueError: z\\n' >&2
echo '{marks['japan']} 日本語のログ'
printf '{marks['bytes']} \\xff\\xfe\\n'
echo '{marks['secret']} Authorization: Bearer {JWT}'
""")  # fmt: skip
    assert len(only(marks["long"])["message"]) == 40960 + len(marks["long"])
    trace = only(marks["trace"])
    assert trace["message"].count("\n") == 3 and trace["level"] == "err"
    assert only(marks["japan"])["message"] == f"{marks['japan']} 日本語のログ"
    assert only(marks["bytes"])["message"] == f"{marks['bytes']} \\xff\\xfe"
    assert JWT[-20:] not in only(marks["secret"])["message"]


def test_the_secrets_of_the_server_are_nowhere_in_the_journal(secrets: dict[str, str]) -> None:
    values = " ".join(quoted(value) for value in secrets.values())
    mark = token("values")
    container("probe", f"for value in {values}; do echo {mark} odd place $value.; done")
    assert len(find(mark, count=len(secrets))) == len(secrets)
    on(HUB, "journalctl --sync")
    # In the files themselves: what the journal stored, whoever reads it.
    pattern = "\\|".join(secrets.values())
    found = on(HUB, f"journalctl --output=export --all --grep {mark} | grep --count --text -e '{pattern}' || true")
    assert found.strip() == "0"
    assert "[redacted]" in on(HUB, f"journalctl --output=cat --grep {mark}")


def test_fields_for_whoever_asks_the_journal_itself() -> None:
    fields = on(HUB, "journalctl --output=json --lines=1 KASANEHA_DEPLOY_APP=kasaneha KASANEHA_DEPLOY_SERVICE=backend")
    assert {"KASANEHA_DEPLOY_RELEASE", "KASANEHA_DEPLOY_COLOUR", "CONTAINER_NAME", "LOG_STREAM", "LOG_TIME"} <= json.loads(
        fields
    ).keys()


# --- too much, and too little ---------------------------------------------------------------------------------


def test_who_floods_loses_its_own_lines_only() -> None:
    quiet, flood = token("quiet"), token("flood")
    before = int(on(HUB, "journalctl --quiet --output=cat KASANEHA_DEPLOY_APP=kasaneha | wc -l"))
    container("quiet", f"for i in $(seq 200); do echo {quiet} $i; sleep 0.1; done", service="quiet")
    container(
        "flood",
        f"timeout 8 cat /dev/zero | tr '\\0' x | fold -w 500; timeout 3 yes {flood}; sleep 12; echo {flood} calm",
        service="flood",
    )
    found = find(quiet, "--service quiet", wait=40, count=200)
    assert len(found) == 200  # nobody else lost one
    assert find(f"'{flood} calm'", wait=30)
    kept = int(on(HUB, "kasaneha-logs --service flood --since '2 min ago' | wc -l"))
    assert 3000 <= kept < 20_000
    assert find("'is not kept'", "--service flood")
    assert int(on(HUB, "journalctl --quiet --output=cat KASANEHA_DEPLOY_APP=kasaneha | wc -l")) >= before + 200
    counted = (
        'grep -q \'^kasaneha_log_floods_total{app="kasaneha",service="flood"} [1-9]\' /var/lib/prometheus/node-exporter/logs.prom'
    )
    on(HUB, f"for i in $(seq 60); do {counted} && exit 0; sleep 1; done; exit 1")


def test_the_journal_does_not_count_the_lines_of_all_containers_as_those_of_one() -> None:
    """What systemd tells the journal of the collector's own limit: nothing, if that is 0. The journal's would hold, and whoever catches up loses lines."""
    assert on(HUB, "readlink /run/systemd/units/log-rate-limit-burst:kasaneha-logs.service").strip() == "10000000"


def test_the_collector_is_killed_again_and_again_and_nothing_is_lost_or_twice() -> None:
    mark = token("kill")
    container("late", f"for i in $(seq 1500); do echo {mark} $i; echo {mark} err $i >&2; sleep 0.01; done", service="late")
    for _ in range(5):
        time.sleep(2)
        on(HUB, "systemctl kill --signal=KILL kasaneha-logs")
    on(HUB, "docker wait late")
    assert len(find(mark, "--service late", wait=30, count=3000)) == 3000


def firing() -> str:
    """What Alertmanager has heard of."""
    return on(HUB, "curl --silent --fail http://127.0.0.1:9093/api/v2/alerts")


def seconds_of_requests() -> float:
    """The median of some."""
    ask = (
        "--silent --insecure --output /dev/null --write-out '%{time_total} %{http_code}\\n' --resolve kasaneha.test:443:127.0.0.1"
    )
    answers = on(HUB, f"for i in $(seq 40); do curl {ask} https://kasaneha.test/api/v1/info; sleep 0.12; done").splitlines()
    assert {answer.split()[1] for answer in answers} == {"200"}
    return statistics.median(float(answer.split()[0]) for answer in answers)


def test_the_collector_is_away_and_nobody_notices() -> None:
    outage, mark = 600 if os.environ.get("LONG") else 12, token("away")
    container(
        "late",
        f"i=0; while [ $SECONDS -lt {outage + 25} ]; do for _ in 1 2 3; do i=$((i+1)); echo {mark} $i; done; sleep 0.01; done",
        service="late",
    )
    before = seconds_of_requests()
    on(HUB, "systemctl stop kasaneha-logs")
    began = time.monotonic()
    during = seconds_of_requests()
    on(HUB, "docker rm --force quiet 2>/dev/null; docker run --detach --name quiet --label kasaneha.deploy.app=kasaneha --log-driver local --entrypoint echo"
            f" $(docker inspect --format '{{{{.Config.Image}}}}' kasaneha-postgres) {mark}-second; docker restart --time 1 kasaneha-frontend-blue")  # fmt: skip
    time.sleep(max(0, outage - (time.monotonic() - began)))
    assert outage < 600 or "LogCollectorStale" in firing()
    on(HUB, "systemctl start kasaneha-logs; docker wait late")
    logged = int(on(HUB, f"docker logs late | grep --count {mark}"))
    found = find(f"'{mark} [0-9]+$'", "--service late", f"--since '{outage // 30 + 5} min ago'", wait=60 + outage, count=logged)
    assert len(found) == logged > 100 * outage  # lines of a second; twice as many where the machine is idle
    assert find(f"{mark}-second")
    print(
        f"median of requests: {before * 1000:.1f} ms, {during * 1000:.1f} ms with the collector away; {logged} lines of {outage} s caught up"
    )
    assert during < before + HANGS


def test_lines_are_shown_as_they_come() -> None:
    mark = token("follow")
    container("probe", f"sleep 3; for i in 1 2 3; do echo {mark} $i; sleep 0.5; done")
    shown = on(HUB, f"timeout 8 kasaneha-logs --service probe --follow --grep {mark} --since '1 min ago' || true").splitlines()
    assert [line.rpartition(" ")[2] for line in shown] == ["1", "2", "3"]


# --- two hosts --------------------------------------------------------------------------------------------------


def test_lines_of_both_hosts_are_on_the_hub() -> None:
    mark = token("far")
    on(FAR, f"systemd-run --wait --unit={mark} echo {mark} hello")
    found = find(f"'^{mark} hello$'", "--all")
    assert [entry["host"] for entry in found] == ["watched"]
    assert find(f"'^{mark} hello$'", "--all --host ready", wait=0) == []


def test_a_stranger_is_refused() -> None:
    mark = token("stranger")
    boot = "_BOOT_ID=$(tr -d - </proc/sys/kernel/random/boot_id)"
    entry = f"printf '%s\\n' __REALTIME_TIMESTAMP=1795597200000000 __MONOTONIC_TIMESTAMP=1 {boot} MESSAGE={mark} ''"
    ask = f"curl --silent --show-error --max-time 10 --insecure --header 'Content-Type: application/vnd.fdo.journal' --data-binary @- https://{HUB}:19532/upload"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=watched -keyout /root/x.key -out /root/x.crt 2>/dev/null"
    for own in ("", " --cert /root/x.crt --key /root/x.key"):  # no certificate; one that somebody else signed
        on(FAR, f"{make}; {entry} | {ask}{own} --output /root/answer --write-out '%{{http_code}}' >/root/code; ! grep -q 202 /root/code")  # fmt: skip
    assert find(mark, "--all --since '2000-01-01'", wait=2) == []
    good = " --cert /etc/kasaneha-logs/host.crt --key /etc/kasaneha-logs/host.key"  # the negative control
    assert "202" in on(FAR, f"{entry} | {ask}{good} --output /dev/null --write-out '%{{http_code}}'")


def test_the_hub_is_away_for_a_while() -> None:
    outage, mark = 600 if os.environ.get("LONG") else 30, token("outage")
    lines = 200 * outage
    before = seconds_of_requests()
    on(HUB, "systemctl stop stunnel@kasaneha-logs")
    try:
        # A second that had its lines waits for the next one.
        script = f"for s in $(seq {outage}); do sleep 1 & for i in $(seq 200); do echo {mark} $s-$i; done; wait; done"
        limit = "--property=LogRateLimitIntervalSec=1s --property=LogRateLimitBurst=10000000"
        on(FAR, f"systemd-run --unit={mark} {limit} bash -c '{script}'")
        during = seconds_of_requests()
        on(FAR, f"while systemctl is-active --quiet {mark}; do sleep 1; done")
        assert find(mark, "--all", f"--since '{outage // 60 + 2} min ago'", wait=0) == []
        assert outage < 600 or "LogsNotSent" in firing()
        # Whoever runs site.yml meanwhile is told, and nothing stops.
        done = play("site.yml", "--limit", "watched", "--tags", "logging_verify")
        said = " ".join(done.stdout.split())
        assert done.returncode == 0 and "The log server ready (198.51.100.88:19532) does not take the lines" in said, said[-3000:]
    finally:
        on(HUB, "systemctl start stunnel@kasaneha-logs")
    began = time.monotonic()
    found = find(f"'{mark} [0-9-]+$'", "--all", f"--since '{outage // 30 + 5} min ago'", wait=60 + outage, count=lines)
    assert len({entry["message"] for entry in found}) == len(found) == lines and {entry["host"] for entry in found} == {"watched"}
    print(f"{lines} lines of {outage} s were on the log server after {time.monotonic() - began:.0f} s; requests:", before, during)
    assert during < before + HANGS


@pytest.mark.long
def test_a_certificate_that_is_gone_is_signed_anew() -> None:
    mark = token("certificate")
    on(FAR, "rm /etc/kasaneha-logs/host.crt; systemctl restart systemd-journal-upload; true")
    # The hub is left out, and signs all the same; where it cannot, nothing is begun.
    on(HUB, "mv /etc/kasaneha/logging-ca/ca.key /etc/kasaneha/logging-ca/away")
    try:
        refused = play("site.yml", "--limit", "watched", "--tags", "logging")
    finally:
        on(HUB, "mv /etc/kasaneha/logging-ca/away /etc/kasaneha/logging-ca/ca.key")
    said = " ".join(refused.stdout.split())
    assert (
        refused.returncode != 0
        and "watched: logging_server: ready, which signs the certificate of this host, is left out" in said
    )
    assert "changed=0 " in said
    done = play("site.yml", "--limit", "watched", "--tags", "logging")
    assert done.returncode == 0, done.stdout[-3000:]
    on(FAR, f"systemd-run --wait --unit={mark} echo {mark} hello")
    assert len(find(f"'^{mark} hello$'", "--all", wait=20)) == 1


def test_nothing_listens_to_everybody() -> None:
    for address in (HUB, FAR):
        listeners = on(address, "ss -Hltn").split()
        assert not [
            entry
            for entry in listeners
            if entry.endswith((":19531", ":19532")) and not entry.startswith(("127.0.0.1:", f"{HUB}:"))
        ]


# --- the page --------------------------------------------------------------------------------------------------


def test_the_page_asks_for_a_password() -> None:
    ask = "curl --silent --insecure --output {file} --write-out '%{{http_code}}' --resolve kasaneha.test:443:127.0.0.1 {login} https://kasaneha.test/_logs/{path}"
    for path in ("", "journal/entries", "page.css", "page.js", "journal/machine"):
        assert on(HUB, ask.format(file="/dev/null", login="", path=path)) == "401"
        assert on(HUB, ask.format(file="/dev/null", login="--user operator:wrong", path=path)) == "401"
    login = "--user operator:lab"
    assert on(HUB, ask.format(file="/root/page", login=login, path="")) == "200" and "<title>Logs</title>" in on(
        HUB, "cat /root/page"
    )
    query = "-H 'Accept: application/json' -H 'Range: entries=:-5:5' " + login
    assert on(HUB, ask.format(file="/root/page", login=query, path="journal/entries?KASANEHA_DEPLOY_SERVICE=backend")) == "200"
    assert all(json.loads(line)["KASANEHA_DEPLOY_SERVICE"] == "backend" for line in on(HUB, "cat /root/page").splitlines())
    assert "watched" in on(HUB, "curl --silent http://127.0.0.1:19531/fields/_HOSTNAME")


# --- Elasticsearch -------------------------------------------------------------------------------------------------


def test_compose_takes_the_project() -> None:
    """As far as it can be tried without its images."""
    tier = {
        "logging_app": "shop",
        "logging_backend": "elasticsearch",
        "logging_server": "server",
        "logging_fluentd_forward": True,
    }
    project = render("logging", "elasticsearch/compose.yml.j2", {**tier, "inventory_hostname": "server"})
    ask = "docker compose --project-directory /root --file /dev/stdin --profile setup config --format json <<'END'\n{}\nEND"
    services = json.loads(on(HUB, ask.format(project)))["services"]
    assert sorted(services) == ["elasticsearch", "fluentd", "kibana", "setup"]
    assert {port["host_ip"] for service in services.values() for port in service.get("ports", [])} == {"127.0.0.1"}
    on(HUB, ask.format(project.replace("cap_drop:", "cap_dorp:", 1)), code=15)  # the negative control


# --- what the operator runs ----------------------------------------------------------------------------------------


def test_verify_says_that_the_collector_does_not_run() -> None:
    """On a server where it does: test_operations.py."""
    on(HUB, "systemctl stop kasaneha-logs")
    try:
        done = play("playbooks/verify.yml", verify_roles=[{"role": "logging", "needed": True}])
        assert done.returncode != 0 and "FAIL  logs: the collector runs" in " ".join(done.stdout.split(" ")), done.stdout
    finally:
        on(HUB, "systemctl start kasaneha-logs")
