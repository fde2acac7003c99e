#!/bin/sh
# Install the gateways that aiproxy is compared with: install_peers.sh [FOLDER]
#
# LiteLLM goes into a virtual environment, Portkey beside it. The folder is the
# one in which the benchmarks look: $AIPROXY_PEERS, else ~/.cache/aiproxy-peers.
# LITELLM=… and PORTKEY=… name other versions, PYTHON=… another interpreter.
set -eu

folder=${1:-${AIPROXY_PEERS:-$HOME/.cache/aiproxy-peers}}
mkdir -p "$folder"

if "${PYTHON:-python3}" -m venv "$folder/litellm"; then
    "$folder/litellm/bin/python" -m pip install --quiet "${LITELLM:-litellm[proxy]}"
fi

if command -v npm >/dev/null; then
    mkdir -p "$folder/portkey"
    cd "$folder/portkey"
    # With later versions of its web server, Portkey 1.15 fails each stream that
    # it does not translate ("TypeError: immutable").
    echo '{"private": true, "overrides": {"@hono/node-server": "1.13.8"}}' >package.json
    npm install --silent --no-fund --no-audit "${PORTKEY:-@portkey-ai/gateway}"
    cd - >/dev/null
else
    echo 'Without npm there is no Portkey.' >&2
fi

echo "Installed in $folder"
