# SPDX-License-Identifier: GPL-3.0-or-later
"""What a set says of itself: what is refused, what counts as a difference, and the SQL that makes a database whole again."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import manifest as manifests

DATABASE: dict[str, Any] = {
    "name": "shop",
    "owner": "shop",
    "encoding": "UTF8",
    "collate": "en_US.utf8",
    "ctype": "en_US.utf8",
    "provider": "c",
    "locale": None,
    "acl": None,
    "settings": [],
    "connection_limit": -1,
    "comment": None,
    "tables": [
        {"schema": "public", "name": "users", "kind": "r", "rows": 7},
        {"schema": "public", "name": "We ird;--", "kind": "r", "rows": 0},
        {"schema": "public", "name": "totals", "kind": "m"},
    ],
    "sequences": [{"schema": "public", "name": "users_id_seq", "value": 7, "dumped": 7, "increment": 1, "cycle": False}],
    "large_objects": 1,
    "extensions": [{"name": "plpgsql", "version": "1.0"}],
    "invalid": [],
}
MANIFEST: dict[str, Any] = {
    "schema": 1,
    "id": "20261125T031801Z-9893ba",
    "instance": "shop",
    "recipients": [],
    "server": {"version": "15.20", "user": "shop", "image": "postgres:15-alpine"},
    "database": DATABASE,
    "artefacts": [
        {"name": "database.dump.zst", "role": "database", "bytes": 10, "sha256": "a" * 64},
        {"name": "roles.sql.zst", "role": "roles", "bytes": 5, "sha256": "b" * 64},
        {"name": "files-uploads.tar.zst", "role": "files:uploads", "bytes": 6, "sha256": "c" * 64},
    ],
}


def changed(**changes: Any) -> dict[str, Any]:
    """The database after a restore, a little different."""
    return {**copy.deepcopy(DATABASE), **changes}


def test_a_sound_manifest() -> None:
    assert manifests.problems(MANIFEST, MANIFEST["id"], "shop") == []
    assert manifests.size(MANIFEST) == 21
    assert manifests.rows(MANIFEST) == {"public.users": 7, 'public."We ird;--"': 0}


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b", ".hidden", "manifest.json", "", None, "x\n"])
def test_an_artefact_is_a_plain_file_of_the_set(name: Any) -> None:
    entry = {**MANIFEST["artefacts"][0], "name": name}
    assert any("names a file" in text for text in manifests.problems({**MANIFEST, "artefacts": [entry]}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "not of schema 1"),
        ({"id": "20261125T031801Z-000000"}, "is that of"),
        ({"instance": "other"}, "a set of other, not of shop"),
        ({"artefacts": []}, "names no database"),
        ({"database": {}}, "does not say what is in the database"),
        ({"artefacts": None}, "names no database"),
        ({"artefacts": [{**MANIFEST["artefacts"][0], "sha256": "short"}]}, "nothing certain"),
    ],
)
def test_what_is_no_manifest_is_refused(change: dict[str, Any], said: str) -> None:
    assert any(said in text for text in manifests.problems({**MANIFEST, **change}, MANIFEST["id"], "shop"))
    assert manifests.problems([]) and manifests.problems(None)


def test_the_same_database_does_not_differ() -> None:
    assert manifests.differences(DATABASE, copy.deepcopy(DATABASE)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tables": [{**DATABASE["tables"][0], "rows": 6}, *DATABASE["tables"][1:]]}, "table public.users has 6 rows, not 7"),
        ({"tables": DATABASE["tables"][1:]}, "table public.users is missing"),
        ({"tables": DATABASE["tables"][:2]}, "materialised view public.totals is missing"),
        (
            {"tables": [*DATABASE["tables"], {"schema": "x", "name": "y", "kind": "r", "rows": 0}]},
            "table x.y is not in the manifest",
        ),
        ({"sequences": [{**DATABASE["sequences"][0], "value": 6}]}, "sequence public.users_id_seq is at 6, before 7"),
        ({"sequences": []}, "sequence public.users_id_seq is missing"),
        ({"large_objects": 0}, "0 large objects, not 1"),
        ({"extensions": []}, "extension plpgsql is missing"),
        ({"invalid": ["public.users_pkey"]}, "public.users_pkey is invalid"),
    ],
)
def test_a_difference_is_named(change: dict[str, Any], said: str) -> None:
    assert said in manifests.differences(DATABASE, changed(**change))


def test_what_may_differ() -> None:
    on = [{**DATABASE["sequences"][0], "value": 9}]  # a view that was filled again took from it
    counted = [*DATABASE["tables"][:2], {**DATABASE["tables"][2], "rows": 4}]  # as in sets of older versions
    assert manifests.differences(DATABASE, changed(sequences=on, tables=counted)) == []
    around = [{**DATABASE["sequences"][0], "value": 1, "cycle": True}]
    assert manifests.differences(DATABASE, changed(sequences=around)) == []
    older = {"schema": "public", "name": "users_id_seq", "value": 347, "increment": 1, "cycle": False}  # read beside the dump
    assert manifests.differences(changed(sequences=[older]), DATABASE) == []
    down = {**DATABASE["sequences"][0], "increment": -1, "value": -5, "dumped": -5}
    assert manifests.differences(changed(sequences=[down]), changed(sequences=[{**down, "value": -6}])) == []
    assert manifests.differences(changed(sequences=[down]), changed(sequences=[{**down, "value": -4}]))


def moment(**changes: Any) -> dict[str, Any]:
    """What there was in the database at a moment beside the dump."""
    users = {"oid": 1, "schema": "public", "name": "users", "kind": "r"}
    totals = {"oid": 2, "schema": "public", "name": "totals", "kind": "m"}
    sequence = {"schema": "public", "name": "users_id_seq", "value": 100, "increment": 1, "cycle": False}
    found = {"tables": [users, totals], "members": [], "extensions": [{"name": "hstore", "version": "1"}], "invalid": [],
             "sequences": [sequence]}  # fmt: skip
    return {**copy.deepcopy(found), **changes}


USERS, SEQUENCE = ("public", "users"), ("public", "users_id_seq")


def test_what_a_dump_holds_is_told_by_itself() -> None:
    facts, lacking, odd = manifests.dumped(moment(), moment(), {USERS: 7}, {SEQUENCE: 100}, {})
    assert facts == {
        "tables": [{"schema": "public", "name": "users", "kind": "r", "rows": 7}, {"schema": "public", "name": "totals", "kind": "m"}],
        "sequences": [{"schema": "public", "name": "users_id_seq", "dumped": 100}],
        "extensions": [{"name": "hstore", "version": "1"}],
        "invalid": [],
    }  # fmt: skip
    assert lacking == [] and odd == []


def test_what_was_changed_beside_the_dump_may_be_in_it_or_not() -> None:
    made = {"oid": 9, "schema": "public", "name": "made", "kind": "r"}
    after = moment(tables=[{**moment()["tables"][0], "oid": 3}, made], extensions=[], invalid=["public.half"])
    for tables in ({}, {USERS: 7}, {USERS: 7, ("public", "made"): 0}):
        facts, lacking, odd = manifests.dumped(moment(), after, tables, {}, {})
        assert [(entry["schema"], entry["name"]) for entry in facts["tables"]] == sorted(tables)
        assert (facts["extensions"], facts["invalid"], lacking, odd) == ([], ["public.half"], [], [])
    # The negative control: what was there all the time is in it, or it is no dump of this database.
    assert manifests.dumped(moment(), moment(), {}, {}, {})[1] == ["public.users"]


def test_rows_that_a_restore_may_give_to_another_partition_are_compared_together() -> None:
    parts = {("public", f"part {number}"): 10 + number for number in range(3)}
    roots = dict.fromkeys(list(parts)[:2], ("public", "hashed"))
    tables, _lacking, _odd = manifests.dumped(moment(), moment(), {USERS: 7, **parts}, {}, roots)
    expected = {**DATABASE, **tables, "sequences": []}
    found = {**copy.deepcopy(expected), "tables": [{**entry, "rows": entry.get("rows", 0)} for entry in expected["tables"]]}
    first, second, third = found["tables"][:3]
    first["rows"], second["rows"] = 3, 18
    assert manifests.differences(expected, found) == []
    second["rows"], third["rows"] = 17, 13  # the negative control: one is lost, and one is in a partition that it cannot be in
    assert manifests.differences(expected, found) == [
        'table public."part 2" has 13 rows, not 12',
        "table public.hashed has 20 rows, not 21",
    ]


def test_what_an_extension_keeps_is_its_own() -> None:
    config = {"schema": "public", "name": "spatial_ref_sys"}
    facts, lacking, _odd = manifests.dumped(
        moment(members=[config]), moment(), {USERS: 7, ("public", "spatial_ref_sys"): 3}, {}, {}
    )
    assert [entry["name"] for entry in facts["tables"]] == ["users", "totals"] and lacking == []


@pytest.mark.parametrize(
    ("increment", "cycle", "before", "value", "after", "odd"),
    [
        (1, False, 100, 100, 100, False),
        (1, False, 100, 150, 200, False),
        (1, False, 100, 99, 200, True),
        (1, False, 100, 201, 200, True),
        (-1, False, -5, -7, -9, False),
        (-1, False, -5, -4, -9, True),
        (1, True, 100, 3, 200, False),
        (1, False, 100, 3, 50, False),  # set back meanwhile, as TRUNCATE … RESTART IDENTITY does
    ],
)
def test_a_sequence_of_the_dump_lies_between_what_was_read_before_and_after_it(
    increment: int, cycle: bool, before: int, value: int, after: int, odd: bool
) -> None:
    entry = {"schema": "public", "name": "users_id_seq", "increment": increment, "cycle": cycle}
    moments = (moment(sequences=[{**entry, "value": read}]) for read in (before, after))
    assert bool(manifests.dumped(*moments, {USERS: 1}, {SEQUENCE: value}, {})[2]) == odd
    # One that somebody was changing was not read.
    assert manifests.dumped(moment(sequences=[]), moment(), {USERS: 1}, {SEQUENCE: value}, {})[2] == []


def test_quoting() -> None:
    assert manifests.ident("users") == "users" and manifests.ident('a"b') == '"a""b"'
    assert manifests.literal("it's") == "'it''s'" and manifests.literal("a\\'") == " E'a\\\\'''"
    assert manifests.setting("work_mem=5MB") == "\"work_mem\" TO '5MB'"
    assert manifests.setting('search_path="$user", public, "a, ""b"') == "\"search_path\" TO '$user', 'public', 'a, \"b'"
    assert manifests.setting("app.key=it's") == "\"app\".\"key\" TO 'it''s'"
    assert manifests.setting("search_path=") == "\"search_path\" TO ''"


def test_a_database_with_everything() -> None:
    database = changed(
        acl=[
            {"grantee": "", "privilege": "CONNECT", "grantable": False},
            {"grantee": "ro", "privilege": "CREATE", "grantable": True},
        ],
        settings=[{"role": None, "config": ["work_mem=5MB"]}, {"role": "ro", "config": ["statement_timeout=1s"]}],
        connection_limit=7,
        comment="the shop's",
    )
    assert manifests.properties_sql(database, "new") == [
        'REVOKE ALL ON DATABASE "new" FROM PUBLIC;',
        'REVOKE ALL ON DATABASE "new" FROM "ro";',
        'REVOKE ALL ON DATABASE "new" FROM "shop";',
        'GRANT CONNECT ON DATABASE "new" TO PUBLIC;',
        'GRANT CREATE ON DATABASE "new" TO "ro" WITH GRANT OPTION;',
        'ALTER DATABASE "new" SET "work_mem" TO \'5MB\';',
        'ALTER ROLE "ro" IN DATABASE "new" SET "statement_timeout" TO \'1s\';',
        'ALTER DATABASE "new" CONNECTION LIMIT 7;',
        "COMMENT ON DATABASE \"new\" IS 'the shop''s';",
    ]
    assert manifests.properties_sql(DATABASE, "new") == []


def test_locale_providers() -> None:
    assert "LOCALE_PROVIDER" not in manifests.create_sql(DATABASE, "new")
    assert "LOCALE_PROVIDER icu ICU_LOCALE 'ja'" in manifests.create_sql(changed(provider="i", locale="ja"), "new")
    assert "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'" in manifests.create_sql(
        changed(provider="b", locale="C.UTF-8"), "new"
    )


def role(name: str, **changes: Any) -> dict[str, Any]:
    """A role as PostgreSQL tells it."""
    no = dict.fromkeys(["superuser", "createrole", "createdb", "login", "replication", "bypassrls"], False)
    plain = {
        "name": name,
        "inherit": True,
        "connection_limit": -1,
        "password": None,
        "valid_until": None,
        "member_of": [],
        "config": [],
    }
    return {**no, **plain, **changes}


def test_roles_come_after_those_that_they_are_members_of() -> None:
    text = manifests.roles_sql(
        [role("a", member_of=[{"role": "z", "admin": True}], password="SCRAM-SHA-256$1:a'b"), role("z", login=True)]
    )
    assert text.index('CREATE ROLE "z" WITH LOGIN') < text.index('CREATE ROLE "a" WITH CONNECTION LIMIT -1')
    assert 'GRANT "z" TO "a" WITH ADMIN OPTION;' in text and text.count("IF NOT EXISTS") == 2


def test_restore_txt_is_a_script_without_our_tools() -> None:
    text = manifests.restore_text({**MANIFEST, "database": changed(name="odd name")})
    script = manifests.commands(text)
    assert script.startswith("sha256sum --check SHA256SUMS\n")
    assert "zstd -dc database.dump.zst | docker exec -i \"$PG\" pg_restore --exit-on-error -U shop -d 'odd name'" in script
    assert "tar -x -p --numeric-owner -C uploads" in script and "kasaneha" not in script
    encrypted = manifests.restore_text({**MANIFEST, "recipients": ["age1"]})
    assert "age --decrypt --identity KEY.txt database.dump.zst | zstd -dc" in encrypted


def test_the_last_word_on_a_set_counts() -> None:
    good, bad = {"level": "decode", "ok": True}, {"level": "checksum", "ok": False}
    assert manifests.verified({"verification": [good]})
    assert not manifests.verified({"verification": [good, bad]})
    assert manifests.verified({"verification": [bad, {**bad, "ok": True}]})
    assert not manifests.verified({})
