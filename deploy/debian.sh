# Sourced by tests/run and deploy/demo: programs that come from Debian's packages (Prometheus with
# promtool, Chromium, Redis). What is already on the PATH is used as it is; else root installs it.

debian_programs() { # PROGRAM=PACKAGE ...
  local pair packages=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || packages+=("${pair#*=}")
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "error: not installed: ${packages[*]}. The tests run them. do: sudo apt-get install ${packages[*]}" >&2
    return 2
  fi
  echo "installing ${packages[*]} (once)" >&2
  local log
  log=$(mktemp)
  # Without a policy, a package's own service would start and take its port.
  if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -q -y --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    return 2
  fi
  rm -f "$log"
}
