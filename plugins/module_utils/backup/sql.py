# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The questions that backups ask PostgreSQL. Each row comes back as one line of JSON."""

from __future__ import annotations

# Nothing of the session's may change what is read, or end it early; and where PostgreSQL can (14 and later), a query of somebody who
# was killed ends with him, so that his locks do.
QUIET = """
SET statement_timeout = 0; SET lock_timeout = '60s'; SET idle_in_transaction_session_timeout = 0; SET row_security = off;
SET search_path = pg_catalog; SET log_min_duration_statement = -1;
SELECT to_json(set_config(name, CASE name WHEN 'client_connection_check_interval' THEN '1s' ELSE '0' END, false))
FROM pg_settings WHERE name IN ('client_connection_check_interval', 'idle_session_timeout', 'transaction_timeout')
"""

# At the beginning of each session. Where PostgreSQL cannot convert, names come as the bytes that they are.
ENCODING = """SELECT set_config('client_encoding',
  CASE WHEN getdatabaseencoding() IN ('SQL_ASCII', 'MULE_INTERNAL') THEN getdatabaseencoding() ELSE 'UTF8' END, false) \\gset
"""

SERVER = """
SELECT json_build_object('version', current_setting('server_version'), 'version_num', current_setting('server_version_num')::int,
  'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
  'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
  'databases', (SELECT json_agg(datname) FROM pg_database WHERE NOT datistemplate))
"""

# to_jsonb(d): the names of some columns differ between versions.
DATABASE = """
SELECT json_build_object('name', d.datname, 'oid', d.oid::bigint, 'size_bytes', pg_database_size(d.oid),
  'encoding', pg_encoding_to_char(d.encoding), 'collate', d.datcollate, 'ctype', d.datctype,
  'provider', coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'),
  'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
  'collversion', to_jsonb(d) ->> 'datcollversion',
  'owner', pg_get_userbyid(d.datdba), 'connection_limit', d.datconnlimit, 'comment', shobj_description(d.oid, 'pg_database'),
  'acl', CASE WHEN d.datacl IS NOT NULL THEN coalesce((SELECT json_agg(json_build_object(
      'grantee', CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END, 'privilege', a.privilege_type, 'grantable', a.is_grantable))
    FROM aclexplode(d.datacl) a), '[]') END,
  'settings', coalesce((SELECT json_agg(json_build_object(
      'role', CASE s.setrole WHEN 0 THEN NULL ELSE pg_get_userbyid(s.setrole) END, 'config', s.setconfig))
    FROM pg_db_role_setting s WHERE s.setdatabase = d.oid), '[]'))
FROM pg_database d WHERE d.datname = current_database()
"""

# Catalogues alone: nobody who changes a table waits for this, and this for nobody. Everything whose rows a dump holds: no parents of
# partitions (their leaves are counted).
CATALOG = """
WITH mine AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind, EXISTS (
      SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e') AS member
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE (c.relkind IN ('r', 'S') OR (c.relkind = 'm' AND c.relispopulated)) AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
)
SELECT json_build_object(
  'tables', coalesce((SELECT json_agg(json_build_object('oid', oid::bigint, 'schema', nspname, 'name', relname, 'kind', relkind)
    ORDER BY nspname, relname) FROM mine WHERE NOT member AND relkind <> 'S'), '[]'),
  'members', coalesce((SELECT json_agg(json_build_object('schema', nspname, 'name', relname)) FROM mine WHERE member), '[]'),
  'extensions', coalesce((SELECT json_agg(json_build_object('name', extname, 'version', extversion) ORDER BY extname) FROM pg_extension), '[]'),
  'invalid', coalesce((SELECT json_agg(i.indexrelid::regclass::text) FROM pg_index i WHERE NOT i.indisvalid), '[]'))
"""

# The rows of every table, in a database that is nobody's yet: elsewhere this would hold up who changes one, and be held up by him.
COUNTS = """
SELECT format('SELECT json_build_object(''schema'', %L::text, ''name'', %L::text, ''kind'', ''r'', ''rows'', count(*)) FROM ONLY %I.%I',
  n.nspname, c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY n.nspname, c.relname
\\gexec
"""

# A row for each table that has any.
FILLED = """
SELECT format('SELECT to_json(true) WHERE EXISTS (SELECT FROM ONLY %I.%I)', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
\\gexec
"""

# What somebody has made in a database: what initdb makes has smaller numbers.
MADE = "SELECT to_json(count(*)) FROM pg_class WHERE oid >= 16384"

SEQUENCES = """
SELECT format('SELECT json_build_object(''schema'', %L::text, ''name'', %L::text, ''value'', last_value, ''increment'', %s, ''cycle'', %L::boolean)
  FROM %I.%I', n.nspname, c.relname, s.seqincrement, s.seqcycle, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid
WHERE c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY n.nspname, c.relname
\\gexec
"""

# Each in a transaction of its own, and those left out that somebody is changing: a backup neither waits for these nor fails.
SEQUENCES_NOW = f"""
\\set ON_ERROR_STOP 0
SET lock_timeout = '100ms';
{SEQUENCES}
SET lock_timeout = '60s';
\\set ON_ERROR_STOP 1
"""

LARGE_OBJECTS = "SELECT to_json(count(*)) FROM pg_largeobject_metadata"

# Roles that the database cannot do without: owners, the granted, those with settings in it, and whatever these are members of.
ROLES = """
WITH RECURSIVE here AS (SELECT oid, datdba, datacl FROM pg_database WHERE datname = current_database()), needed AS (
  SELECT refobjid AS oid FROM pg_shdepend, here WHERE refclassid = 'pg_authid'::regclass
    AND (dbid = here.oid OR (classid = 'pg_database'::regclass AND objid = here.oid))
  UNION SELECT datdba FROM here
  UNION SELECT a.grantee FROM here, aclexplode(here.datacl) a
  UNION SELECT setrole FROM pg_db_role_setting, here WHERE setdatabase = here.oid
  UNION SELECT m.roleid FROM pg_auth_members m JOIN needed ON m.member = needed.oid
)
SELECT json_build_object('name', a.rolname, 'superuser', rolsuper, 'inherit', rolinherit, 'createrole', rolcreaterole,
  'createdb', rolcreatedb, 'login', rolcanlogin, 'replication', rolreplication, 'bypassrls', rolbypassrls,
  'connection_limit', rolconnlimit, 'password', rolpassword, 'valid_until', rolvaliduntil::text,
  'member_of', coalesce((SELECT json_agg(json_build_object('role', pg_get_userbyid(m.roleid), 'admin', m.admin_option))
    FROM pg_auth_members m WHERE m.member = a.oid), '[]'),
  'config', coalesce((SELECT to_json(s.setconfig) FROM pg_db_role_setting s WHERE s.setdatabase = 0 AND s.setrole = a.oid), '[]'))
FROM pg_authid a JOIN needed USING (oid) WHERE a.rolname !~ '^pg_' ORDER BY a.rolname
"""

# Before the first of these: a statement that fails would otherwise stand in the server's log with its verifier.
SECRETLY = "SET log_statement = 'none'; SET log_min_error_statement = 'panic'; SET log_min_duration_statement = -1"

ROLE_NAMES = "SELECT to_json(rolname) FROM pg_roles WHERE rolname !~ '^pg_'"


def terminate(*databases: str) -> str:
    """End every session in these databases."""
    return f"SELECT to_json(count(pg_terminate_backend(pid))) {_of(*databases)}"


def sessions(*databases: str) -> str:
    """How many sessions there are in these databases."""
    return f"SELECT to_json(count(*)) {_of(*databases)}"


def _of(*databases: str) -> str:
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in databases)
    return f"FROM pg_stat_activity WHERE datname IN ({names}) AND pid <> pg_backend_pid()"  # noqa: S608 - names in quotes
