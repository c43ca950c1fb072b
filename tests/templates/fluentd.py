# SPDX-License-Identifier: GPL-3.0-or-later
"""Fluentd's configuration, read by its grammar (v1) and held against the parameters that its plugins document.

The names were taken from the documentation of Fluentd 1.19 and of the plugins in the pinned image (elasticsearch 6.0, systemd 1.1,
record-modifier 2.2, prometheus 2.2), 2026-11. Fluentd itself only warns of a parameter that it does not know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

COMMON = {"@type", "@id", "@label", "@log_level", "tag"}
BUFFER = {
    "@type", "path", "flush_mode", "flush_interval", "flush_at_shutdown", "flush_thread_count", "chunk_limit_size", "chunk_limit_records",
    "total_limit_size", "overflow_action", "retry_type", "retry_max_interval", "retry_forever", "retry_wait", "retry_timeout", "timekey", "compress",
}  # fmt: skip
STORAGE = {"@type", "persistent", "path", "autosave", "save_at_shutdown", "pretty_print"}
RECORD = None  # a section whose keys are fields of records: any name
# (section, @type) -> its parameters; its sections -> theirs.
PARAMETERS: dict[tuple[str, str], tuple[set[str], dict[str, set[str] | None]]] = {
    ("system", ""): ({"log_level", "process_name", "workers", "root_dir", "suppress_repeated_stacktrace", "enable_size_metrics"}, {"log": {"format"}}),
    ("source", "systemd"): ({"path", "filters", "matches", "read_from_head"},
                            {"storage": STORAGE, "entry": {"field_map", "field_map_strict", "fields_strip_underscores", "fields_lowercase"}}),
    ("source", "forward"): ({"bind", "port", "chunk_size_limit", "chunk_size_warn_limit", "skip_invalid_event", "source_hostname_key",
                             "source_address_key", "add_tag_prefix", "deny_keepalive", "send_keepalive_packet"}, {}),
    ("source", "prometheus"): ({"bind", "port", "metrics_path", "aggregated_metrics_path"}, {}),
    ("source", "prometheus_output_monitor"): ({"interval", "gauge_all"}, {"labels": RECORD}),
    ("filter", "record_modifier"): ({"char_encoding", "remove_keys", "whitelist_keys", "prepare_value"},
                                    {"record": RECORD, "replace": {"key", "expression", "replace"}}),
    ("filter", "record_transformer"): ({"enable_ruby", "auto_typecast", "renew_record", "renew_time_key", "keep_keys", "remove_keys"}, {"record": RECORD}),
    ("match", "elasticsearch"): ({
        "host", "port", "hosts", "scheme", "path", "ca_file", "ssl_verify", "ssl_version", "ssl_min_version", "ssl_max_version", "user", "password",
        "index_name", "write_operation", "suppress_type_name", "time_key", "include_timestamp", "reload_connections", "reconnect_on_error",
        "reload_on_failure", "request_timeout", "log_es_400_reason", "verify_es_version_at_startup", "default_elasticsearch_version",
        "bulk_message_request_threshold", "id_key", "template_name", "logstash_format",
    }, {"buffer": BUFFER}),
    ("match", "stdout"): (set(), {}),
}  # fmt: skip
ENUMS = {
    "overflow_action": {"block", "throw_exception", "drop_oldest_chunk"}, "flush_mode": {"default", "lazy", "interval", "immediate"},
    "retry_type": {"exponential_backoff", "periodic"}, "scheme": {"http", "https"}, "write_operation": {"index", "create", "update", "upsert"},
    **dict.fromkeys(("persistent", "read_from_head", "enable_ruby", "renew_record", "ssl_verify", "suppress_type_name", "include_timestamp",
                     "retry_forever", "skip_invalid_event", "fields_lowercase", "fields_strip_underscores"), {"true", "false"}),
}  # fmt: skip
OPEN = re.compile(r"<(\w+)(?:\s+([^>]+))?>")


@dataclass
class Section:
    """``<name argument>`` with what is in it."""

    name: str
    argument: str = ""
    values: dict[str, str] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)

    def all(self, name: str) -> list[Section]:
        return [section for section in self.sections if section.name == name]


def parse(text: str) -> Section:
    """The configuration as a tree.

    :raises ValueError: it is none.
    """
    stack = [Section("")]
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#(?!\{).*$", "", raw).strip()
        if not line:
            continue
        opened = OPEN.fullmatch(line)
        if line.startswith("</"):
            if len(stack) == 1 or line != f"</{stack[-1].name}>":
                raise ValueError(f"line {number}: {line} closes nothing that is open")
            stack.pop()
        elif opened:
            section = Section(opened[1], (opened[2] or "").strip())
            stack[-1].sections.append(section)
            stack.append(section)
        elif re.match(r"[@\w.]+(\s|$)", line) and len(stack) > 1:
            name, _space, value = line.partition(" ")
            if name in stack[-1].values:
                raise ValueError(f"line {number}: {name} is there twice")
            stack[-1].values[name] = value.strip()
        else:
            raise ValueError(f"line {number}: {line!r} is neither a section nor a parameter")
    if len(stack) > 1:
        raise ValueError(f"<{stack[-1].name}> is not closed")
    return stack[0]


def problems(tree: Section) -> list[str]:
    """What Fluentd would refuse, warn of, or do to our harm."""
    found = []
    for section in tree.sections:
        if section.name == "label":
            found += problems(section)
            continue
        kind = section.values.get("@type", "")
        where = f"<{section.name} {section.argument}> {kind}".replace(" >", ">")
        if (section.name, kind) not in PARAMETERS:
            found.append(f"{where}: unknown section or plugin")
            continue
        parameters, inner = PARAMETERS[section.name, kind]
        found += [f"{where}: unknown parameter {name}" for name in section.values if name not in parameters | COMMON]
        found += wrong_values(where, section)
        for child in section.sections:
            known = inner.get(child.name, set()) if child.name in inner else set()
            if child.name not in inner:
                found.append(f"{where}: unknown section <{child.name}>")
            elif known is not None:
                found += [f"{where} <{child.name}>: unknown parameter {name}" for name in child.values if name not in known]
                found += wrong_values(f"{where} <{child.name}>", child)
    return found


def wrong_values(where: str, section: Section) -> list[str]:
    return [
        f"{where}: {name} is {section.values[name]!r}"
        for name, allowed in ENUMS.items()
        if name in section.values and section.values[name] not in allowed
    ]


def careless(tree: Section) -> list[str]:
    """What works and loses lines or secrets."""
    found = []
    order = [(section.name, section.values.get("@id", ""), section) for section in tree.sections]
    outputs = [index for index, (name, _id, _section) in enumerate(order) if name == "match"]
    redaction = [index for index, (_name, identity, _section) in enumerate(order) if identity == "redaction"]
    if not redaction or min(outputs) < redaction[0]:
        found.append("an output comes before the redaction")
    for index in outputs:
        output = order[index][2]
        if redaction and output.argument != order[redaction[0]][2].argument:
            found.append(f"<match {output.argument}> takes lines that the redaction does not see")
        buffers = output.all("buffer")
        if output.values.get("@type") != "stdout" and not (
            buffers
            and buffers[0].values.get("@type") == "file"
            and {"total_limit_size", "overflow_action"} <= set(buffers[0].values)
        ):
            found.append(f"<match {output.argument}>: no bounded buffer in files")
        if output.argument in ("**", "*") or output.argument.startswith("fluent"):
            found.append(f"<match {output.argument}>: Fluentd's own lines go round in a circle")
    if not any(section.name == "label" and section.argument == "@FLUENT_LOG" for section in tree.sections):
        found.append("no <label @FLUENT_LOG>")
    return found
