#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The contract of the official image's entrypoint. Where upstream is awkward (a failed hook leaves a data
# directory that the next start takes for a finished one) so is this: what passes here must pass there.
set -Eeo pipefail # no -u: hooks are sourced into this shell and may be careless

# setting NAME [DEFAULT]: from NAME or from the file that NAME_FILE names
setting() {
  local name=$1 file=${1}_FILE value=${2:-}
  if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then
    echo "error: both $name and $file are set (but are exclusive)" >&2
    exit 1
  elif [ -n "${!name:-}" ]; then
    value=${!name}
  elif [ -n "${!file:-}" ]; then
    value=$(<"${!file}")
  fi
  export "$name=$value"
  unset "$file"
}

make_directories() {
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA" || :
  mkdir -p /var/run/postgresql || :
  chmod 3775 /var/run/postgresql || : # a tmpfs of another owner may be good enough
  if [ "$(id -u)" = 0 ]; then
    find "$PGDATA" /var/run/postgresql ! -user postgres -exec chown postgres {} +
  fi
}

require_password() {
  if [ "${POSTGRES_HOST_AUTH_METHOD:-}" = trust ]; then
    echo 'WARNING: POSTGRES_HOST_AUTH_METHOD is "trust": whoever reaches the port reads the database.' >&2
  elif [ -z "$POSTGRES_PASSWORD" ]; then
    echo 'Error: Database is uninitialized and superuser password is not specified.' >&2
    echo '       You must specify POSTGRES_PASSWORD (or POSTGRES_PASSWORD_FILE) to a non-empty value.' >&2
    exit 1
  fi
}

make_cluster() {
  local args=()
  eval "args=($POSTGRES_INITDB_ARGS)" # quotes inside the variable count, as upstream
  # The newline: initdb refuses an empty password file, and with "trust" the password may be empty.
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${args[@]}"
  local method
  method=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption "$@")}
  printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# Hooks may call this name.
docker_process_sql() {
  PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" "$@"
}

make_database() {
  docker_process_sql --dbname postgres -v name="$POSTGRES_DB" <<'SQL'
SELECT NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') AS missing \gset
\if :missing
CREATE DATABASE :"name";
\endif
SQL
}

run_hooks() {
  local hook
  for hook in /docker-entrypoint-initdb.d/*; do
    case $hook in
      *.sh)
        if [ -x "$hook" ]; then
          echo "$0: running $hook"
          "$hook"
        else
          echo "$0: sourcing $hook"
          # shellcheck disable=SC1090
          . "$hook"
        fi
        ;;
      *.sql) echo "$0: running $hook"; docker_process_sql -f "$hook" ;;
      *.sql.gz) echo "$0: running $hook"; gunzip -c "$hook" | docker_process_sql ;;
      *.sql.xz) echo "$0: running $hook"; xzcat "$hook" | docker_process_sql ;;
      *.sql.zst) echo "$0: running $hook"; zstd -dc "$hook" | docker_process_sql ;;
      *) echo "$0: ignoring $hook" ;;
    esac
  done
}

initialise() {
  require_password
  ls /docker-entrypoint-initdb.d >/dev/null # unreadable hooks: stop before there is half a cluster
  make_cluster "$@"
  export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD} # for --auth-local in POSTGRES_INITDB_ARGS
  # Over the socket only: nobody may take a cluster that is still being made for a ready one.
  PGUSER=${PGUSER:-$POSTGRES_USER} pg_ctl -D "$PGDATA" -w start \
    -o "$(printf '%q ' "$@" -c listen_addresses= -p "${PGPORT:-5432}")"
  make_database
  run_hooks
  pg_ctl -D "$PGDATA" -m fast -w stop
  unset PGPASSWORD
  printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

[ "${1:0:1}" != - ] || set -- postgres "$@"
starts_server() {
  [ "$1" = postgres ] || return 1
  local arg
  for arg; do
    case $arg in -'?' | --help | --describe-config | -V | --version) return 1 ;; esac
  done
}

if starts_server "$@"; then
  setting POSTGRES_PASSWORD
  setting POSTGRES_USER postgres
  setting POSTGRES_DB "$POSTGRES_USER"
  setting POSTGRES_INITDB_ARGS
  make_directories
  if [ "$(id -u)" = 0 ]; then
    export HOME=/var/lib/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
  fi
  if [ -s "$PGDATA/PG_VERSION" ]; then
    printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
  else
    initialise "${@:2}"
  fi
  unset POSTGRES_PASSWORD # what came from a file need not stand in the server's environment
fi
exec "$@"
