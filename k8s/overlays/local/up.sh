#!/bin/sh
# Trunkline in a kind cluster on this machine, of the images that `make images` builds. A second run takes new images up
# under live calls. PYTHON=… if python3 is another one.
set -eu

cluster=trunkline
services="gateway stt llm tts speech"
patience=5m
here=$(cd "$(dirname "$0")" && pwd)

step() { printf '\n== %s\n' "$1"; }

fail() {
  printf 'up.sh: %s\n' "$1" >&2
  exit 1
}

need() { command -v "$1" > /dev/null || fail "no $1 on the PATH ($2)"; }

# Whatever cluster is the current one, only kind's own is touched.
kube() { kubectl --context "kind-$cluster" --namespace trunkline "$@"; }

check() {
  need docker https://docs.docker.com/get-docker/
  need kind https://kind.sigs.k8s.io/docs/user/quick-start/
  need kubectl https://kubernetes.io/docs/tasks/tools/
  need "${PYTHON:-python3}" "or PYTHON=…"
  docker info > /dev/null 2>&1 || fail "no Docker engine answers: start it"
  for service in $services; do
    docker image inspect "trunkline-$service:dev" > /dev/null 2>&1 || fail "no image trunkline-$service:dev: make images"
  done
}

create() {
  if kind get clusters 2> /dev/null | grep -qx "$cluster"; then
    echo "the cluster $cluster is there"
  else
    kind create cluster --config "$here/kind.yaml" --wait 2m
  fi
}

load() {
  set --
  for service in $services; do set -- "$@" "trunkline-$service:dev"; done
  kind load docker-image --name "$cluster" "$@"
}

apply() {
  sh "$here/secrets.sh"
  # An image of the same name changes nothing for the pods that are there.
  old=$(kube get deployments --output name 2> /dev/null || true)
  kube apply -k "$here"
  if [ -n "$old" ]; then kube rollout restart deployments; fi
}

# One after the other: the services wait for the broker, the workers for what a gateway makes there.
wait_for() {
  for workload in statefulset/nats deployment/gateway deployment/stt deployment/llm deployment/tts deployment/speech; do
    kube rollout status "$workload" --timeout "$patience" && continue
    kube get pods
    fail "$workload is not ready after $patience: kubectl --context kind-$cluster -n trunkline describe pods"
  done
}

check
step "cluster"
create
step "images"
load
step "manifests"
apply
step "waiting"
wait_for
step "Trunkline answers at http://localhost:8080"
cat << END
make call URL=http://localhost:8080                                            a simulated call
kubectl --context kind-$cluster -n trunkline scale deploy/stt --replicas=5     new calls go there at once; fewer: live calls move
kubectl --context kind-$cluster -n trunkline logs -f deploy/gateway
kind delete cluster --name $cluster                                            ends it all
END
