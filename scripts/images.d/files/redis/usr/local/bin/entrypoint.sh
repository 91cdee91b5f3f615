#!/bin/sh
# Redis as an ordinary user, whatever the volume's owner is. What looks like an option is one of redis-server's.
set -eu
case ${1:-} in
'' | -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    find . \! -user redis -exec chown redis:redis {} +
    exec setpriv --reuid=redis --regid=redis --clear-groups "$0" "$@"
fi
if [ "$1" = redis-server ]; then
    # What is in a container is reached from others only: without this it would answer nobody.
    set -- "$@" --protected-mode no
fi
exec "$@"
