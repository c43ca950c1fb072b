#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# The contract of the official image's entrypoint.
set -e

case ${1:-} in
  -* | *.conf) set -- redis-server "$@" ;;
esac

if [ "${1:-}" = redis-server ] && [ "$(id -u)" = 0 ]; then
  find . ! -user redis -exec chown redis {} +
  export HOME=/data
  exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
fi

# Upstream compiles protected mode's default to "no" (published ports and container networks are never
# loopback); here the option stands last, unless the command line or the configuration file has one.
unprotect() {
  case "$*" in *protected-mode*) return 1 ;; esac
  case ${2:-} in
    -v | --version | -h | --help | --test-memory | --check-system | -) return 1 ;;
    -* | '') ;;
    *) ! grep -qsi '^[[:space:]]*protected-mode[[:space:]]' "$2" ;;
  esac
}
if [ "${1:-}" = redis-server ] && unprotect "$@"; then
  set -- "$@" --protected-mode no
fi

[ "$(umask)" != 0022 ] || umask 0077 # data files are the server's alone
exec "$@"
