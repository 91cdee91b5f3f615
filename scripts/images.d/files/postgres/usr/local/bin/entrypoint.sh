#!/bin/bash
# PostgreSQL: an empty data folder becomes a cluster first, with the user, the password and the database that the
# environment names; what lies in /docker-entrypoint-initdb.d is run in it once.
set -euo pipefail

# from_file NAME : a variable whose value may be in the file that NAME_FILE names instead.
from_file() {
    local name=$1 file=$1_FILE
    [[ -n ${!file:-} ]] || return 0
    [[ -z ${!name:-} ]] || { echo "entrypoint: both $name and $file are set" >&2 && exit 1; }
    export "$name=$(<"${!file}")"
    unset "$file"
}

# Once, in a folder without a cluster. The server of this time has no TCP and a socket elsewhere: nobody is served, and
# no probe succeeds, before all is there.
first_start() {
    local file sockets
    if [[ -z ${POSTGRES_PASSWORD:-} && ${POSTGRES_HOST_AUTH_METHOD:-} != trust ]]; then
        echo "entrypoint: the database is not initialized and has no password: set POSTGRES_PASSWORD" >&2
        exit 1
    fi
    # In a folder of its own until it is whole: a kill in the middle leaves no half cluster that is taken for one. Where
    # that folder is, all else is of a first start that was killed.
    if [[ -e $PGDATA/.new ]]; then
        find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name .new -exec rm -rf {} +
        rm -rf "$PGDATA/.new"
    fi
    sockets=$(mktemp -d)
    # Whoever is in the container may log in by the socket, and nobody else, until a password is set below.
    initdb --pgdata="$PGDATA/.new" --username="$POSTGRES_USER" --auth-local=trust --auth-host=scram-sha-256 \
        ${POSTGRES_INITDB_ARGS:-} >/dev/null
    printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/.new/pg_hba.conf"
    pg_ctl --pgdata="$PGDATA/.new" --wait --silent -o "-c listen_addresses='' -k $sockets" start >/dev/null
    sql=(psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --quiet --username "$POSTGRES_USER")
    export PGHOST=$sockets
    if [[ -n ${POSTGRES_PASSWORD:-} ]]; then
        "${sql[@]}" --dbname postgres <<'END'
\getenv password POSTGRES_PASSWORD
alter user :"USER" password :'password';
END
    fi
    if [[ $POSTGRES_DB != postgres ]]; then
        "${sql[@]}" --dbname postgres --set db="$POSTGRES_DB" <<<'create database :"db";'
    fi
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sh) . "$file" ;;
        *.sql) "${sql[@]}" --dbname "$POSTGRES_DB" --file "$file" ;;
        *.sql.gz) gunzip -c "$file" | "${sql[@]}" --dbname "$POSTGRES_DB" ;;
        esac
    done
    unset PGHOST
    pg_ctl --pgdata="$PGDATA/.new" --wait --silent --mode fast stop >/dev/null
    # PG_VERSION last: it says that there is a cluster.
    find "$PGDATA/.new" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
    sync -f "$PGDATA"
    mv "$PGDATA/.new/PG_VERSION" "$PGDATA"
    rmdir "$PGDATA/.new" "$sockets"
    echo "entrypoint: PostgreSQL is initialized"
}

[[ ${1:-} != -* ]] || set -- postgres "$@"
[[ ${1:-} == postgres ]] || exec "$@"
if [[ $(id -u) == 0 ]]; then
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA"
    find "$PGDATA" /run/postgresql \! -user postgres -exec chown postgres {} +
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$BASH_SOURCE" "$@"
fi
from_file POSTGRES_PASSWORD
from_file POSTGRES_USER
from_file POSTGRES_DB
: "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}"
[[ -s $PGDATA/PG_VERSION ]] || first_start
unset POSTGRES_PASSWORD
exec "$@"
