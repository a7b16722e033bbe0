#!/usr/bin/env bash
# A real schema registry with Confluent's API (Apicurio) without Docker, on 127.0.0.1: start, stop.
# It comes from Maven once and is kept outside the checkout; its schemas are in memory.
set -euo pipefail

VERSION=3.0.9
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/nextclick
APP=$CACHE/apicurio-$VERSION
DIR=${XDG_STATE_HOME:-$HOME/.local/state}/nextclick/registry
PORT=8081
START_TIMEOUT_S=120
STOP_TIMEOUT_S=60

usage() {
  cat <<EOF2
usage: deploy/registry.sh COMMAND [--dir DIR] [--port PORT]

  start     start the registry and print the address for NEXTCLICK_SCHEMA_REGISTRY_URL
  stop      end it and wait for it; its schemas are gone

  --dir DIR    where its log and its process id are (default: $DIR)
  --port PORT  the port it listens on (default: $PORT)

example: deploy/registry.sh start --dir /tmp/registry && deploy/registry.sh stop --dir /tmp/registry
EOF2
}

fail() { # what, meaning, remedy
  printf 'error: %s\n%s\ndo: %s\n' "$1" "$2" "$3" >&2
  exit 2
}

application() {
  [ -f "$APP/.complete" ] && return
  command -v mvn >/dev/null || fail "mvn is not installed" "The registry comes from Maven." "Install Maven 3.8 or later."
  mkdir -p "$CACHE"
  exec 9>"$CACHE/.registry-lock"
  flock 9
  if [ ! -f "$APP/.complete" ]; then
    echo "fetching Apicurio Registry $VERSION (about 109 MB, once)" >&2
    local fresh
    fresh=$(mktemp -d "$CACHE/registry-fresh-XXXXXX")
    if ! mvn -q -B dependency:copy -Dartifact="io.apicurio:apicurio-registry-app:$VERSION:tar.gz:all" \
      -DoutputDirectory="$fresh" >"$fresh/log" 2>&1; then
      tail -n 20 "$fresh/log" >&2
      rm -rf "$fresh"
      fail "Maven could not fetch Apicurio Registry $VERSION" "There is no registry to start." "Look at Maven's words above."
    fi
    tar xzf "$fresh"/*.tar.gz -C "$fresh"
    rm -f "$fresh"/*.tar.gz
    touch "$fresh/.complete"
    rm -rf "$APP"
    mv "$fresh" "$APP"
  fi
  flock -u 9
  exec 9>&-
}

running() {
  [ -f "$DIR/pid" ] || return 1
  local pid
  pid=$(cat "$DIR/pid")
  kill -0 "$pid" 2>/dev/null && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q 'apicurio'
}

answers() {
  python3 - "http://127.0.0.1:$PORT/apis/ccompat/v7/subjects" <<'EOF2'
import sys, urllib.request
try:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=2).read()
except OSError:
    sys.exit(1)
EOF2
}

start() {
  running && fail "a registry runs already in $DIR" "Its schemas are in memory." "deploy/registry.sh stop --dir $DIR"
  command -v java >/dev/null || fail "java is not installed" "The registry runs on Java 17 or later." "Install a Java runtime."
  application
  mkdir -p "$DIR"
  QUARKUS_HTTP_HOST=127.0.0.1 QUARKUS_HTTP_PORT=$PORT setsid java -Xmx512m \
    -jar "$APP/apicurio-registry-app-$VERSION-runner.jar" >"$DIR/registry.log" 2>&1 </dev/null &
  local pid=$! deadline=$((SECONDS + START_TIMEOUT_S))
  echo "$pid" >"$DIR/pid"
  until answers; do
    kill -0 "$pid" 2>/dev/null ||
      fail "the registry ended while it started" "There is none." "See $DIR/registry.log; is port $PORT taken?"
    [ "$SECONDS" -lt "$deadline" ] ||
      fail "the registry did not answer in $START_TIMEOUT_S s" "It may still be starting." "See $DIR/registry.log."
    sleep 0.2
  done
  echo "http://127.0.0.1:$PORT/apis/ccompat/v7"
}

stop() {
  if ! running; then
    echo "not running" >&2
    return
  fi
  local pid deadline
  pid=$(cat "$DIR/pid")
  kill "$pid"
  deadline=$((SECONDS + STOP_TIMEOUT_S))
  while kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] ||
      fail "the registry (process $pid) did not end in $STOP_TIMEOUT_S s" "It still runs." "Look at $DIR/registry.log."
    sleep 0.1
  done
  rm -f "$DIR/pid"
}

command=${1:-}
[ $# -gt 0 ] && shift
while [ $# -gt 0 ]; do
  case $1 in
  --dir) DIR=${2:?--dir needs a folder} && shift 2 ;;
  --port) PORT=${2:?--port needs a number} && shift 2 ;;
  *) usage >&2 && exit 2 ;;
  esac
done
case $command in
start) start ;;
stop) stop ;;
-h | --help | help) usage ;;
*) usage >&2 && exit 2 ;;
esac
