#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests per second and p99 through the edge: this role's configuration, kasaneha's first one (made to start), and an nginx that
does nothing but pass on. One container, one application behind all three, in turns; the figures are of one run.

All protections are on: every request is counted by the limits (whose rates are set so high that none is refused), logged,
and dressed with every header. Clients speak TLS 1.3 and resume no session.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from pathlib import Path
from typing import Any

import report

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests/templates"), str(ROOT / "tests")]
import conftest  # noqa: E402, F401 - lets Ansible find this collection

from tests.lab.boxes import Lab  # noqa: E402
from tests.lab.edge_box import SITE, Edge  # noqa: E402

CONNECTIONS, SECONDS = 64, 3
PATHS = {"api": "/api/v1/info", "assets": "/_astro/app.0a1b2c3d.js", "new": "/api/v1/info"}
UNLIMITED = {"rate": "1000000r/s", "burst": 1000000}

# What stands behind all of them: quick, so that it does not decide.
APPLICATION = """
worker_processes 1; pid /run/application.pid; error_log /dev/null;
events { worker_connections 4096; }
http {
  access_log off; include /etc/nginx/mime.types; sendfile on; keepalive_requests 1000000;
  server { listen 127.0.0.1:18080; listen 127.0.0.1:18180; default_type application/json;
           location / { return 200 '{"release":"v1.0.0","status":"ok","database":"ok","cache":"ok"}'; } }
  server { listen 127.0.0.1:18081; listen 127.0.0.1:18181; root /var/www/kasaneha/assets; }
}
"""
TLS = """
    server_name kasaneha.test;
    ssl_certificate /etc/kasaneha/tls/kasaneha/fullchain.pem;
    ssl_certificate_key /etc/kasaneha/tls/kasaneha/privkey.pem;
"""
# The first design: one worker, no connections kept to the application, files by way of the container. Its nested location, which
# found no file at all, is made to pass on; the rates are raised as ours are.
DESIGN = """
pid /run/nginx.pid;
events { worker_connections 1024; }
http {
  upstream backend { server 127.0.0.1:18080; }
  upstream frontend { server 127.0.0.1:18081; }
  limit_req_zone $binary_remote_addr zone=api:10m rate=1000000r/s;
  limit_req_zone $binary_remote_addr zone=chat:10m rate=1000000r/s;
  server { listen 80; server_name kasaneha.test; return 301 https://$server_name$request_uri; }
  server {
    listen 443 ssl http2;
    TLS
    ssl_session_timeout 1d; ssl_session_cache shared:SSL:50m; ssl_session_tickets off;
    add_header Strict-Transport-Security "max-age=63072000; includeSubDomains; preload";
    add_header X-Frame-Options DENY;
    add_header X-Content-Type-Options nosniff;
    add_header X-XSS-Protection "1; mode=block";
    location /api/ {
      limit_req zone=api burst=1000000 nodelay;
      proxy_pass http://backend;
      proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_connect_timeout 5s; proxy_send_timeout 60s; proxy_read_timeout 60s;
    }
    location / {
      proxy_pass http://frontend;
      proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr;
      location ~* \\.(js|css|png|jpg|jpeg|gif|ico|svg)$ {
        proxy_pass http://frontend;
        expires 1y; add_header Cache-Control "public, immutable";
      }
    }
  }
}
"""
BARE = """
worker_processes auto; pid /run/nginx.pid;
events { worker_connections 4096; }
http {
  upstream backend { server 127.0.0.1:18080; keepalive 32; }
  upstream frontend { server 127.0.0.1:18081; keepalive 32; }
  proxy_http_version 1.1; proxy_set_header Connection "";
  server {
    listen 443 ssl;
    TLS
    location /api/ { proxy_pass http://backend; }
    location / { proxy_pass http://frontend; }
  }
}
"""


def load(edge: Edge, kind: str, configuration: str) -> tuple[float, float]:
    """Requests per second and p99 in ms of one kind of request through one configuration."""
    edge.put("/etc/nginx/nginx.conf", configuration)
    edge.sh(
        "nginx -t -q 2>&1; pkill -F /run/nginx.pid 2>/dev/null; sleep 0.5; truncate -s 0 /var/log/nginx/*.log; nginx 2>/dev/null; sleep 0.5"
    )
    # New connections for each request, or 64 that are kept.
    header = "-H 'Connection: close' " if kind == "new" else ""
    command = f"wrk -t2 -c{CONNECTIONS} --timeout 30s --latency {header}https://{SITE}{PATHS[kind]}"
    edge.sh(f"{command} -d1s")
    said = edge.sh(f"{command} -d{SECONDS}s")
    if "Non-2xx" in said or re.search(r"(connect|write|timeout) [1-9]", said):
        raise SystemExit(f"{kind}: not every request was answered\n{said}")
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])
    number, unit = re.findall(r"99%\s+([\d.]+)(us|ms|s)", said)[0]
    return rate, float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def main() -> None:
    """Measure, print, write benchmarks/results/edge.json."""
    options = argparse.ArgumentParser(description=__doc__)
    # On a busy machine one pair says little: 0.5 to 1.2 where the median is 0.9.
    options.add_argument("--runs", type=int, default=15)
    options.add_argument("--release", default="trixie", choices=["bookworm", "trixie"])
    chosen = options.parse_args()
    found: dict[str, list[Any]] = {}
    with Lab() as lab:
        edge = Edge(lab, chosen.release)
        edge.upstream(up=False)
        edge.sh(f"echo 127.0.0.1 {SITE} >> /etc/hosts")
        edge.put("/etc/application.conf", APPLICATION)
        edge.sh("nginx -c /etc/application.conf")
        version = edge.sh("nginx -v 2>&1").rpartition("/")[2]
        ours = edge.text(
            nginx_limits={"api": UNLIMITED, "chat": {**UNLIMITED, "only": "^POST:/api/v1/sessions(/|$)"}}, nginx_limit_exempt=[],
            nginx_connections_per_client=10000, nginx_worker_connections=4096,
        )  # fmt: skip
        configurations = {"ours": ours, "design": DESIGN.replace("    TLS\n", TLS), "bare": BARE.replace("    TLS\n", TLS)}
        for _ in range(chosen.runs):
            for kind in PATHS:
                rates = {}
                for name, configuration in configurations.items():
                    rates[name], p99 = load(edge, kind, configuration)
                    found.setdefault(f"{kind}_{name}", []).append(rates[name])
                    found.setdefault(f"{kind}_{name}_p99", []).append(p99)
                for other in ("design", "bare"):
                    found.setdefault(f"{kind}_times_{other}", []).append(rates["ours"] / rates[other])
            print({key: round(statistics.median(values), 2) for key, values in found.items() if "times" in key}, flush=True)
    units = {"p99": "ms", "design": "req/s", "ours": "req/s", "bare": "req/s"}
    figures = {
        key: report.figure("" if "times" in key else units[key.rpartition("_")[2]], values)
        for key, values in sorted(found.items())
    }
    least = {"api_times_design": 2.2, "assets_times_design": 3, "new_times_design": 1.3, "api_times_bare": 0.9}
    targets = {key: report.target(limit, figures[key]["median"], at_least=True) for key, limit in least.items()}
    report.write("edge", chosen.runs, figures, targets, {"nginx": version, "connections": CONNECTIONS, "seconds": SECONDS})


if __name__ == "__main__":
    main()
