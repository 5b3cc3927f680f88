#!/bin/sh
# Passwords of the broker's users and the operator's key, for this machine alone; those that exist stay.
set -eu
python=${PYTHON:-python3}
cd "$(dirname "$0")/../../.."
folder=k8s/overlays/local/secrets
umask 077
mkdir -p "$folder"
# A file is there whole or not at all.
if [ ! -s "$folder/nats.env" ]; then
  "$python" -m broker > "$folder/nats.env.part"
  mv "$folder/nats.env.part" "$folder/nats.env"
fi
if [ ! -s "$folder/operator.env" ]; then
  "$python" -c 'import secrets; print("API_KEY=p" + secrets.token_hex(20))' > "$folder/operator.env.part"
  mv "$folder/operator.env.part" "$folder/operator.env"
fi
