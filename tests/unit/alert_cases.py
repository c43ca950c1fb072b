# SPDX-License-Identifier: GPL-3.0-or-later
"""A case for each alert: series that are good, then bad for so many minutes, then good again; and what fires at the end of the bad.

A value is a number that stays, ("rate", r) a counter that grows by r a minute, "now" the time itself, None no sample. ``[good, bad]``
changes, a single value does not.
"""

from __future__ import annotations

from typing import Any

A = {"instance": "a"}
NODE = {"instance": "a", "job": "node"}
DISK = {"instance": "a", "job": "node", "mountpoint": "/", "device": "sda", "fstype": "ext4"}


def disk(**more: Any) -> dict[str, Any]:
    """A disk of 100 GB with half of it free, changed by ``more``."""
    labels = '{instance="a",job="node",mountpoint="/",device="sda",fstype="ext4"}'
    good = {"avail_bytes": 50e9, "size_bytes": 100e9, "readonly": 0, "files_free": 5e5, "files": 1e6, **more}
    return {f"node_filesystem_{name}{labels}": value for name, value in good.items()}


def container(metric: str, value: Any, **others: Any) -> dict[str, Any]:
    """A container that should run."""
    labels = '{instance="a",job="node",container="shop-redis",service="redis"}'
    return {
        f"kasaneha_container_{name}{labels}": worth
        for name, worth in {"expected": 1, "running": 1, **others, metric: value}.items()
    }


def errors(share: float, rate: float = 60.0) -> dict[str, Any]:
    """A service with traffic, of which a share fails in the bad minutes, beside one with so much more that the sum of both hides it."""
    labels = 'service="backend",path="/api",job="shop-backend",instance="a"'
    return {
        f'http_requests_total{{status="200",{labels}}}': [("rate", rate), ("rate", rate * (1 - share))],
        f'http_requests_total{{status="500",{labels}}}': [("rate", 0), ("rate", rate * share)],
        'http_requests_total{status="200",service="mailer",path="/send",job="shop-mailer",instance="a"}': ("rate", 100 * rate),
    }


def durations(service: str, rate: float, quick: Any) -> dict[str, Any]:
    """A service with traffic, of which so much is answered within a second and the rest within five."""
    metric, labels = "http_request_duration_seconds", f'service="{service}",path="/api",job="shop-{service}",instance="a"'
    return {
        f'{metric}_bucket{{le="1.0",{labels}}}': quick,
        f'{metric}_bucket{{le="5.0",{labels}}}': ("rate", rate),
        f'{metric}_bucket{{le="+Inf",{labels}}}': ("rate", rate),
        f"{metric}_count{{{labels}}}": ("rate", rate),
    }


BACKEND = {"job": "shop-backend", "service": "backend"}
SHOP = {"instance": "a", "job": "node", "container": "shop-redis", "service": "redis"}
APP = {"instance": "a", "job": "node", "app": "shop"}
BACKUP = '{instance="a",job="node",app="shop"}'
CERT = '{instance="a",job="node",certificate="shop"}'
DAYS_90 = 90 * 86400

CASES: dict[str, dict[str, Any]] = {
    # --- host
    "HostDown": {"series": {'up{job="node",instance="a"}': [1, 0]}, "minutes": 5, "fires": [NODE]},
    "NodeAbsent": {"series": {'up{job="node",instance="a"}': [1, None]}, "minutes": 20, "fires": [{"job": "node"}]},
    "DiskFull": {"series": disk(avail_bytes=[50e9, 4e9]), "minutes": 5, "fires": [DISK]},
    "DiskAlmostFull": {"series": disk(avail_bytes=[50e9, 9e9]), "minutes": 15, "fires": [DISK]},
    "DiskFullIn24h": {"series": disk(avail_bytes=[30e9, ("rate", -30e6)]), "minutes": 600, "step": 15, "fires": [DISK]},
    "InodesAlmostFull": {"series": disk(files_free=[5e5, 4e4]), "minutes": 15, "fires": [DISK]},
    "MemoryLow": {
        "series": {
            'node_memory_MemAvailable_bytes{instance="a",job="node"}': [1e9, 1e8],
            'node_memory_MemTotal_bytes{instance="a",job="node"}': 2e9,
        },
        "minutes": 15,
        "fires": [NODE],
    },
    "OomKill": {"series": {'node_vmstat_oom_kill{instance="a",job="node"}': [("rate", 0), ("rate", 1)]}, "minutes": 5, "fires": [NODE]},
    "ClockNotSynchronised": {
        "series": {
            'node_timex_sync_status{instance="a",job="node"}': [1, 0],
            'node_timex_maxerror_seconds{instance="a",job="node"}': [0.1, 16],
        },
        "minutes": 30,
        "fires": [NODE],
    },
    "SystemdUnitFailed": {
        "series": {'kasaneha_failed_unit{instance="a",job="node",unit="x.service"}': [None, 1]},
        "minutes": 10,
        "fires": [{**NODE, "unit": "x.service"}],
    },
    "RebootRequired": {"series": {'kasaneha_reboot_required{instance="a",job="node"}': [0, 1]}, "minutes": 1500, "step": 5, "fires": [NODE]},
    # --- containers
    "DockerDown": {"series": {'kasaneha_docker_up{instance="a",job="node"}': [1, 0]}, "minutes": 5, "fires": [NODE]},
    "ContainerDown": {"series": container("running", [1, 0]), "minutes": 5, "fires": [SHOP]},
    "ContainerUnhealthy": {"series": container("healthy", [1, 0]), "minutes": 10, "fires": [SHOP]},
    "ContainerRestarting": {"series": container("restarts_total", [("rate", 0), ("rate", 0.5)]), "minutes": 12, "fires": [SHOP]},
    "ContainerMemoryHigh": {"series": container("memory_bytes", [1e8, 2.4e8], memory_limit_bytes=2.5e8), "minutes": 15, "fires": [SHOP]},
    # --- databases
    "PostgresDown": {"series": {'pg_up{instance="a",job="postgres"}': [1, 0]}, "minutes": 3, "fires": [{**A, "job": "postgres"}]},
    "PostgresAbsent": {"series": {'pg_up{instance="a",job="postgres"}': [1, None]}, "minutes": 20, "fires": [{}]},
    "PostgresConnectionsHigh": {
        "series": {
            'pg_stat_database_numbackends{instance="a",datname="x"}': [3, 50],
            'pg_stat_database_numbackends{instance="a",datname="y"}': [3, 40],
            'pg_settings_max_connections{instance="a",server="s"}': 100,
        },
        "minutes": 10,
        "fires": [A],
    },
    "PostgresDeadlocks": {
        "series": {'pg_stat_database_deadlocks{instance="a",datname="x"}': [("rate", 0), ("rate", 1)]},
        "minutes": 12,
        "fires": [{**A, "datname": "x"}],
    },
    "RedisDown": {"series": {'redis_up{instance="a",job="redis"}': [1, 0]}, "minutes": 3, "fires": [{**A, "job": "redis"}]},
    "RedisAbsent": {"series": {'redis_up{instance="a",job="redis"}': [1, None]}, "minutes": 20, "fires": [{}]},
    "RedisMemoryHigh": {
        "series": {
            'redis_memory_used_bytes{instance="a",job="redis"}': [1e6, 9.5e7],
            'redis_memory_max_bytes{instance="a",job="redis"}': 1e8,
            'redis_memory_used_bytes{instance="b",job="redis"}': 9e9,
            'redis_memory_max_bytes{instance="b",job="redis"}': 0,
        },
        "minutes": 15,
        "fires": [{**A, "job": "redis"}],
    },
    "RedisNotPersisting": {
        "series": {'redis_aof_last_write_status{instance="a",job="redis"}': [1, 0], 'redis_rdb_last_bgsave_status{instance="a",job="redis"}': 1},
        "minutes": 10,
        "fires": [{**A, "job": "redis"}],
    },
    # --- edge and site
    "NginxDown": {"series": {'nginx_up{instance="a",job="nginx"}': [1, 0]}, "minutes": 3, "fires": [{**A, "job": "nginx"}]},
    "NginxAbsent": {"series": {'nginx_up{instance="a",job="nginx"}': [1, None]}, "minutes": 20, "fires": [{}]},
    "EdgeServesNothing": {
        "series": {'kasaneha_edge_serving{instance="a",job="node"}': [1, 0], 'kasaneha_edge_maintenance{instance="a",job="node"}': 0},
        "minutes": 5,
        "fires": [NODE],
    },
    "MaintenanceLong": {"series": {'kasaneha_edge_maintenance{instance="a",job="node"}': [0, 1]}, "minutes": 150, "fires": [NODE]},
    # A certificate of 90 days: renewed in time, then not, then renewed at last. Its life ends 10 days after the bad begins.
    "CertificateExpiresSoon": {
        "series": {
            f"kasaneha_cert_not_before_timestamp_seconds{CERT}": [0, -80 * 86400],
            f"kasaneha_cert_not_after_timestamp_seconds{CERT}": [DAYS_90, 10 * 86400],
        },
        "minutes": 60,
        "fires": [{**NODE, "certificate": "shop"}],
    },
    "CertificateAbsent": {"series": {f"kasaneha_cert_not_after_timestamp_seconds{CERT}": [DAYS_90, None]}, "minutes": 60, "fires": [{}]},
    "SiteDown": {
        "series": {'probe_success{job="site",instance="https://shop.test/"}': [1, 0]},
        "minutes": 5,
        "fires": [{"job": "site", "instance": "https://shop.test/"}],
    },
    "SiteAbsent": {"series": {'probe_success{job="site",instance="https://shop.test/"}': [1, None]}, "minutes": 20, "fires": [{"job": "site"}]},
    "ServedCertificateExpiresSoon": {
        "series": {
            'probe_ssl_earliest_cert_expiry{job="site",instance="https://shop.test/"}': [DAYS_90, 5 * 86400],
            f"kasaneha_cert_not_before_timestamp_seconds{CERT}": 0,
            f"kasaneha_cert_not_after_timestamp_seconds{CERT}": DAYS_90,
        },
        "minutes": 60,
        "fires": [{"job": "site", "instance": "https://shop.test/"}],
    },
    # --- services: only the colour that serves must answer; a target without a colour always must
    "ServiceDown": {
        "series": {
            'up{job="shop-backend",service="backend",instance="a",colour="blue"}': [1, 0],
            'up{job="shop-backend",service="backend",instance="a",colour="green"}': 0,
            'up{job="shop-mailer",service="mailer",instance="a",colour="blue"}': 1,
            'up{job="worker",service="worker",instance="b"}': [1, 0],
            'kasaneha_release_info{instance="a",job="node",colour="blue",release="v1"}': 1,
            'kasaneha_container_expected{instance="a",job="node",colour="blue",container="kasaneha-backend-blue",service="backend"}': 1,
            'kasaneha_container_expected{instance="a",job="node",colour="green",container="kasaneha-backend-green",service="backend"}': 0,
        },
        "minutes": 3,
        "fires": [{**A, **BACKEND, "colour": "blue"}, {"instance": "b", "job": "worker", "service": "worker"}],
    },
    "ServiceAbsent": {
        "series": {
            'up{job="shop-backend",service="backend",instance="a",colour="blue"}': [1, None],
            'up{job="shop-backend",service="backend",instance="a",colour="green"}': 0,
            'up{job="shop-mailer",service="mailer",instance="a",colour="blue"}': 1,
            'up{job="worker",service="worker",instance="b"}': 1,
            'kasaneha_release_info{instance="a",job="node",colour="blue",release="v1"}': 1,
        },
        "minutes": 20,
        "fires": [BACKEND],
    },
    "ServiceSlow": {
        "series": {**durations("backend", 60, [("rate", 60), ("rate", 30)]), **durations("mailer", 6000, ("rate", 6000))},
        "minutes": 30,
        "fires": [BACKEND],
    },
    "ErrorBudgetFastBurn": {"series": errors(0.5), "minutes": 30, "fires": [BACKEND]},
    "ErrorBudgetSlowBurn": {"series": errors(0.03), "minutes": 480, "step": 15, "fires": [BACKEND]},
    # --- backups
    "BackupStale": {"series": {f"kasaneha_backup_last_success_timestamp_seconds{BACKUP}": ["now", 36000]}, "minutes": 2600, "step": 5, "fires": [APP]},
    "BackupAbsent": {"series": {f"kasaneha_backup_last_success_timestamp_seconds{BACKUP}": ["now", None]}, "minutes": 60, "fires": [{}]},
    "BackupFailed": {"series": {f"kasaneha_backup_last_exit_code{BACKUP}": [0, 4]}, "minutes": 10, "fires": [APP]},
    "BackupDamaged": {"series": {f"kasaneha_backup_damaged_sets{BACKUP}": [0, 1]}, "minutes": 10, "fires": [APP]},
    "BackupShrunk": {"series": {f"kasaneha_backup_last_size_bytes{BACKUP}": [9e6, 4e6]}, "minutes": 20, "fires": [APP]},
    "BackupCopyMissing": {"series": {f"kasaneha_backup_missing_copies{BACKUP}": [0, 2]}, "minutes": 780, "step": 5, "fires": [APP]},
    "RestoreTestStale": {
        "series": {f"kasaneha_restore_test_last_success_timestamp_seconds{BACKUP}": ["now", 36000]},
        "minutes": 13500,
        "step": 15,
        "fires": [APP],
    },
    "RestoreTestAbsent": {
        "series": {f"kasaneha_restore_test_last_success_timestamp_seconds{BACKUP}": ["now", None]},
        "minutes": 13500,
        "step": 15,
        "fires": [{}],
    },
    # --- logs: who serves and used to write is missed, who writes errors alone is not
    "LogCollectorStale": {"series": {f"kasaneha_log_collector_timestamp_seconds{BACKUP}": ["now", 2400]}, "minutes": 10, "fires": [APP]},
    "LogCollectorAbsent": {"series": {f"kasaneha_log_collector_timestamp_seconds{BACKUP}": ["now", None]}, "minutes": 25, "fires": [{}]},
    "LogsSilent": {
        "series": {
            'http_requests_total{service="backend",instance="a",path="/api",status="200"}': ("rate", 4),
            'nginx_http_requests_total{instance="a",job="nginx"}': ("rate", 9),
            'kasaneha_log_lines_total{instance="a",job="node",app="shop",service="backend"}': [("rate", 4), ("rate", 0)],
            'kasaneha_log_lines_total{instance="a",job="node",app="shop",service="nginx"}': [("rate", 9), None],
            'http_requests_total{service="backend",instance="b",path="/api",status="200"}': ("rate", 4),
            'kasaneha_log_lines_total{instance="b",job="node",app="shop",service="backend"}': 3,
        },
        "minutes": 60,
        "step": 10,
        "fires": [{**A, "service": "backend"}, {**A, "service": "nginx"}],
    },
    "LogsDropped": {
        "series": {'kasaneha_log_floods_total{instance="a",job="node",app="shop",service="backend"}': [("rate", 0), ("rate", 0.2)]},
        "minutes": 12,
        "fires": [{**APP, "service": "backend"}],
    },
    "LogsNotSent": {"series": {f"kasaneha_log_upload_active{BACKUP}": [1, 0]}, "minutes": 15, "fires": [APP]},
    "FluentdBufferFilling": {
        "series": {'fluentd_output_status_buffer_available_space_ratio{instance="a",job="fluentd",plugin_id="elasticsearch"}': [99, 15]},
        "minutes": 15,
        "fires": [{**A, "job": "fluentd", "plugin_id": "elasticsearch"}],
    },
    # --- monitoring itself
    "Watchdog": {"series": {}, "minutes": 0, "fires": []},  # always: test_an_idle_site_is_silent
    "TargetDown": {
        "series": {'up{job="redis",instance="a"}': [1, 0], 'up{job="shop-backend",service="backend",instance="b"}': [1, 0]},
        "minutes": 10,
        "fires": [{**A, "job": "redis"}],
    },
    "AlertmanagerAbsent": {"series": {'up{job="alertmanager",instance="a"}': [1, 0]}, "minutes": 10, "fires": [{}]},
    "CollectorStale": {"series": {'node_textfile_mtime_seconds{instance="a",job="node",file="/x/kasaneha.prom"}': ["now", 2400]}, "minutes": 15, "fires": [A]},
    "CollectorAbsent": {
        "series": {
            'up{job="node",instance="a"}': 1,
            'node_textfile_mtime_seconds{instance="a",job="node",file="/x/kasaneha.prom"}': ["now", None],
        },
        "minutes": 25,
        "fires": [NODE],
    },
    "TextfileUnreadable": {"series": {'node_textfile_scrape_error{instance="a",job="node"}': [0, 1]}, "minutes": 10, "fires": [NODE]},
    "PrometheusConfigRefused": {
        "series": {'prometheus_config_last_reload_successful{instance="a",job="prometheus"}': [1, 0]},
        "minutes": 10,
        "fires": [{**A, "job": "prometheus"}],
    },
    "AlertmanagerConfigRefused": {
        "series": {'alertmanager_config_last_reload_successful{instance="a",job="alertmanager"}': [1, 0]},
        "minutes": 10,
        "fires": [{**A, "job": "alertmanager"}],
    },
    "RuleEvaluationFailing": {
        "series": {'prometheus_rule_evaluation_failures_total{instance="a",job="prometheus",rule_group="x"}': [("rate", 0), ("rate", 4)]},
        "minutes": 12,
        "fires": [{**A, "rule_group": "x"}],
    },
    "NotificationsFailing": {
        "series": {
            'alertmanager_notifications_failed_total{instance="a",job="alertmanager",integration="email",reason="other"}': [("rate", 0), ("rate", 1)],
        },
        "minutes": 15,
        "fires": [{**A, "integration": "email"}],
    },
    "PrometheusStorageFull": {
        "series": {
            'prometheus_tsdb_storage_blocks_bytes{instance="a",job="prometheus"}': [1e9, 1.99e9],
            'prometheus_tsdb_retention_limit_bytes{instance="a",job="prometheus"}': 2e9,
            'prometheus_tsdb_lowest_timestamp_seconds{instance="a",job="prometheus"}': 0,
        },
        "minutes": 90,
        "fires": [{**A, "job": "prometheus"}],
    },
}  # fmt: skip

# All of it at once, as a site without a visitor has it.
IDLE: dict[str, Any] = {
    series: both[0] if isinstance(both, list) else both for case in CASES.values() for series, both in case["series"].items()
}
IDLE = {series: ("rate", 0) if isinstance(good, tuple) else good for series, good in IDLE.items()}
IDLE['up{job="alertmanager",instance="a"}'] = 1
