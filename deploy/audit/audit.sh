#!/usr/bin/env bash
# What the environment consists of (a CycloneDX bill of materials) and what is known against it (pip-audit).
# Fails on a known vulnerability that has a fix. Where no advisories can be had, it says so with a code of its own.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
OUTPUT=$ROOT/build/audit
AUDIT_TIMEOUT_S=300
# A package with known and mended vulnerabilities: a source that finds none in it is none.
CANARY=jinja2==2.4.1

usage() {
  cat <<EOT
usage: deploy/audit/audit.sh [--output DIR]

  --output DIR   where sbom.json and vulnerabilities.json go (default: $OUTPUT)

exit: 0 nothing known that has a fix; 1 a vulnerability with a fix; 2 misuse; 3 NOT AUDITED: nothing was asked
example: deploy/audit/audit.sh --output /tmp/audit
EOT
}

while [ $# -gt 0 ]; do
  case $1 in
  --output) OUTPUT=${2:?--output needs a folder} && shift 2 ;;
  -h | --help) usage && exit ;;
  *) usage >&2 && exit 2 ;;
  esac
done
# shellcheck source=deploy/environment.sh
. "$ROOT/deploy/environment.sh"
environment "$ROOT"
mkdir -p "$OUTPUT"
rm -f "$OUTPUT"/*.json

"$PYTHON" -m cyclonedx_py environment --pyproject "$ROOT/pyproject.toml" --output-reproducible --of JSON \
  -o "$OUTPUT/sbom.json" 2>"$OUTPUT/sbom.log" || {
  cat "$OUTPUT/sbom.log" >&2
  echo "error: there is no bill of materials. do: look at the words above" >&2
  exit 2
}
echo "$OUTPUT/sbom.json: what the environment consists of"

audit() { # source, report, arguments
  local source=$1 report=$2
  shift 2
  # It ends with 1 on what it finds, and on what it cannot ask: the report tells them apart.
  timeout "$AUDIT_TIMEOUT_S" "$PYTHON" -m pip_audit --vulnerability-service "$source" --progress-spinner off \
    --timeout 10 --format json --output "$report" "$@" >>"$OUTPUT/audit.log" 2>&1 || true
}

: >"$OUTPUT/audit.log"
echo "$CANARY" >"$OUTPUT/canary.txt"
for source in pypi osv; do
  audit "$source" "$OUTPUT/canary.json" --requirement "$OUTPUT/canary.txt" --no-deps --disable-pip
  if "$PYTHON" "$ROOT/deploy/audit/report.py" --canary "$OUTPUT/canary.json"; then
    audit "$source" "$OUTPUT/vulnerabilities.json" --local
    rm -f "$OUTPUT"/canary.*
    code=0
    "$PYTHON" "$ROOT/deploy/audit/report.py" "$OUTPUT/vulnerabilities.json" || code=$?
    exit "$code"
  fi
done
rm -f "$OUTPUT"/canary.*
echo "NOT AUDITED: neither PyPI's advisories nor OSV's can be had from here; see $OUTPUT/audit.log" >&2
exit 3
