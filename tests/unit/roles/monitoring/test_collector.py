# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collector makes of what it sees, and how it asks Docker."""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

COLLECTOR = Path(__file__).parents[4] / "roles/monitoring/files/collector.py"
loader = SourceFileLoader("collector", str(COLLECTOR))
collector: Any = module_from_spec(spec_from_loader("collector", loader))
loader.exec_module(collector)

RECORD = {
    "release": "v1.1.0",
    "colour": "green",
    "since": "2026-11-25T08:00:00Z",
    "services": {"backend": {}, "frontend": {}},
    "history": [{"release": "v1.0.0", "colour": "blue", "since": "2026-11-24T08:00:00Z"}],
    "bad": {"v1.2.0": {"since": "2026-11-25T09:00:00Z", "reason": "x"}},
}


def container(name: str, colour: str = "", running: bool = True, health: str = "healthy", **more: Any) -> dict[str, Any]:
    """A container as Docker shows it."""
    labels = {"kasaneha.deploy.app": "shop", "kasaneha.deploy.service": name.split("-")[1]}
    return {
        "Name": f"/{name}",
        "Config": {"Labels": labels | ({"kasaneha.deploy.colour": colour} if colour else {})},
        "State": {"Running": running, "OOMKilled": False, "StartedAt": "2026-11-25T08:00:00.123456789Z",
                  **({"Health": {"Status": health}} if health else {})},
        "RestartCount": 2,
        "NetworkSettings": {"Networks": {"shop-data": {"IPAddress": "172.18.0.2"}, "a-first": {"IPAddress": "172.19.0.9"}}},
        "Memory": (1000, 2000),
        **more,
    }  # fmt: skip


def lines(samples: Any) -> list[str]:
    """The samples without their types."""
    return [line for line in collector.text(samples).splitlines() if line[0] != "#"]


def test_which_containers_should_run() -> None:
    found = [
        container("shop-redis"),
        container("shop-backend-green", "green", health="unhealthy"),
        container("shop-backend-blue", "blue", running=False),
        {**container("shop-migrate"), "Config": {"Labels": {"kasaneha.deploy.app": "shop"}}},  # a one-off
    ]
    text = lines(collector.container_samples(found, RECORD, "shop"))
    assert 'kasaneha_container_expected{container="shop-redis",service="redis"} 1' in text
    assert 'kasaneha_container_expected{colour="blue",container="shop-backend-blue",service="backend"} 0' in text
    assert 'kasaneha_container_running{colour="blue",container="shop-backend-blue",service="backend"} 0' in text
    assert 'kasaneha_container_healthy{colour="green",container="shop-backend-green",service="backend"} 0' in text
    assert 'kasaneha_container_memory_bytes{container="shop-redis",service="redis"} 1000' in text
    assert 'kasaneha_container_start_timestamp_seconds{container="shop-redis",service="redis"} 1795593600' in text
    # What the record names and nobody runs is missed by name.
    assert 'kasaneha_container_running{colour="green",container="shop-frontend-green",service="frontend"} 0' in text
    assert not [line for line in text if "migrate" in line]


def test_without_docker_and_without_a_record() -> None:
    assert lines(collector.container_samples(None, RECORD, "shop")) == ["kasaneha_docker_up 0"]
    assert lines(collector.container_samples([], {}, "shop")) == ["kasaneha_docker_up 1"]
    assert collector.release_samples({}) == []


def test_releases_of_then_and_now() -> None:
    text = lines(collector.release_samples(RECORD))
    assert 'kasaneha_release_info{colour="green",release="v1.1.0"} 1' in text
    assert 'kasaneha_deploy_timestamp_seconds{colour="green",release="v1.1.0",result="served"} 1795593600' in text
    assert 'kasaneha_deploy_timestamp_seconds{colour="blue",release="v1.0.0",result="served"} 1795507200' in text
    assert 'kasaneha_deploy_timestamp_seconds{colour="",release="v1.2.0",result="bad"} 1795597200' in text
    again = {**RECORD, "history": [*RECORD["history"], *RECORD["history"]]}
    assert len(lines(collector.release_samples(again))) == len(text)  # Prometheus refuses a sample that comes twice


@pytest.mark.parametrize(
    ("names", "serving", "maintenance"),
    [(["green"], 1, 0), (["blue", "green"], 0, 0), ([], 0, 0), (["blue", "maintenance"], 1, 1)],
)
def test_what_the_edge_serves(names: list[str], serving: int, maintenance: int) -> None:
    text = lines(collector.edge_samples(names, ["blue", "green"]))
    assert f"kasaneha_edge_serving {serving}" in text and f"kasaneha_edge_maintenance {maintenance}" in text
    assert collector.edge_samples(None, ["blue"]) == []


def test_the_state_is_read_through_the_link(tmp_path: Path) -> None:
    (tmp_path / "states/4").mkdir(parents=True)
    (tmp_path / "states/4/green").touch()
    (tmp_path / "live").symlink_to("states/4")
    assert collector.served(str(tmp_path)) == ["green"]
    assert collector.served(str(tmp_path / "none")) == [] and collector.served("") is None


def test_certificates_by_openssl(tmp_path: Path) -> None:
    (tmp_path / "placeholder-1").mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "10", "-subj", "/CN=x",
         "-keyout", "/dev/null", "-out", str(tmp_path / "placeholder-1/fullchain.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    (tmp_path / "shop").symlink_to("placeholder-1")
    samples = {
        (name, labels["certificate"]): value
        for name, labels, value in collector.certificate_samples(collector.certificate_dates(str(tmp_path)))
    }
    assert samples["cert_placeholder", "shop"] == 1
    assert (
        samples["cert_not_after_timestamp_seconds", "shop"] - samples["cert_not_before_timestamp_seconds", "shop"] == 10 * 86400
    )
    assert abs(samples["cert_not_before_timestamp_seconds", "shop"] - time.time()) < 60
    (tmp_path / "placeholder-1/fullchain.pem").write_text("nonsense")
    assert ("cert_not_after_timestamp_seconds", {"certificate": "shop"}, 0.0) in collector.certificate_samples(
        collector.certificate_dates(str(tmp_path))
    )


def test_failed_units() -> None:
    text = lines(collector.unit_samples("a.service loaded failed failed A thing\nb.timer loaded failed failed B\n"))
    assert text == [
        'kasaneha_failed_unit{unit="a.service"} 1',
        'kasaneha_failed_unit{unit="b.timer"} 1',
        "kasaneha_failed_units 2",
    ]
    assert lines(collector.unit_samples("")) == ["kasaneha_failed_units 0"]


def test_the_form_that_prometheus_reads() -> None:
    text = collector.text([("b_total", {"x": 'a"b\\c\nd'}, 1.0), ("a", {}, 1795593600.0), ("b_total", {"x": "e"}, 2.0)])
    assert text == (
        "# TYPE kasaneha_a gauge\nkasaneha_a 1795593600\n# TYPE kasaneha_b_total counter\n"
        'kasaneha_b_total{x="a\\"b\\\\c\\nd"} 1\nkasaneha_b_total{x="e"} 2\n'
    )


def test_where_a_database_is() -> None:
    found = [container("shop-redis"), container("shop-postgres", running=False)]
    assert collector.address(found, "shop-redis", "shop-data") == "172.18.0.2"
    assert collector.address(found, "shop-redis", "gone") == "172.19.0.9"
    assert collector.address(found, "shop-postgres", "shop-data") == "" == collector.address(None, "shop-redis", "shop-data")


@pytest.mark.parametrize("cache", ["inactive_file", "total_inactive_file"])  # of cgroup v2 and v1
def test_memory_without_what_can_be_dropped(cache: str) -> None:
    assert collector.memory({"usage": 100, "limit": 500, "stats": {cache: 40}}) == (60, 500)
    assert collector.memory({}) == (0, 0)


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[str]:
    """A Docker that knows two containers, of which one goes away while it is looked at."""

    class Answers(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            known: dict[str, Any] = {
                "/containers/json": [{"Id": "1"}, {"Id": "2"}],
                "/containers/1/json": container("shop-redis"),
                "/containers/1/stats": {"memory_stats": {"usage": 7, "limit": 9}},
            }
            content = known.get(self.path.split("?")[0])
            body = json.dumps(content).encode()
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "x"

        def log_message(self, *_arguments: Any) -> None:
            pass

    path = str(tmp_path / "docker.sock")
    with socketserver.ThreadingUnixStreamServer(path, Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield path
        server.shutdown()


def test_docker_is_asked_by_its_socket(docker: str, tmp_path: Path) -> None:
    [found] = collector.containers("shop", docker) or []
    assert found["Name"] == "/shop-redis" and found["Memory"] == (7, 9)
    assert collector.containers("shop", str(tmp_path / "none")) is None


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "x.prom"
    assert collector.write(file, "a\n") and not collector.write(file, "a\n") and collector.write(file, "b\n", 0o600)
    assert file.read_text() == "b\n" and file.stat().st_mode & 0o777 == 0o600
    os.utime(file, (1, 1))
    collector.write(file, "b\n")
    assert time.time() - file.stat().st_mtime < 60  # its age says when this ran
    assert [path.name for path in tmp_path.iterdir()] == ["x.prom"]


def test_the_file_runs_on_its_own(tmp_path: Path) -> None:
    config = {"app": "shop", "docker": False, "record": str(tmp_path / "none"), "colours": ["blue"], "edge": "", "tls": "",
              "output": str(tmp_path / "out.prom"), "follow": []}  # fmt: skip
    (tmp_path / "config").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-I", str(COLLECTOR), str(tmp_path / "config")],
        capture_output=True, text=True, check=False, env={**os.environ, "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "kasaneha_reboot_required 0\n" in (tmp_path / "out.prom").read_text()
