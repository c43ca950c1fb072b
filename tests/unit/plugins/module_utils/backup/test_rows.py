# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of a dump, counted in its own bytes, however these are cut and whatever the names in it try."""

from __future__ import annotations

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import rows

# What pg_restore 15 writes for names and rows that look like something else.
TEXT = rb"""--
-- PostgreSQL database dump
--

\restrict RqTwQsmYeaEHroUUX8AkFWafreP404

-- Dumped by pg_dump version 15.20 (Debian 15.20-0+deb12u1)

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Data for Name: a b COPY public.fake (x) FROM stdin;; Type: TABLE DATA; Schema: public; Owner: o
--

COPY public."a
b ""; COPY public.fake (x) FROM stdin;
" (x, "c
d") FROM stdin;
1	x\n\\.\n
2	\\.
3	COPY public.fake (x) FROM stdin;
4	\\.
\.


COPY public.gen  FROM stdin;
\.


COPY public.nocols  FROM stdin;



\.


--
-- Data for Name: part; 0; Type: TABLE DATA; Schema: public; Owner: o
--

-- load via partition root public.whole
COPY public.whole (m) FROM stdin;
sad
happy
\.


--
-- Data for Name: data;'--; Type: TABLE DATA; Schema: odd "schema; Owner: o
--

COPY "odd ""schema"."data;'--" (id, t) FROM stdin;
1	it's
\.


SELECT pg_catalog.setval('public."back\slash"', 1, false);


SELECT pg_catalog.setval('public."se''q
COPY public.fake (a) FROM stdin;
"', -7, true);


BEGIN;

SELECT pg_catalog.lo_open('16399', 131072);
SELECT pg_catalog.lowrite(0, '\xdeadbeef');
SELECT pg_catalog.lo_close(0);

SELECT pg_catalog.lo_open('16400', 131072);
SELECT pg_catalog.lo_close(0);

COMMIT;

--
-- PostgreSQL database dump complete
--

\unrestrict RqTwQsmYeaEHroUUX8AkFWafreP404

"""


def counted(text: bytes, size: int = 1 << 20) -> rows.Rows:
    """What is counted in a text that comes in pieces of this size."""
    found = rows.Rows()
    for at in range(0, len(text), size):
        found.feed(text[at : at + size])
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 1 << 20])
def test_nothing_in_a_dump_is_taken_for_something_else_however_it_is_cut(size: int) -> None:
    found = counted(TEXT, size)
    assert found.tables == {
        ("public", 'a\nb "; COPY public.fake (x) FROM stdin;\n'): 4,
        ("public", "gen"): 0,
        ("public", "nocols"): 3,
        ("public", "part; 0"): 2,
        ('odd "schema', "data;'--"): 1,
    }
    assert found.roots == {("public", "part; 0"): ("public", "whole")}
    assert found.sequences == {
        ("public", "back\\slash"): 1,
        ("public", "se'q\nCOPY public.fake (a) FROM stdin;\n"): -7,
    }
    assert found.large_objects == 2 and found.problem == ""


def test_a_row_more_or_less_is_seen() -> None:
    assert counted(TEXT.replace(b"4\t\\\\.\n", b"")).tables != counted(TEXT).tables
    assert counted(b"COPY a.b (x) FROM stdin;\n" + b"1\n" * 100_001, 4096).tables == {
        ("a", "b"): 100_000
    }  # how it ends is still to come
    assert counted(b"COPY a.b (x) FROM stdin;\n" + b"1\n" * 100_001 + b"\\.\n", 4096).tables == {("a", "b"): 100_001}


@pytest.mark.parametrize(
    "text", [b"COPY nothing FROM stdin;\n", b"SELECT pg_catalog.setval('x', 1, true);", b"SELECT pg_catalog.setval(1);"]
)
def test_what_is_not_understood_is_told(text: bytes) -> None:
    found = counted(text + b"\n1\n\\.\n")
    assert "it is not known what" in found.problem and not found.tables


def test_a_statement_without_an_end_is_told_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LONGEST", 100)
    found = counted(b"SELECT '" + b"x" * 1000, 10)
    assert found.problem and len(found._rest) < 200


@pytest.mark.parametrize(
    ("encoding", "name", "said"),
    [("LATIN1", b"caf\xe9", "café"), ("WIN1252", b"\x80", "€"), ("KOI8R", b"\xc1", "а"), ("EUC_JP", b"\xa5\xc7", "デ"),
     ("SQL_ASCII", b"caf\xe9", "caf\udce9"), ("UTF8", "データ".encode(), "データ"), ("MULE_INTERNAL", b"\xe9", "\udce9")],
)  # fmt: skip
def test_names_of_every_encoding(encoding: str, name: bytes, said: str) -> None:
    text = b"SET client_encoding = '%s';\nCOPY public.%s (x) FROM stdin;\n1\n\\.\n" % (encoding.encode(), name)
    assert counted(text).tables == {("public", said): 1}


def test_backslashes_of_a_database_that_doubles_them() -> None:
    text = rb"""SET standard_conforming_strings = off;
SELECT pg_catalog.setval('public."back\\slash"', 1, false);
"""
    assert counted(text).sequences == {("public", "back\\slash"): 1}
