# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What a set says about itself, and whether a restored database is what it says. Values in, values out; no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

SCHEMA = 1
ARTEFACT = re.compile(r"[a-z0-9][a-z0-9._-]*")  # a plain name: no directory, no way out of the set
Name = tuple[str, str]  # a schema, and a name in it
OWN_FILES = ("manifest.json", "RESTORE.txt", "SHA256SUMS", "state.json")


def problems(manifest: Any, name: str = "", instance: str = "") -> list[str]:
    """Why this is no manifest that can be trusted; empty: it is one.

    :param name: the directory that it lies in; ``instance`` whose directory that is in. Empty: any.
    """
    if not isinstance(manifest, Mapping) or manifest.get("schema") != SCHEMA:
        return [f"manifest.json is not of schema {SCHEMA}."]
    found = []
    if name and manifest.get("id") != name:
        found.append(f"manifest.json is that of {manifest.get('id')}.")
    if instance and manifest.get("instance") != instance:
        found.append(f"it is a set of {manifest.get('instance')}, not of {instance}.")
    artefacts = manifest.get("artefacts")
    if not isinstance(artefacts, list) or not any(entry.get("role") == "database" for entry in artefacts):
        return [*found, "manifest.json names no database."]
    database = manifest.get("database")
    if not isinstance(database, Mapping) or not isinstance(database.get("tables"), list):
        found.append("manifest.json does not say what is in the database.")
    for entry in artefacts:
        if not ARTEFACT.fullmatch(str(entry.get("name"))) or entry["name"] in OWN_FILES:
            found.append(f"manifest.json names a file {entry.get('name')!r}.")
        elif not isinstance(entry.get("bytes"), int) or not re.fullmatch("[0-9a-f]{64}", str(entry.get("sha256"))):
            found.append(f"manifest.json says nothing certain about {entry['name']}.")
    return found


def artefact(manifest: Mapping[str, Any], role: str) -> dict[str, Any] | None:
    """The entry of the artefact with that role: ``database``, ``roles``, ``files:<name>``."""
    return next((dict(entry) for entry in manifest["artefacts"] if entry["role"] == role), None)


def size(manifest: Mapping[str, Any]) -> int:
    """Bytes of all artefacts."""
    return sum(entry["bytes"] for entry in manifest["artefacts"])


def rows(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Quoted name of each table -> its rows in the dump."""
    return {qualified(table): table["rows"] for table in manifest["database"]["tables"] if table["kind"] == "r"}


def qualified(entry: Mapping[str, Any]) -> str:
    """schema.name, each as SQL writes it."""
    return f"{ident(entry['schema'])}.{ident(entry['name'])}"


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """How a restored database differs from what was dumped; empty: it does not.

    Both are the ``database`` part of a manifest. A sequence must not be behind the value that the dump sets; sets of older versions,
    which have no ``dumped``, hold another one, of which nothing follows. Materialised views are computed again by a restore, so only
    that they are filled counts.
    """
    wrong = []
    for kind, what in (("r", "table"), ("m", "materialised view")):
        # Rows of partitions that a restore may give to others are compared as those of the table that these are part of.
        roots = {qualified(entry): entry["root"] for entry in expected["tables"] if "root" in entry}
        before, after = (_sums(entries, kind, roots) for entries in (expected["tables"], found["tables"]))
        wrong += [f"{what} {name} is missing" for name in sorted(set(before) - set(after))]
        wrong += [f"{what} {name} is not in the manifest" for name in sorted(set(after) - set(before))]
        if kind == "r":
            both = sorted(set(before) & set(after))
            wrong += [f"table {name} has {after[name]} rows, not {before[name]}" for name in both if before[name] != after[name]]
    values = {qualified(entry): entry for entry in found["sequences"]}
    for entry in expected["sequences"]:
        now = values.get(qualified(entry))
        if now is None:
            wrong.append(f"sequence {qualified(entry)} is missing")
        elif (
            "dumped" in entry and not now["cycle"] and (now["value"] - entry["dumped"]) * (1 if now["increment"] > 0 else -1) < 0
        ):
            wrong.append(f"sequence {qualified(entry)} is at {now['value']}, before {entry['dumped']}")
    if expected["large_objects"] != found["large_objects"]:
        wrong.append(f"{found['large_objects']} large objects, not {expected['large_objects']}")
    missing = {entry["name"] for entry in expected["extensions"]} - {entry["name"] for entry in found["extensions"]}
    wrong += [f"extension {name} is missing" for name in sorted(missing)]
    new = sorted(set(found["invalid"]) - set(expected["invalid"]))
    wrong += [f"{name} is invalid" for name in new]
    return wrong


def _sums(entries: Iterable[Mapping[str, Any]], kind: str, roots: Mapping[str, str]) -> dict[str, int]:
    """Quoted name of each table of a kind, or of the one that it is part of -> rows."""
    sums: dict[str, int] = {}
    for entry in entries:
        if entry["kind"] == kind:
            name = roots.get(qualified(entry), qualified(entry))
            sums[name] = sums.get(name, 0) + entry.get("rows", 0)
    return sums


def dumped(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    tables: Mapping[Name, int],
    sequences: Mapping[Name, int],
    roots: Mapping[Name, Name],
) -> tuple[dict[str, Any], list[str], list[str]]:
    """What a dump holds, in the words of a manifest; the tables whose rows it lacks; and what is odd about its sequences.

    :param before: what there was in the database when the dump began; ``after`` when it had ended. What was made, dropped or renamed
        meanwhile may be in the dump or not.
    :param tables: schema and name -> rows in the dump; ``sequences`` -> the value that it sets; ``roots`` of partitions -> the table that
        a restore gives their rows to.
    """
    members = {_key(entry) for moment in (before, after) for entry in moment["members"]}  # those of an extension are its own
    steady = [entry for entry in before["tables"] if entry in after["tables"]]
    lacking = [qualified(entry) for entry in steady if entry["kind"] == "r" and _key(entry) not in tables]
    known = {entry["name"] for entry in after["extensions"]}
    facts = {
        "tables": [
            *(
                {
                    "schema": name[0],
                    "name": name[1],
                    "kind": "r",
                    "rows": tables[name],
                    **({"root": ".".join(map(ident, roots[name]))} if name in roots else {}),
                }
                for name in sorted(set(tables) - members)
            ),
            *({"schema": entry["schema"], "name": entry["name"], "kind": "m"} for entry in steady if entry["kind"] == "m"),
        ],
        "sequences": [
            {"schema": name[0], "name": name[1], "dumped": sequences[name]} for name in sorted(set(sequences) - members)
        ],
        "extensions": [entry for entry in before["extensions"] if entry["name"] in known],
        "invalid": sorted({*before["invalid"], *after["invalid"]}),
    }
    odd = []
    later = {_key(entry): entry for entry in after["sequences"]}
    for entry in before["sequences"]:
        value, now = sequences.get(_key(entry)), later.get(_key(entry))
        if value is None or now is None or entry["cycle"] or now["cycle"]:
            continue
        way = 1 if entry["increment"] > 0 else -1
        # One that was set back meanwhile has been anywhere.
        if (now["value"] - entry["value"]) * way >= 0 and not 0 <= (value - entry["value"]) * way <= (
            now["value"] - entry["value"]
        ) * way:
            odd.append(
                f"sequence {qualified(entry)} is at {value} in the dump, and was at {entry['value']} before and {now['value']} after it"
            )
    return facts, lacking, odd


def _key(entry: Mapping[str, Any]) -> Name:
    return entry["schema"], entry["name"]


# --- SQL that a set needs to be whole again ---------------------------------------------------------------


def ident(name: str) -> str:
    """A name as SQL writes it."""
    return name if re.fullmatch("[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def quoted(name: str) -> str:
    """A name in quotes, which is right for key words as well."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A string as SQL writes it, whatever standard_conforming_strings says."""
    text = value.replace("'", "''")
    return " E'" + text.replace("\\", "\\\\") + "'" if "\\" in text else f"'{text}'"


LISTS = {"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries", "unix_socket_directories"}


def setting(entry: str) -> str:
    """``name=value`` of a catalogue as ``name TO value`` of SQL."""
    name, _equals, value = entry.partition("=")
    if name in LISTS:  # stored as a list of quoted names, and taken as one
        parts = re.findall(r'"(?:[^"]|"")*"|[^,\s]+', value)
        plain = [part[1:-1].replace('""', '"') if part.startswith('"') else part for part in parts]
        return f"{quoted(name)} TO {', '.join(map(literal, plain or ['']))}"
    # name may have two parts, as those of extensions do
    return f"{'.'.join(map(quoted, name.split('.')))} TO {literal(value)}"


def create_sql(database: Mapping[str, Any], name: str) -> str:
    """CREATE DATABASE with the encoding and locale that the manifest gives."""
    words = [
        f"CREATE DATABASE {quoted(name)} TEMPLATE template0 OWNER {quoted(database['owner'])}",
        f"ENCODING {literal(database['encoding'])}",
    ]
    for word, key in (("LC_COLLATE", "collate"), ("LC_CTYPE", "ctype")):
        words += [f"{word} {literal(database[key])}"] if database.get(key) else []
    if database.get("provider") == "i":
        words += ["LOCALE_PROVIDER icu", f"ICU_LOCALE {literal(database['locale'])}"]
    elif database.get("provider") == "b":
        words += ["LOCALE_PROVIDER builtin", f"BUILTIN_LOCALE {literal(database['locale'])}"]
    return " ".join(words) + ";"


def properties_sql(database: Mapping[str, Any], name: str) -> list[str]:
    """What ``pg_restore`` does not give back to a database under another name: rights, settings, limit, comment."""
    target = quoted(name)
    lines = []
    if database["acl"] is not None:
        grantees = sorted({entry["grantee"] for entry in database["acl"]} | {"", database["owner"]})
        lines += [f"REVOKE ALL ON DATABASE {target} FROM {quoted(who) if who else 'PUBLIC'};" for who in grantees]
        lines += [
            f"GRANT {entry['privilege']} ON DATABASE {target} TO {quoted(entry['grantee']) if entry['grantee'] else 'PUBLIC'}"
            f"{' WITH GRANT OPTION' if entry['grantable'] else ''};"
            for entry in database["acl"]
        ]
    for entry in database["settings"]:
        who = f"ROLE {quoted(entry['role'])} IN DATABASE {target}" if entry["role"] else f"DATABASE {target}"
        lines += [f"ALTER {who} SET {setting(value)};" for value in entry["config"]]
    if database["connection_limit"] != -1:
        lines.append(f"ALTER DATABASE {target} CONNECTION LIMIT {database['connection_limit']};")
    if database["comment"]:
        lines.append(f"COMMENT ON DATABASE {target} IS {literal(database['comment'])};")
    return lines


def roles_sql(roles: Iterable[Mapping[str, Any]]) -> str:
    """Creates the roles that are missing, with their password verifiers, and leaves alone those that are there."""
    left = {role["name"]: role for role in roles}
    lines = []
    words = {"superuser": "SUPERUSER", "createrole": "CREATEROLE", "createdb": "CREATEDB", "login": "LOGIN",
             "replication": "REPLICATION", "bypassrls": "BYPASSRLS"}  # fmt: skip
    while left:
        # Whoever is a member of others comes after them.
        role = next(entry for entry in left.values() if not any(other["role"] in left for other in entry["member_of"]))
        del left[role["name"]]
        name = quoted(role["name"])
        options = [word for key, word in words.items() if role[key]] + ([] if role["inherit"] else ["NOINHERIT"])
        options.append(f"CONNECTION LIMIT {role['connection_limit']}")
        options += [f"PASSWORD {literal(role['password'])}"] if role["password"] else []
        options += [f"VALID UNTIL {literal(role['valid_until'])}"] if role["valid_until"] else []
        statements = [f"CREATE ROLE {name} WITH {' '.join(options)};"]
        statements += [f"ALTER ROLE {name} SET {setting(entry)};" for entry in role["config"]]
        statements += [
            f"GRANT {quoted(entry['role'])} TO {name}{' WITH ADMIN OPTION' if entry['admin'] else ''};"
            for entry in role["member_of"]
        ]
        body = "".join(f"EXECUTE {literal(statement)}; " for statement in statements)
        missing = f"NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal(role['name'])})"
        lines.append(f"DO {literal(f'BEGIN IF {missing} THEN {body}END IF; END')};")
    return "\n".join(lines) + "\n"


# --- for people --------------------------------------------------------------------------


def restore_text(manifest: Mapping[str, Any]) -> str:
    """How to restore the set with nothing but docker, zstd, tar and (if encrypted) age. CI runs the lines with a $."""
    database = manifest["database"]
    encrypted = bool(manifest["recipients"])
    open_it = "age --decrypt --identity KEY.txt {0} | zstd -dc" if encrypted else "zstd -dc {0}"
    name = {role: entry["name"] for entry in manifest["artefacts"] for role in [entry["role"]]}
    properties = "\n".join(f"$ {line}" for line in properties_sql(database, database["name"]))
    files = "\n".join(
        f"$ mkdir -p {role[6:]} && {open_it.format(file)} | tar -x -p --numeric-owner -C {role[6:]}"
        for role, file in name.items()
        if role.startswith("files:")
    )
    return f"""Backup {manifest["id"]} of {manifest["instance"]}, database {database["name"]}, PostgreSQL {manifest["server"]["version"]}.
Restore it without any tool of ours: docker (or PostgreSQL), zstd, tar{" and age with the identity KEY.txt" if encrypted else ""}.
Lines that begin with $ are commands for a shell in this directory; PG names the container of an empty PostgreSQL server.

1. Is the set whole?
$ sha256sum --check SHA256SUMS

2. A server of the same version, with the superuser {manifest["server"]["user"]}, if there is none:
   docker run -d --name PG -e POSTGRES_USER={manifest["server"]["user"]} -e POSTGRES_PASSWORD=... {manifest["server"]["image"]}

3. Roles, an empty database, its contents (any error stops it):
$ {open_it.format(name["roles"])} | docker exec -i "$PG" psql -X -v ON_ERROR_STOP=1 -U {manifest["server"]["user"]} -d postgres
$ docker exec -i "$PG" psql -X -v ON_ERROR_STOP=1 -U {manifest["server"]["user"]} -d postgres <<'SQL'
$ {create_sql(database, database["name"])}
{properties}
$ SQL
$ {open_it.format(name["database"])} | docker exec -i "$PG" pg_restore --exit-on-error -U {manifest["server"]["user"]} -d {shell(database["name"])}
$ docker exec "$PG" vacuumdb --analyze-only -U {manifest["server"]["user"]} -d {shell(database["name"])}

4. Files, each into a directory of its own here:
{files or "   none"}

5. Compare with manifest.json: database.tables holds the rows of every table at the moment of the dump.
"""


def shell(word: str) -> str:
    """A word as a shell takes it."""
    return word if re.fullmatch(r"[\w./:-]+", word) else "'" + word.replace("'", "'\"'\"'") + "'"


def commands(text: str) -> str:
    """The commands of a RESTORE.txt as one script."""
    return "".join(f"{line[2:]}\n" for line in text.splitlines() if line.startswith("$ "))


def verified(state: Mapping[str, Any]) -> bool:
    """Whether the last word on a set is a good one."""
    checks: Iterable[Mapping[str, Any]] = state.get("verification", [])
    last: dict[str, bool] = {entry["level"]: bool(entry["ok"]) for entry in checks}
    return bool(last) and all(last.values())
