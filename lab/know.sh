#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Writes a server's host key to a file of known hosts, in the place of the one that the server before it had at this address.
# Scenarios that create their servers at the same moment share the file: each waits for the others.
#
#   lab/know.sh FILE ADDRESS KEY
set -euo pipefail
exec 9>>"$1.lock"
flock 9
! grep -qxF "$2 $3" "$1" 2>/dev/null || exit 0
new=$(mktemp "$1.XXXXXX")
# grep ends with 1 where nothing else is in the file, and with 2 where there is none yet.
{ grep -vF "$2 " "$1" 2>/dev/null || true; echo "$2 $3"; } >"$new"
mv "$new" "$1"
echo changed
