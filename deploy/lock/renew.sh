#!/usr/bin/env bash
# Writes the locks: every package that an installation brings, with its version and the hashes of its files.
# pyproject.toml says which versions are allowed; what is locked stays unless it is not allowed any more.
#   dev.txt        the environment of deploy/demo and tests/run
#   image.txt      the image of deploy/Dockerfile with CUDA: of dev.txt what a worker needs
#   image-cpu.txt  the same without torch and CUDA; torch's CPU build comes from an index of its own
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LOCK=$ROOT/deploy/lock

usage() {
  cat <<EOT
usage: deploy/lock/renew.sh [--upgrade] [--lowest FILE]

  --upgrade      take the newest versions that pyproject.toml allows
  --lowest FILE  write the lowest versions that it allows to FILE, and leave the locks alone

example: deploy/lock/renew.sh --upgrade && ./tests/run
EOT
}

upgrade=()
lowest=
while [ $# -gt 0 ]; do
  case $1 in
  --upgrade) upgrade=(--upgrade) && shift ;;
  --lowest) lowest=${2:?--lowest needs a file} && shift 2 ;;
  -h | --help) usage && exit ;;
  *) usage >&2 && exit 2 ;;
  esac
done
# uv is one of the development packages; elsewhere NEXTCLICK_UV names it.
if [ -z "${NEXTCLICK_UV:-}" ]; then
  # shellcheck source=deploy/environment.sh
  . "$ROOT/deploy/environment.sh"
  environment "$ROOT"
  NEXTCLICK_UV=$(dirname "$PYTHON")/uv
fi
cd "$ROOT"

compile() { # FILE, arguments
  local file=$1
  shift
  "$NEXTCLICK_UV" pip compile pyproject.toml --python-version 3.11 --no-annotate --no-header --quiet \
    --output-file "$file" "$@"
}

if [ -n "$lowest" ]; then
  compile "$lowest" --extra registry --group dev --resolution lowest-direct
  echo "$lowest: the lowest versions that pyproject.toml allows" >&2
  exit
fi
compile deploy/lock/dev.txt --extra registry --group dev --universal --generate-hashes "${upgrade[@]}"
as_tested=(--extra registry --universal --generate-hashes --constraint deploy/lock/dev.txt)
compile deploy/lock/image.txt "${as_tested[@]}"
cuda=()
while read -r name; do cuda+=(--no-emit-package "$name"); done < <(
  sed -nE 's/^(torch|triton|(nvidia|cuda)-[a-z0-9-]+)==.*/\1/p' deploy/lock/image.txt
)
compile deploy/lock/image-cpu.txt "${as_tested[@]}" "${cuda[@]}"
