# Sourced by deploy/environment.sh: what this machine lacks for the environment of the demo and the tests,
# one line each with the remedy, before anything is downloaded. Changes nothing.

# What an environment takes at most, and what pip keeps beside it while it installs: torch with CUDA on
# Linux, torch alone elsewhere.
ENVIRONMENT_MB=7000 DOWNLOADS_MB=3500
ENVIRONMENT_MB_WITHOUT_CUDA=3000 DOWNLOADS_MB_WITHOUT_CUDA=1500

missing_line() { # what, remedy
  printf 'error: %s. do: %s\n' "$1" "$2" >&2
}

# Prints the first Python on the PATH that is new enough, the one that the lock was made with first.
new_enough_python() {
  local name found
  for name in python3.11 python3.12 python3.13 python3.14 python3; do
    found=$(command -v "$name") || continue
    if "$found" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$found"
      return 0
    fi
  done
  return 1
}

# Says that there is no Python that is new enough.
missing_python() {
  local found remedy="install it (Debian: sudo apt-get install python3.11 python3.11-venv; macOS: brew install python@3.11)"
  if found=$(command -v python3); then
    missing_line "$found is $("$found" --version 2>&1); nextclick runs on Python 3.11 or later" "$remedy"
  else
    missing_line "there is no python3; nextclick runs on Python 3.11 or later" "$remedy"
  fi
}

# Prints the file system of a folder that need not exist yet, and its free MB.
free_mb() { # FOLDER
  local folder=$1
  while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
  # The names of file systems and folders may have spaces: what is free stands before the percentage.
  df -Pk "$folder" | awk 'NR == 2 { for (i = 2; i <= NF; i++) if ($i ~ /%$/) { print $1, int($(i - 1) / 1024); exit } }'
}

missing_disk() { # FOLDER, MB, what it is for, the variable that names another place
  local free
  free=$(free_mb "$1")
  free=${free##* }
  [ "$free" -lt "$2" ] || return 1
  missing_line "where $1 is to be, $free MB are free; $3 takes $2 MB" "free some, or name another place in $4"
}

# Says what else a Python lacks to make the environment of a folder; 2 where anything is missing.
missing_for_environment() { # PYTHON, FOLDER
  local base=$1 venv=$2 temporary=${TMPDIR:-/tmp} code=0 environment_mb=$ENVIRONMENT_MB downloads_mb=$DOWNLOADS_MB
  if [ "$(uname -s)" != Linux ]; then
    environment_mb=$ENVIRONMENT_MB_WITHOUT_CUDA downloads_mb=$DOWNLOADS_MB_WITHOUT_CUDA
  fi
  if ! "$base" -c 'import ensurepip, venv' 2>/dev/null; then
    missing_line "$base cannot make virtual environments: it has no venv with ensurepip" \
      "install it (Debian: sudo apt-get install $("$base" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'))"
    code=2
  fi
  local of_venv of_temporary
  of_venv=$(free_mb "$venv") of_temporary=$(free_mb "$temporary")
  if [ "${of_venv% *}" = "${of_temporary% *}" ]; then
    missing_disk "$venv" $((environment_mb + downloads_mb)) "the environment with its downloads" \
      "NEXTCLICK_VENV" && code=2
  else
    missing_disk "$venv" "$environment_mb" "the environment" "NEXTCLICK_VENV" && code=2
    missing_disk "$temporary" "$downloads_mb" "what pip keeps while it installs" "TMPDIR" && code=2
  fi
  return "$code"
}
