# Sourced by deploy/demo and tests/run: makes the project's virtual environment, once, outside the
# checkout, named after its lock and the Python version, so that clones share it. Sets PYTHON. Nothing is
# installed whose hash is not in deploy/lock/dev.txt, which deploy/lock/renew.sh writes.
# NEXTCLICK_VENV names another place. Needs Python 3.11 or later with venv, and room on the disk;
# deploy/missing.sh says what of it is missing.

# shellcheck source=deploy/missing.sh
. "$(dirname "${BASH_SOURCE[0]}")/missing.sh"

environment() {
  local root=$1 base digest venv
  base=$(new_enough_python) || {
    missing_python
    return 2
  }
  digest=$("$base" - "$root/deploy/lock/dev.txt" <<'EOF'
import hashlib, sys
with open(sys.argv[1], "rb") as file:
    locked = file.read()
print(hashlib.sha256(locked + sys.version.encode()).hexdigest()[:12])
EOF
  )
  venv=${NEXTCLICK_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/nextclick/venv-$digest}
  if [ ! -f "$venv/.complete-$digest" ]; then
    mkdir -p "$(dirname "$venv")"
    exec 8>"$venv.lock"
    # Not everywhere, as on macOS: there let one start at a time set it up.
    if command -v flock >/dev/null; then flock 8; fi
    if [ ! -f "$venv/.complete-$digest" ]; then
      if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        echo "error: $venv is there and is no virtual environment. do: name another folder in NEXTCLICK_VENV" >&2
        return 2
      fi
      missing_for_environment "$base" "$venv" || return 2
      echo "making the environment in $venv (once; torch is large, this takes some minutes)" >&2
      "$base" -m venv --clear "$venv"
      "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
        -r "$root/deploy/lock/dev.txt" >&2
      touch "$venv/.complete-$digest"
    fi
    exec 8>&-
  fi
  PYTHON=$venv/bin/python
  export PATH="$venv/bin:$PATH" PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
}
