"""Say what a Google Cloud project lacks for the cluster of gcp-t4.yaml, before anything is paid.

Only reads; the person who runs it needs the role Viewer (and Security Reviewer for the accounts'
roles). What may not be read is a note, not a fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from qa_lib.doctor.finding import Finding

APIS = ("artifactregistry", "cloudresourcemanager", "compute", "iam", "serviceusage", "storage")
ROLE_FILE = Path(__file__).with_name("gcp-head-role.yaml")
_ROLE = "projects/{project}/roles/qaSuiteHead"


class Project:
    """A project, seen through Google's API client."""

    def __init__(self, config: Mapping[str, Any], bucket: str = "", http: Any = None) -> None:
        """Build the clients; no request is made.

        Args:
            config: Of `gcp.cluster_config`.
            bucket: Name of the bucket of data and runs; empty: not checked.
            http: Answers requests instead of Google, as recorded answers do in tests.
        """
        from googleapiclient import discovery

        self.config, self.bucket = config, bucket
        self.name = config["provider"]["project_id"]
        self.region = config["provider"]["region"]
        self.zone = config["provider"]["availability_zone"]
        access = {"http": http} if http else {}

        def client(api: str, version: str = "v1") -> Any:
            return discovery.build(api, version, cache_discovery=False, **access)

        self.compute = client("compute")
        self.iam = client("iam")
        self.usage = client("serviceusage")
        self.registry = client("artifactregistry")
        self.storage = client("storage")
        self.manager = client("cloudresourcemanager")

    @property
    def accounts(self) -> dict[str, str]:
        """Return the e-mail of each kind of machine's account."""
        kinds = self.config["available_node_types"]
        return {
            kind: node["node_config"]["serviceAccounts"][0]["email"] for kind, node in kinds.items()
        }

    def findings(self) -> Iterator[Finding]:
        """Yield what is there and what is missing, each with the command that mends it."""
        checks: dict[str, Callable[[], Iterator[Finding]]] = {
            "APIs": self._check_apis,
            "quota": self._check_quota,
            "machines": self._check_machines,
            "accounts": self._check_accounts,
            "image": self._check_image,
        }
        if self.bucket:
            checks["bucket"] = self._check_bucket
        for what, check in checks.items():
            try:
                yield from check()
            except Exception as error:  # HttpError, and what transport and credentials raise
                yield _of_error(what, error)

    def _check_apis(self) -> Iterator[Finding]:
        names = [f"projects/{self.name}/services/{api}.googleapis.com" for api in APIS]
        services = self.usage.services()
        answer = services.batchGet(parent=f"projects/{self.name}", names=names).execute()
        enabled = {s["config"]["name"] for s in answer["services"] if s["state"] == "ENABLED"}
        wanted = {f"{api}.googleapis.com" for api in APIS}
        if missing := sorted(wanted - enabled):
            command = f"gcloud services enable {' '.join(missing)} --project {self.name}"
            yield Finding("APIs", "fault", f"not enabled: {', '.join(missing)}", command)
        else:
            yield Finding("APIs", "good", f"{len(wanted)} enabled")

    def _check_quota(self) -> Iterator[Finding]:
        kinds = self.config["available_node_types"]
        most = self.config["max_workers"]
        worker = next(kind for name, kind in kinds.items() if name != self.config["head_node_type"])
        is_spot = worker["node_config"]["scheduling"]["provisioningModel"] == "SPOT"
        gpus = worker["resources"]["GPU"] * most
        cpus = sum(
            kind["resources"]["CPU"] * (1 if name == self.config["head_node_type"] else most)
            for name, kind in kinds.items()
        )
        region = self.compute.regions().get(project=self.name, region=self.region).execute()
        project = self.compute.projects().get(project=self.name).execute()
        kind = ("PREEMPTIBLE_" if is_spot else "") + "NVIDIA_T4_GPUS"
        for quotas, metric, need in (
            (region["quotas"], kind, gpus),
            (region["quotas"], "CPUS", cpus),
            (project["quotas"], "GPUS_ALL_REGIONS", gpus),
        ):
            quota = next((q for q in quotas if q["metric"] == metric), {"limit": 0, "usage": 0})
            free = quota["limit"] - quota.get("usage", 0)
            message = f"{metric}: {free:g} free of {quota['limit']:g}, {need:g} at most in use"
            remedy = "" if free >= need else (
                f"Ask for more at console.cloud.google.com/iam-admin/quotas?project={self.name}, "
                "or lower max_workers in cluster/gcp-t4.yaml and --cluster.num-nodes."
            )  # fmt: skip
            yield Finding("quota", "fault" if remedy else "good", message, remedy)

    def _check_machines(self) -> Iterator[Finding]:
        where = {"project": self.name, "zone": self.zone}
        for node in self.config["available_node_types"].values():
            machine = node["node_config"]
            self.compute.machineTypes().get(**where, machineType=machine["machineType"]).execute()
            for gpu in machine.get("guestAccelerators", ()):
                name = gpu["acceleratorType"].rpartition("/")[2]
                self.compute.acceleratorTypes().get(**where, acceleratorType=name).execute()
        source = machine["disks"][0]["initializeParams"]["sourceImage"]
        family = re.fullmatch(r"projects/([^/]+)/global/images/family/([^/]+)", source)
        if family:
            found = self.compute.images().getFromFamily(project=family[1], family=family[2])
            source = found.execute()["name"]
        yield Finding("machines", "good", f"{self.zone} has them; they start from {source}")

    def _check_accounts(self) -> Iterator[Finding]:
        for kind, email in self.accounts.items():
            resource = f"projects/{self.name}/serviceAccounts/{email}"
            self.iam.projects().serviceAccounts().get(name=resource).execute()
            yield Finding("accounts", "good", f"{kind}: {email}")
        head, worker = self.accounts["head"], self.accounts["t4"]
        name = _ROLE.format(project=self.name)
        wanted = set(yaml.safe_load(ROLE_FILE.read_text(encoding="utf-8"))["includedPermissions"])
        role = self.iam.projects().roles().get(name=name).execute()
        if missing := sorted(wanted - set(role.get("includedPermissions", ()))):
            command = (
                f"gcloud iam roles update qaSuiteHead --project {self.name} --file {ROLE_FILE}"
            )
            yield Finding("accounts", "fault", f"the role lacks {', '.join(missing)}", command)
        policy = self.manager.projects().getIamPolicy(resource=self.name, body={}).execute()
        yield from _check_binding("accounts", policy, head, name, f"project {self.name}")
        accounts = self.iam.projects().serviceAccounts()
        policy = accounts.getIamPolicy(
            resource=f"projects/{self.name}/serviceAccounts/{worker}"
        ).execute()
        yield from _check_binding("accounts", policy, head, "roles/iam.serviceAccountUser", worker)

    def _check_image(self) -> Iterator[Finding]:
        image = self.config["docker"]["image"]
        found = re.fullmatch(
            r"([a-z0-9-]+)-docker\.pkg\.dev/([^/]+)/([^/]+)/(.+?)(?::([^@:]+)|@(sha256:\w+))", image
        )
        if not found:
            yield Finding("image", "note", f"{image} is not in Artifact Registry: not checked")
            return
        location, project, repository, package, tag, digest = found.groups()
        parent = f"projects/{project}/locations/{location}/repositories/{repository}"
        repositories = self.registry.projects().locations().repositories()
        package = f"{parent}/packages/{package.replace('/', '%2F')}"
        if tag:
            repositories.packages().tags().get(name=f"{package}/tags/{tag}").execute()
        else:
            repositories.packages().versions().get(name=f"{package}/versions/{digest}").execute()
        yield Finding("image", "good", image)
        policy = repositories.getIamPolicy(resource=parent).execute()
        for email in self.accounts.values():
            reader = "roles/artifactregistry.reader"
            yield from _check_binding("image", policy, email, reader, f"repository {repository}")

    def _check_bucket(self) -> Iterator[Finding]:
        self.storage.buckets().get(bucket=self.bucket).execute()
        policy = self.storage.buckets().getIamPolicy(bucket=self.bucket).execute()
        for email in self.accounts.values():
            user = "roles/storage.objectUser"
            yield from _check_binding("bucket", policy, email, user, f"gs://{self.bucket}")


def _check_binding(
    what: str, policy: Mapping[str, Any], email: str, role: str, resource: str
) -> Iterator[Finding]:
    """Look for an account among the holders of a role."""
    member = f"serviceAccount:{email}"
    holders = [b["members"] for b in policy.get("bindings", ()) if b["role"] == role]
    if any(member in members for members in holders):
        yield Finding(what, "good", f"{email} has {role} on {resource}")
    else:
        yield Finding(
            what,
            "fault",
            f"{email} lacks {role} on {resource}",
            f"Bind it: --member {member} --role {role}; the commands are in "
            "docs/guide/clusters.md, Google Cloud.",
        )


def _of_error(what: str, error: Exception) -> Finding:
    """Tell a resource that is missing from one that this person may not see."""
    status = getattr(getattr(error, "resp", None), "status", None)
    reason = " ".join(str(getattr(error, "reason", error) or error).split())[:300]
    uri = re.sub(r"\?.*", "", str(getattr(error, "uri", "")))
    if status == 404:
        remedy = "docs/guide/clusters.md, Google Cloud, has the commands that make it."
        return Finding(what, "fault", f"not found: {uri} ({reason})", remedy)
    if status == 403 and ("has not been used" in reason or "is disabled" in reason):
        remedy = "`gcloud services enable`; docs/guide/clusters.md, Google Cloud, has which."
        return Finding(what, "fault", reason, remedy)
    if status == 403:
        remedy = "Ask for the role Viewer, or have an owner of the project run this."
        return Finding(what, "note", f"not checked, you may not read it: {reason}", remedy)
    remedy = "Try again; `gcloud auth application-default login` renews the credentials."
    return Finding(what, "fault", f"not checked: {reason}", remedy)
