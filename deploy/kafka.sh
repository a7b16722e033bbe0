#!/usr/bin/env bash
# A real single-node Kafka (KRaft) without Docker, on 127.0.0.1: start, stop, kill, status, address.
# Its jars come from Maven once and are kept outside the checkout; its data lies in --dir.
set -euo pipefail

VERSION=4.1.0
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/nextclick
JARS=$CACHE/kafka-$VERSION
# shellcheck source=deploy/kafka/secure.sh
. "$HERE/kafka/secure.sh"
DIR=${XDG_STATE_HOME:-$HOME/.local/state}/nextclick/kafka
PORT=
SECURE=
START_TIMEOUT_S=60
STOP_TIMEOUT_S=60
PORT_TIMEOUT_S=5

usage() {
  cat <<EOF
usage: deploy/kafka.sh COMMAND [--dir DIR] [--port PORT] [--secure]

  start     start the broker (does nothing when it runs) and print its address
  stop      end it cleanly and wait for it
  kill      end it at once (SIGKILL), as a crash would
  status    print its state; exit 0 when it answers, 1 when it does not
  address   print host:port

  --dir DIR    where its data, its log and its process id are (default: $DIR)
  --port PORT  the port it listens on (default: the one it had before, else a free one)
  --secure     with start, in a new DIR: clients need TLS and a password (SASL_SSL, SCRAM-SHA-512), and
               have no right but those that were granted (\`nextclick acls --apply\` as the user admin).
               The authority's certificate is DIR/secrets/ca.pem, the password of USER is in
               DIR/secrets/USER.password, and what nextclick has to be told in DIR/secrets/USER.env;
               users: ${SECURE_USERS[*]}

example: deploy/kafka.sh start --dir /tmp/kafka && deploy/kafka.sh stop --dir /tmp/kafka
EOF
}

fail() { # what, meaning, remedy
  printf 'error: %s\n%s\ndo: %s\n' "$1" "$2" "$3" >&2
  exit 2
}

needs_java() {
  command -v java >/dev/null || fail "java is not installed" "Kafka runs on Java 17 or later." "Install a Java runtime."
  local release
  release=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
  [ "${release:-0}" -ge 17 ] ||
    fail "$(command -v java) is Java ${release:-of an unknown release}" "Kafka runs on Java 17 or later." \
      "Install a newer Java runtime, and put it first on the PATH."
}

jars() {
  [ -f "$JARS/.complete" ] && return
  command -v mvn >/dev/null || fail "mvn is not installed" "Kafka's jars come from Maven." "Install Maven 3.8 or later."
  mkdir -p "$CACHE"
  exec 9>"$CACHE/.kafka-lock"
  flock 9
  if [ ! -f "$JARS/.complete" ]; then
    echo "fetching Kafka $VERSION (about 55 MB, once)" >&2
    local fresh
    fresh=$(mktemp -d "$CACHE/kafka-fresh-XXXXXX")
    cp "$HERE/kafka/pom.xml" "$fresh/pom.xml"
    if ! mvn -q -B -f "$fresh/pom.xml" -Dkafka.version="$VERSION" dependency:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="$fresh/jars" >"$fresh/log" 2>&1; then
      tail -n 20 "$fresh/log" >&2
      rm -rf "$fresh"
      fail "Maven could not fetch Kafka $VERSION" "There is no broker to start." "Look at Maven's words above."
    fi
    rm -rf "$JARS"
    mv "$fresh/jars" "$JARS"
    rm -rf "$fresh"
    touch "$JARS/.complete"
  fi
  flock -u 9
  exec 9>&-
}

free_port() {
  # Below the range that outgoing connections take theirs from: there a client that tries to
  # reconnect to a killed broker may take the broker's own port.
  python3 -c '
import random, socket
for port in random.sample(range(20000, 32000), 200):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
        print(port)
        break'
}

taken() { # port
  python3 -c '
import socket, sys
with socket.socket() as s:
    s.settimeout(2)
    sys.exit(s.connect_ex(("127.0.0.1", int(sys.argv[1]))))' "$1"
}

answers() { # port
  python3 -c '
import pathlib, socket, ssl, struct, sys
# ApiVersions v0: a broker that answers it serves clients.
request = struct.pack(">hhih", 18, 0, 1, -1)
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)
if pathlib.Path(sys.argv[2]).exists():
    s = ssl.create_default_context(cafile=sys.argv[2]).wrap_socket(s, server_hostname="127.0.0.1")
with s:
    s.settimeout(2)
    s.sendall(struct.pack(">i", len(request)) + request)
    sys.exit(0 if len(s.recv(4)) == 4 else 1)' "$1" "$DIR/secrets/ca.pem" 2>/dev/null
}

running() {
  [ -f "$DIR/pid" ] || return 1
  local pid
  pid=$(cat "$DIR/pid")
  kill -0 "$pid" 2>/dev/null && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q 'kafka\.Kafka'
}

start() {
  if running; then
    address
    return
  fi
  needs_java
  # Its certificates' paths stand in its properties.
  mkdir -p "$DIR" && DIR=$(cd "$DIR" && pwd)
  local controller
  if [ -d "$DIR/secrets" ]; then
    SECURE=yes
  elif [ -n "$SECURE" ] && [ -d "$DIR/data" ]; then
    fail "$DIR has the data of a broker without security" "Its users are made when its data folder is." \
      "Name another --dir."
  fi
  if [ -n "$SECURE" ]; then
    umask 077
    make_secrets "$DIR/secrets"
  fi
  if [ -z "$PORT" ]; then
    if [ -f "$DIR/port" ]; then PORT=$(cat "$DIR/port"); else PORT=$(free_port); fi
  fi
  if [ -f "$DIR/controller-port" ]; then controller=$(cat "$DIR/controller-port"); else controller=$(free_port); fi
  # A killed broker's threads may hold its port for a moment longer than it is seen to live.
  local freed_by=$((SECONDS + PORT_TIMEOUT_S))
  while taken "$PORT"; do
    [ "$SECONDS" -lt "$freed_by" ] ||
      fail "port $PORT is taken by another process" "The broker was not started." "Name another --port, or end that process."
    sleep 0.1
  done
  jars
  echo "$controller" >"$DIR/controller-port"
  cat >"$DIR/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller
controller.listener.names=CONTROLLER
log.dirs=$DIR/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
message.max.bytes=2097152
EOF
  local users=()
  if [ -n "$SECURE" ]; then
    secure_properties "$DIR/secrets" "$PORT" "$controller" >>"$DIR/server.properties"
    # From a file: the arguments of a process are for everyone to read.
    users=("@$DIR/secrets/scram.arguments")
  else
    cat >>"$DIR/server.properties" <<EOF
listeners=PLAINTEXT://127.0.0.1:$PORT,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$PORT
EOF
  fi
  cat >"$DIR/log4j2.properties" <<EOF
appender.file.type=File
appender.file.name=file
appender.file.fileName=$DIR/kafka.log
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %m (%c)%n
rootLogger.level=WARN
rootLogger.appenderRef.file.ref=file
EOF
  local java_options=(-Xms256m -Xmx512m -XX:+UseG1GC "-Dlog4j2.configurationFile=$DIR/log4j2.properties"
    -Dlog4j2.disable.jmx=true -cp "$JARS/*")
  if [ ! -f "$DIR/data/meta.properties" ]; then
    local cluster
    cluster=$(java "${java_options[@]}" kafka.tools.StorageTool random-uuid)
    java "${java_options[@]}" kafka.tools.StorageTool format --standalone \
      -t "$cluster" -c "$DIR/server.properties" "${users[@]}" >"$DIR/format.log" 2>&1 ||
      fail "Kafka's data folder could not be formatted: $(tail -n 3 "$DIR/format.log")" \
        "The broker was not started." "Look at $DIR, or name another --dir."
    rm -f "$DIR/secrets/scram.arguments"
  fi
  setsid java "${java_options[@]}" kafka.Kafka "$DIR/server.properties" >"$DIR/console.log" 2>&1 </dev/null &
  local pid=$!
  echo "$pid" >"$DIR/pid"
  echo "$PORT" >"$DIR/port"
  local deadline=$((SECONDS + START_TIMEOUT_S))
  until answers "$PORT"; do
    if ! kill -0 "$pid" 2>/dev/null; then
      tail -n 20 "$DIR/console.log" "$DIR/kafka.log" >&2 || true
      fail "Kafka ended while it started" "There is no broker." "See $DIR/kafka.log; is port $PORT taken?"
    fi
    [ "$SECONDS" -lt "$deadline" ] ||
      fail "Kafka did not answer in $START_TIMEOUT_S s" "It may still be starting." "See $DIR/kafka.log."
    sleep 0.2
  done
  running || fail "Kafka ended while it started" "There is no broker." "See $DIR/kafka.log."
  if [ -n "$SECURE" ]; then
    echo "its authority is $DIR/secrets/ca.pem, the users' passwords are $DIR/secrets/*.password" >&2
  fi
  address
}

end() { # signal
  if ! running; then
    echo "not running" >&2
    return
  fi
  local pid deadline
  pid=$(cat "$DIR/pid")
  kill "-$1" "$pid"
  deadline=$((SECONDS + STOP_TIMEOUT_S))
  while kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] ||
      fail "Kafka (process $pid) did not end in $STOP_TIMEOUT_S s" "It still runs." "deploy/kafka.sh kill --dir $DIR"
    sleep 0.1
  done
  rm -f "$DIR/pid"
}

address() {
  [ -f "$DIR/port" ] || fail "no Kafka was started in $DIR" "It has no address." "deploy/kafka.sh start --dir $DIR"
  echo "127.0.0.1:$(cat "$DIR/port")"
}

status() {
  if running && answers "$(cat "$DIR/port")"; then
    echo "running at $(address), process $(cat "$DIR/pid"), data in $DIR"
  else
    echo "not running (data in $DIR)"
    return 1
  fi
}

command=${1:-}
[ $# -gt 0 ] && shift
while [ $# -gt 0 ]; do
  case $1 in
  --dir) DIR=${2:?--dir needs a folder} && shift 2 ;;
  --port) PORT=${2:?--port needs a number} && shift 2 ;;
  --secure) SECURE=yes && shift ;;
  *) usage >&2 && exit 2 ;;
  esac
done
case $command in
start) start ;;
stop) end TERM ;;
kill) end KILL ;;
status) status ;;
address) address ;;
-h | --help | help) usage ;;
*) usage >&2 && exit 2 ;;
esac
