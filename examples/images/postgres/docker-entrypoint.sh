#!/bin/sh
# Makes the database at the first start, as the official image does, and runs
# the server as the user postgres.
set -eu

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown -R postgres:postgres "$PGDATA"
    chmod 700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?is not set: give the database a password}"
    user=${POSTGRES_USER:-postgres}
    db=${POSTGRES_DB:-$user}
    password=$(mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" >"$password"
    initdb --username="$user" --pwfile="$password" --auth-local=trust --auth-host=scram-sha-256 >/dev/null
    rm -f "$password"
    printf "host all all all scram-sha-256\n" >>"$PGDATA/pg_hba.conf"
    # a server that only this script reaches, while the database is set up
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start >/dev/null
    [ "$db" = postgres ] || createdb --username="$user" "$db"
    for f in /docker-entrypoint-initdb.d/*; do
        case $f in
        *.sql) psql --username="$user" --dbname="$db" -v ON_ERROR_STOP=1 -f "$f" ;;
        *.sh) . "$f" ;;
        esac
    done
    pg_ctl -D "$PGDATA" -m fast -w stop >/dev/null
fi

[ "$1" = postgres ] && set -- "$@" -c "listen_addresses=*"
exec "$@"
