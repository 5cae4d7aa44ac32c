# What a machine needs before Ray starts its container there: the NVIDIA driver where there is a GPU,
# Docker, the GPU runtime of Docker, and access to the registry ($1, REGION-docker.pkg.dev).
# Ray runs this over SSH; every wait has an end, and a failure says what is missing.
set -eu
registry=$1

missing() { echo "This machine cannot run the cluster's container: $1" >&2; exit 1; }
wait_for() { timeout "$1" bash -c "until $2 >/dev/null 2>&1; do sleep 2; done"; }

command -v docker >/dev/null || { sudo apt-get update -q && sudo apt-get install -yq docker.io; } \
    || missing "Docker is neither in its image nor can it be installed; see MACHINE_IMAGE."
sudo systemctl start docker
# The group of a new user counts from the next login on, which Ray's connection does not wait for.
docker info >/dev/null 2>&1 || sudo chgrp "$(id -gn)" /var/run/docker.sock
wait_for 120 "docker info" || missing "Docker does not start; see journalctl -u docker."

if lspci | grep -qi nvidia; then
    wait_for 600 nvidia-smi || missing "the NVIDIA driver does not come up; see MACHINE_IMAGE."
    if ! docker info 2>/dev/null | grep -q nvidia; then
        command -v nvidia-ctk >/dev/null || missing "it has no nvidia-container-toolkit."
        sudo nvidia-ctk runtime configure --runtime=docker
        sudo systemctl restart docker
        wait_for 120 "docker info" || missing "Docker does not start with the GPU runtime."
        docker info >/dev/null 2>&1 || sudo chgrp "$(id -gn)" /var/run/docker.sock
    fi
fi
command -v gcloud >/dev/null || missing "it has no gcloud, which logs Docker in to $registry."
gcloud auth configure-docker "$registry" --quiet
