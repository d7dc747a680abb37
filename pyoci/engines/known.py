"""One table of engines: which program it is, which file tells it of runtimes, and what that has to say."""

import json
import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyoci.errors import Error, cause_of

JSON, TOML, YAML = "json", "toml", "yaml"
NAME = "pyoci"
PODMANS_FILE = "/etc/containers/containers.conf.d/50-pyoci.conf"
CONTAINERD_V2, CONTAINERD_V3 = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"


@dataclass(frozen=True)
class Wanted:
    """What an engine is to be told.

    Attributes:
        command: the absolute path of pyoci.
        default: pyoci becomes the engine's default runtime.
        systemd: the engine asks for the systemd driver.
        version: of the file's format, where there are several; 0 is the usual one.
    """

    command: str
    default: bool = False
    systemd: bool = False
    version: int = 0


@dataclass(frozen=True)
class Engine:
    """An engine.

    Attributes:
        name: what `pyoci setup` calls it.
        programs: any of these shows that it is installed.
        file: where it reads of runtimes; "" if that is no file.
        form: JSON, TOML or YAML.
        settings: what the file has to say, as text of that form.
        runtimes: the part of a parsed file that lists runtimes by name.
        afterwards: what makes it read the file.
    """

    name: str
    programs: tuple[str, ...]
    file: str
    form: str
    settings: Callable[[Wanted], str]
    runtimes: Callable[[dict[str, Any]], Any]
    afterwards: str


def _docker(wanted: Wanted) -> str:
    settings: dict[str, Any] = {"runtimes": {NAME: {"path": wanted.command}}}
    if wanted.systemd:
        settings["exec-opts"] = ["native.cgroupdriver=systemd"]
    if wanted.default:
        settings["default-runtime"] = NAME
    return json.dumps(settings, indent=2) + "\n"


def _containerd(wanted: Wanted) -> str:
    version = wanted.version or 2
    plugin = f'plugins."{CONTAINERD_V3 if version >= 3 else CONTAINERD_V2}".containerd'
    default = f'[{plugin}]\ndefault_runtime_name = "{NAME}"\n\n' if wanted.default else ""
    return (
        f"version = {version}\n\n{default}"
        f'[{plugin}.runtimes.{NAME}]\nruntime_type = "io.containerd.runc.v2"\n\n'
        f"[{plugin}.runtimes.{NAME}.options]\n"
        f"BinaryName = {json.dumps(wanted.command)}\nSystemdCgroup = {str(wanted.systemd).lower()}\n"
    )


def _containerd_runtimes(parsed: dict[str, Any]) -> Any:
    plugins = parsed.get("plugins", {})
    found: dict[str, Any] = {}
    for plugin in (CONTAINERD_V2, CONTAINERD_V3):
        found |= plugins.get(plugin, {}).get("containerd", {}).get("runtimes", {})
    return found


def _podman(wanted: Wanted) -> str:
    default = f'runtime = "{NAME}"\n' if wanted.default else ""
    return (
        f"[engine]\n{default}"
        # Else podman takes pyoci's messages for text, and shows less of them.
        f'runtime_supports_json = ["crun", "runc", "kata", "runsc", "youki", "krun", "{NAME}"]\n\n'
        f"[engine.runtimes]\n{NAME} = [{json.dumps(wanted.command)}]\n"
    )


def _crio(wanted: Wanted) -> str:
    default = f'[crio.runtime]\ndefault_runtime = "{NAME}"\n\n' if wanted.default else ""
    return (
        f"{default}[crio.runtime.runtimes.{NAME}]\n"
        f'runtime_path = {json.dumps(wanted.command)}\nruntime_type = "oci"\nruntime_root = "/run/pyoci"\n'
    )


def _kubernetes(wanted: Wanted) -> str:
    return f"apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: {NAME}\nhandler: {NAME}\n"


def _podmans_file() -> str:
    if os.geteuid() == 0:
        return PODMANS_FILE
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return f"{home}/containers/containers.conf.d/50-pyoci.conf"


ENGINES = (
    Engine(
        "docker",
        ("dockerd",),
        "/etc/docker/daemon.json",
        JSON,
        _docker,
        lambda parsed: parsed.get("runtimes"),
        "systemctl reload docker",
    ),
    Engine(
        "containerd",
        ("containerd",),
        "/etc/containerd/config.toml",
        TOML,
        _containerd,
        _containerd_runtimes,
        "systemctl restart containerd",
    ),
    Engine(
        "podman",
        ("podman",),
        _podmans_file(),
        TOML,
        _podman,
        lambda parsed: parsed.get("engine", {}).get("runtimes"),
        "",
    ),
    Engine(
        "crio",
        ("crio",),
        "/etc/crio/crio.conf.d/50-pyoci.conf",
        TOML,
        _crio,
        lambda parsed: parsed.get("crio", {}).get("runtime", {}).get("runtimes"),
        "systemctl restart crio",
    ),
    Engine(
        "kubernetes",
        ("kubelet",),
        "",
        YAML,
        _kubernetes,
        lambda parsed: None,
        "kubectl apply -f FILE; a pod asks for it by `runtimeClassName: pyoci`",
    ),
)


def find(name: str) -> Engine:
    """The engine of that name. Raises Error."""
    for engine in ENGINES:
        if engine.name == name:
            return engine
    raise Error(f'"{name}" is not an engine that pyoci knows: {", ".join(engine.name for engine in ENGINES)}')


def parse(form: str, text: str, path: str) -> dict[str, Any]:
    """The contents of a file that tells an engine of runtimes; {} of an empty one. Raises Error that names it."""
    try:
        parsed = tomllib.loads(text) if form == TOML else json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise Error(f"{path}: is not {form.upper()}: {error}") from None
    if not isinstance(parsed, dict):
        raise Error(f"{path}: is not an object")
    return parsed


def knows_pyoci(engine: Engine, path: str) -> bool:
    """Whether a file of the engine's lists pyoci. Raises Error for one that can't be read."""
    try:
        text = Path(path).read_text()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Error(f"{path}: {cause_of(error)}") from None
    except UnicodeDecodeError:
        raise Error(f"{path}: is not UTF-8") from None
    return NAME in (engine.runtimes(parse(engine.form, text, path)) or {})
