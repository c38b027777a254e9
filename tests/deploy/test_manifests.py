"""The manifests of deploy/kubernetes: valid, consistent, without rights, and with commands that exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import numpy as np
import pytest
import typer.main
import yaml
from deploy.manifests import DOCUMENTS, FOLDER, Document, Pod, named, pods
from problems import ROOT

import dsgd
from dsgd.cli import app

PODS = list(pods())
PORT = 7077
# The oldest Kubernetes whose Jobs wait for the end of a pod before they start another, and the newest that the checker
# knows.
VERSIONS = ["1.29", kubernetes_validate.latest_version()]
# Claims that a user makes, since the rows are theirs.
OURS_NOT = {"dsgd-data"}


def checked(content: dict[str, Any], version: str) -> None:
    """Raise ``ValidationError`` for what Kubernetes would refuse, unknown fields included."""
    kubernetes_validate.validate(content, version, strict=True)


def pod_of(component: str) -> Pod:
    (found,) = [pod for pod in PODS if pod.labels.get("app.kubernetes.io/component") == component]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", [each for each in DOCUMENTS if each.kind != "DaskCluster"], ids=str)
def test_a_document_has_the_schema_of_its_kind(document: Document, version: str) -> None:
    checked(document.content, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_dask_cluster_has_what_its_operator_asks_for(version: str) -> None:
    # The definitions of the operator: {scheduler: {spec: PodSpec, service: ServiceSpec}, worker: {replicas, spec}}.
    (document,) = [each for each in DOCUMENTS if each.kind == "DaskCluster"]
    assert document.content["apiVersion"] == "kubernetes.dask.org/v1"
    spec = document.content["spec"]
    assert spec.keys() == {"idleTimeout", "scheduler", "worker"}
    assert spec["scheduler"].keys() == {"spec", "service"}
    assert spec["worker"].keys() == {"replicas", "spec"}
    assert type(spec["idleTimeout"]) is type(spec["worker"]["replicas"]) is int
    for part in ("scheduler", "worker"):
        checked({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": part}, "spec": spec[part]["spec"]}, version)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "scheduler"}}
    checked({**service, "spec": spec["scheduler"]["service"]}, version)


def test_the_checker_finds_a_misspelt_field() -> None:
    content = yaml.safe_load(yaml.safe_dump(named("StatefulSet", "dsgd-worker").content))
    content["spec"]["template"]["spec"]["securityContext"]["runAsNonroot"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="runAsNonroot"):
        checked(content, VERSIONS[-1])


def test_no_document_is_bound_to_a_namespace() -> None:
    assert not [str(each) for each in DOCUMENTS if "namespace" in each.content["metadata"]]


@pytest.mark.parametrize("pod", PODS, ids=str)
def test_a_pod_has_no_rights(pod: Pod) -> None:
    context = pod.spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["runAsGroup"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod.spec["automountServiceAccountToken"] is False
    for container in pod.containers:
        inside = container["securityContext"]
        assert inside == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("pod", PODS, ids=str)
def test_a_pod_reserves_its_memory_and_is_never_throttled(pod: Pod) -> None:
    for container in pod.containers:
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert limits == {"memory": requests["memory"]}
        assert requests.keys() == {"cpu", "memory"}
    assert all("sizeLimit" in volume["emptyDir"] for volume in pod.spec["volumes"] if "emptyDir" in volume)


@pytest.mark.parametrize("pod", PODS, ids=str)
def test_what_a_pod_names_is_there(pod: Pod) -> None:
    volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
    for container in pod.containers:
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()
        for variable in container.get("env", []):
            key = variable.get("valueFrom", {}).get("configMapKeyRef")
            assert key is None or key["key"] in named("ConfigMap", key["name"]).content["data"]
    for volume in volumes.values():
        if "secret" in volume:
            assert "token" in named("Secret", volume["secret"]["secretName"]).content["stringData"]
            assert volume["secret"]["defaultMode"] == 0o400
            assert pod.spec["securityContext"]["fsGroup"] > 0  # a user that is not root could not read it otherwise
        if "configMap" in volume:
            named("ConfigMap", volume["configMap"]["name"])
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        assert claim is None or claim in OURS_NOT or named("PersistentVolumeClaim", claim)


@pytest.mark.parametrize("document", [each for each in DOCUMENTS if each.kind == "Service"], ids=str)
def test_a_service_leads_to_ports_of_one_kind_of_pod(document: Document) -> None:
    spec = document.content["spec"]
    (pod,) = [pod for pod in PODS if spec["selector"].items() <= pod.labels.items()]
    ports = {port["name"]: port["containerPort"] for port in pod.containers[0].get("ports", [])}
    for port in spec.get("ports", []):
        assert ports[port["targetPort"]] == port["port"]


def test_ranks_ports_and_names_agree() -> None:
    workers, run = named("StatefulSet", "dsgd-worker").content["spec"], named("ConfigMap", "dsgd-run").content["data"]
    assert workers["podManagementPolicy"] == "Parallel"
    assert workers["selector"]["matchLabels"].items() <= workers["template"]["metadata"]["labels"].items()
    assert named("Service", workers["serviceName"]).content["spec"]["clusterIP"] == "None"
    assert run["world"] == str(workers["replicas"])
    host, port = run["address"].split(":")
    assert [each["port"] for each in named("Service", host).content["spec"]["ports"]] == [int(port)] == [PORT]
    cluster, (job,) = (
        named("DaskCluster", "dsgd"),
        named("Job", "dsgd-dask-fit").content["spec"]["template"]["spec"]["containers"],
    )
    given = {variable["name"]: variable["value"] for variable in job["env"]}
    assert given["DSGD_WORKERS"] == str(cluster.content["spec"]["worker"]["replicas"])
    (address, dashboard) = cluster.content["spec"]["scheduler"]["service"]["ports"]
    assert given["DASK_SCHEDULER_ADDRESS"] == f"tcp://{cluster.name}-scheduler:{address['port']}"
    assert dashboard["name"] == "http-dashboard"  # the operator looks for this name
    images = {container["image"] for pod in PODS for container in pod.containers}
    assert images == {f"dsgd:{dsgd.__version__}", f"dsgd:{dsgd.__version__}-dask"}


def policies(folder: Path) -> list[dict[str, Any]]:
    found = [each for each in DOCUMENTS if each.kind == "NetworkPolicy" and each.path.parent == folder]
    return [each.content["spec"] for each in found]


def selects(selector: dict[str, Any], pod: Pod) -> bool:
    assert selector.keys() <= {"matchLabels"}
    return bool(selector.get("matchLabels", {}).items() <= pod.labels.items())


def passes(rules: list[dict[str, Any]], way: str, pod: Pod, port: int) -> bool:
    """Return whether one of the rules names the pod, in this namespace, and the port."""
    return any(
        selects(peer["podSelector"], pod)
        for rule in rules
        for peer in rule[way]
        if "namespaceSelector" not in peer
        and ("ports" not in rule or {"protocol": "TCP", "port": port} in rule["ports"])
    )


def may_dial(all_policies: list[dict[str, Any]], caller: Pod, called: Pod, port: int) -> bool:
    """Return whether a connection is let out at one end and let in at the other, as Kubernetes decides it."""
    ends = []
    for pod, other, kind, way in ((caller, called, "Egress", "to"), (called, caller, "Ingress", "from")):
        mine = [each for each in all_policies if kind in each["policyTypes"] and selects(each["podSelector"], pod)]
        ends.append(not mine or any(passes(each.get(kind.lower(), []), way, other, port) for each in mine))
    return all(ends)


def test_workers_dial_the_server_and_nobody_dials_anybody_else() -> None:
    ours, server, worker = policies(FOLDER), pod_of("server"), pod_of("worker")
    stranger = Pod(server.document, {"app.kubernetes.io/name": "another"}, {})
    reached = {
        (caller is worker, called is server, port)
        for caller in (worker, server, stranger)
        for called in (worker, server)
        for port in (PORT, 22)
        if may_dial(ours, caller, called, port)
    }
    assert reached == {(True, True, PORT)}
    with_letters = ours + policies(FOLDER / "letters")
    assert may_dial(with_letters, worker, worker, 40_000)
    assert not may_dial(with_letters, stranger, worker, 40_000)
    assert not may_dial(with_letters, server, worker, 40_000)


def test_pods_of_the_dask_cluster_dial_each_other_only() -> None:
    ours = policies(FOLDER / "dask")
    inside = [pod for pod in PODS if pod.document.path.parent == FOLDER / "dask"]
    stranger = Pod(inside[0].document, {"app.kubernetes.io/name": "another"}, {})
    assert len(inside) == 3
    for called in inside:
        assert all(may_dial(ours, caller, called, 8786) for caller in inside)
        assert not may_dial(ours, stranger, called, 8786)


def test_names_are_looked_up_at_the_cluster_s_own_servers() -> None:
    for folder in (FOLDER, FOLDER / "dask"):
        rules = [rule for policy in policies(folder) for rule in policy.get("egress", [])]
        (names,) = [rule for rule in rules if {"protocol": "UDP", "port": 53} in rule.get("ports", [])]
        (peer,) = names["to"]
        assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kube-system"}


def variables(container: dict[str, Any]) -> dict[str, str]:
    """Return the environment of a container; what the system fills in is 1."""
    values = {}
    for variable in container["env"]:
        key = variable.get("valueFrom", {}).get("configMapKeyRef")
        if key is not None:
            values[variable["name"]] = named("ConfigMap", key["name"]).content["data"][key["key"]]
        else:
            values[variable["name"]] = variable.get("value", "1")
    return values


def words_of(container: dict[str, Any]) -> list[str]:
    """Return the words after ``dsgd`` that a container runs."""
    assert "command" not in container  # the entry point of the image is dsgd
    environment = variables(container)
    return [re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], word) for word in container["args"]]


def parsed(words: list[str]) -> dict[str, Any]:
    """Return the options of a command line, such as ``--port``; an unknown one is an error."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert words[0] in commands, f"dsgd has no command {words[0]}"
    command = commands[words[0]]
    given = command.make_parser(command.context_class(command, info_name=words[0])).parse_args(args=words[1:])[0]
    return {option: given[each.name] for each in command.params for option in each.opts if each.name in given}


def test_an_option_that_does_not_exist_is_found() -> None:
    assert parsed(["fit", "train.svm", "--alpha", "1e-4"])["--alpha"] == "1e-4"
    with pytest.raises(Exception, match="--alhpa"):
        parsed(["fit", "train.svm", "--alhpa", "1e-4"])


def test_the_worker_s_command_exists() -> None:
    (container,) = pod_of("worker").containers
    options = parsed(words_of(container))
    assert options["--server"] == "dsgd-server:7077"
    assert (options["--rank"], options["--world"], options["--bytes"]) == ("1", "4", "auto")
    folder = Path(options["--token-file"]).parent.as_posix()
    assert folder in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_the_server_s_command_exists_and_resumes() -> None:
    (container,) = pod_of("server").containers
    options = parsed(words_of(container))
    assert (options["--port"], options["--world"], options["--advertise"]) == (str(PORT), "4", "dsgd-server")
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    for name in ("--checkpoint", "--model", "--history", "--token-file"):
        assert Path(options[name]).parent.as_posix() in mounts
    # A first start has no checkpoint, and takes none.
    assert options["--resume"] == options["--checkpoint"]


def test_the_script_of_the_dask_job_trains(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    da = pytest.importorskip("dask.array")
    random = np.random.default_rng(0)
    X = random.standard_normal((400, 5))
    for name, array in (("X", X), ("y", np.sign(X[:, 0]))):
        da.to_npy_stack(str(tmp_path / name), da.from_array(array, chunks=(100, *array.shape[1:])))
    script = named("ConfigMap", "dsgd-dask-script").content["data"]["fit.py"]
    (container,) = named("Job", "dsgd-dask-fit").content["spec"]["template"]["spec"]["containers"]
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        told = variables(container) | {
            "DASK_SCHEDULER_ADDRESS": cluster.scheduler_address,
            "DSGD_WORKERS": "2",
            "DSGD_DATA": str(tmp_path),
            "DSGD_STATE": str(tmp_path),
        }
        done = subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, **told}, capture_output=True, text=True, timeout=200
        )
    assert done.returncode == 0, done.stderr
    assert dsgd.load(tmp_path / "model.safetensors").score(X, np.sign(X[:, 0])) > 0.9


def test_the_chapter_on_kubernetes_names_every_file() -> None:
    text = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    for path in FOLDER.rglob("*.yaml"):
        assert f"deploy/kubernetes/{path.relative_to(FOLDER)}" in text
