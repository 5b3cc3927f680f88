#!/bin/sh
# Passwords of the broker's users and the operator's key, for this machine alone; those that exist stay.
set -eu
python=${PYTHON:-python3}
cd "$(dirname "$0")/../../.."
folder=k8s/overlays/local/secrets
umask 077
mkdir -p "$folder"
secret() { "$python" -c 'import secrets; print("p" + secrets.token_hex(20))'; }
if [ ! -s "$folder/nats.env" ]; then
  "$python" -m broker > "$folder/nats.env.part"
  # Of the nodes among themselves.
  grep -q '^NATS_PASSWORD_ROUTE=' "$folder/nats.env.part" || echo "NATS_PASSWORD_ROUTE=$(secret)" >> "$folder/nats.env.part"
  mv "$folder/nats.env.part" "$folder/nats.env"
fi
[ -s "$folder/operator.env" ] || echo "API_KEY=$(secret)" > "$folder/operator.env"
