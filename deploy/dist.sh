#!/usr/bin/env bash
# Build a release of the last commit: sdist, wheel, bill of materials, checksums.
#
#   deploy/dist.sh [FOLDER]     FOLDER is dist if it is not given
#
# Whoever builds the same commit with the same versions of the tools gets the same
# bytes: names and times come from the commit, not from who builds it, where and when.
# PYTHON names an interpreter that has the extra `dist`.
set -euo pipefail

out=$(realpath -m "${1:-dist}")
# Not what it links to: an environment's interpreter is a link.
python=$(realpath --no-symlinks "$(command -v "${PYTHON:-python3}")")
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
export LC_ALL=C TZ=UTC PYTHONHASHSEED=0 PIP_DISABLE_PIP_VERSION_CHECK=1
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

[[ -z $(git status --porcelain) ]] || echo 'What is not committed is not in it.' >&2
mkdir "$work/source" "$work/dist"
git -c tar.umask=0022 archive HEAD | tar -x -C "$work/source"

echo '== sdist and wheel'
"$python" -m build --no-isolation --outdir "$work/dist" "$work/source" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
wheel=$(basename "$work"/dist/aiproxy-*.whl)
sdist=$(basename "$work"/dist/aiproxy-*.tar.gz .tar.gz)
version=${sdist#aiproxy-}

# setuptools puts the builder's user and the time of its own files into the sdist.
tar -xzf "$work/dist/$sdist.tar.gz" -C "$work"
tar -c --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 \
    --numeric-owner --mode=u+rw,go+r,go-w -C "$work" "$sdist" |
    gzip -9 --no-name >"$work/dist/$sdist.tar.gz"
"$python" -m twine check --strict "$work/dist/$wheel" "$work/dist/$sdist.tar.gz"

echo '== bill of materials'
"$python" -m venv --without-pip "$work/runtime"
"$python" -m pip --python "$work/runtime/bin/python" install --quiet --no-compile \
    "$work/dist/$wheel"
# It names the folder that the wheel came from.
rm "$work"/runtime/lib/python*/site-packages/aiproxy-*.dist-info/direct_url.json
# The bill's subject, in the form in which cyclonedx-py reads it.
"$work/runtime/bin/python" - >"$work/pyproject.toml" <<'PYTHON'
import json
from importlib.metadata import distribution

aiproxy = distribution("aiproxy")
about = aiproxy.metadata
print("[project]")
print("name =", json.dumps(about["Name"]))
print("version =", json.dumps(about["Version"]))
print("description =", json.dumps(about["Summary"], ensure_ascii=False))
print("license =", json.dumps(about["License-Expression"]))
print("dependencies =", json.dumps([need for need in aiproxy.requires if "extra ==" not in need]))
PYTHON
"$python" -m cyclonedx_py environment --output-reproducible --of JSON \
    --pyproject "$work/pyproject.toml" -o "$work/dist/aiproxy-$version.cdx.json" "$work/runtime/bin/python"

(cd "$work/dist" && sha256sum -- * >"$work/SHA256SUMS")
mkdir -p "$out"
# Nothing of another release stays behind, for all that is there will be published.
rm -f "$out"/aiproxy-* "$out/SHA256SUMS"
mv "$work"/dist/* "$work/SHA256SUMS" "$out"
echo "== $out"
cat "$out/SHA256SUMS"
