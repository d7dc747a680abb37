"""`import pyoci`: a Python program makes containers without a command."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import pyoci as api
from conformance.fixtures import REPOSITORY
from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle

Create = Callable[..., api.Container]


@pytest.fixture
def create(pyoci: Runtime) -> Create:
    """Create a container by the API; `pyoci` removes it if the test doesn't."""

    def made(bundle: Path, **options: object) -> api.Container:
        return api.Container.create(new_id(), api.Bundle.load(str(bundle)), str(pyoci.root), **options)

    return made


def shell(script: str) -> dict[str, list[str]]:
    return {"args": ["sh", "-c", script]}


def open_descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def test_a_container_lives_and_ends_and_leaves_no_descriptor_and_no_child(
    create: Create, bundle: MakeBundle, pyoci: Runtime
) -> None:
    quick = bundle(process=shell("exit 7"))
    before = open_descriptors()
    container = create(quick)
    assert container.status == "created"
    assert pyoci.state(container.id) == container.state()
    container.start()
    assert (container.wait(), container.wait()) == (7, 7)
    assert (container.status, container.pid) == ("stopped", 0)
    container.delete()
    assert open_descriptors() == before
    with pytest.raises(api.Error, match="does not exist"):
        container.state()


def test_the_commands_and_the_api_speak_of_the_same_containers(pyoci: Runtime, sleeper: Path) -> None:
    container = api.Container(pyoci.launch(sleeper), str(pyoci.root))
    assert container.status == "running"
    assert container.pid == pyoci.pid(container.id)
    # Not from here: orphans are adopted by this process.
    script = (
        f"import pyoci; container = pyoci.Container({container.id!r}, {container.root!r});"
        "container.kill('KILL'); print(container.wait(timeout=10))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY)
    assert (done.stdout, done.stderr) == ("None\n", "")
    container.delete()
    assert "does not exist" in pyoci.fails("state", container.id)


def test_the_end_by_a_signal_is_told_as_shells_tell_it(create: Create, sleeper: Path) -> None:
    container = create(sleeper)
    container.start()
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
        container.wait(timeout=0.05)
    container.kill(9)
    assert container.wait(timeout=10) == 128 + 9


def test_a_deleted_container_is_no_zombie(create: Create, sleeper: Path) -> None:
    container = create(sleeper)
    pid = container.pid
    container.delete(force=True)
    assert not Path(f"/proc/{pid}").exists()
    container.delete(force=True)
    with pytest.raises(api.Error, match="does not exist"):
        container.delete()


def test_exec_runs_a_program_as_the_containers_own_or_a_whole_process(
    create: Create, sleeper: Path, tmp_path: Path
) -> None:
    container = create(sleeper)
    container.start()
    assert container.exec(["sh", "-c", "exit 3"]).wait() == 3
    killed = container.exec(["sh", "-c", "kill -9 $$"])
    assert (killed.wait(), killed.wait()) == (128 + 9, 128 + 9)
    process = {"args": ["sh", "-c", "exit $(id -u)"], "cwd": "/tmp", "user": {"uid": 5, "gid": 0}}
    process["env"] = ["PATH=/bin"]
    assert container.exec(process, pid_file=str(tmp_path / "pid")).wait() == 5
    assert (tmp_path / "pid").read_text().isdecimal()
    with pytest.raises(TypeError, match="a list"):
        container.exec("true")
    with pytest.raises(api.ConfigError, match=r"process: /cwd: must be an absolute path"):
        container.exec({**process, "cwd": "tmp"})


def test_exec_leaves_the_callers_own_affinity_as_it_was(create: Create, sleeper: Path) -> None:
    container = create(sleeper)
    container.start()
    before = os.sched_getaffinity(0)
    first = min(before)
    process = {"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "execCPUAffinity": {"initial": str(first)}}
    process["user"] = {"uid": 0, "gid": 0}
    assert container.exec(process).wait() == 0
    assert os.sched_getaffinity(0) == before


def test_pause_update_and_processes(create: Create, sleeper: Path) -> None:
    container = create(sleeper)
    container.start()
    assert container.processes() == [container.pid]
    container.pause()
    assert container.status == "paused"
    container.resume()
    assert container.status == "running"
    container.update({"pids": {"limit": 77}})
    groups = Path(f"/proc/{container.pid}/cgroup").read_text()
    path = re.search(r"(?:pids|^0:):(/pyoci\S+)", groups, re.MULTILINE)
    assert path
    found = [*Path("/sys/fs/cgroup").glob(f"*{path[1]}/pids.max"), Path(f"/sys/fs/cgroup{path[1]}/pids.max")]
    assert next(file for file in found if file.exists()).read_text() == "77\n"


def test_mistakes_are_errors_with_every_problem(pyoci: Runtime, bundle: MakeBundle) -> None:
    with pytest.raises(api.ConfigError) as caught:
        api.Bundle.load(str(bundle(process={"cwd": "tmp", "args": []})))
    assert [problem.pointer for problem in caught.value.problems] == ["/process/args", "/process/cwd"]
    with pytest.raises(api.Error, match="not a valid container id"):
        api.Container("../x", str(pyoci.root))
    with pytest.raises(api.Error, match='unknown signal "NONE"'):
        api.Container("x", str(pyoci.root)).kill("NONE")


def test_warnings_go_where_they_are_wanted(create: Create, bundle: MakeBundle) -> None:
    hook = {"path": "/bin/false"}
    told: list[str] = []
    for options in ({"warn": told.append}, {}):
        container = create(bundle(process=shell("true"), hooks={"poststop": [hook]}), **options)
        container.start()
        container.wait()
        if options:
            container.delete()
        else:
            with pytest.warns(UserWarning, match="poststop: hook /bin/false"):
                container.delete()
    assert len(told) == 1
    assert told[0].startswith("poststop: hook /bin/false")


def test_a_plan_is_compiled_without_making_anything(bundle: MakeBundle, pyoci: Runtime) -> None:
    plan = api.compile_plan(api.Bundle.load(str(bundle(process={"args": ["a", "b"]}))))
    assert plan.steps[-1].name == "execute"
    (prepared,) = [step for step in plan.steps if step.name == "prepare-program"]
    assert prepared.arguments[0] == ["a", "b"]
    assert os.listdir(pyoci.root) == []


def test_the_example_has_twenty_lines_and_runs(bundle: MakeBundle) -> None:
    example = REPOSITORY / "examples/run.py"
    assert len(example.read_text().splitlines()) <= 20
    sleeper = bundle(process={"args": ["sleep", "1000"]})
    command = [sys.executable, str(example), str(sleeper)]
    # It takes the package from where it is installed; here, from the checkout.
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"\d+ steps make it\n"
        r"example-\d+ is running, its process is \d+\n"
        r"another process ended with 3\n"
        r"it ended with 137\n",
        done.stdout,
    )


def test_importing_the_package_imports_nothing_else() -> None:
    script = "import sys; before = set(sys.modules); import pyoci; print(*sorted(set(sys.modules) - before))"
    command = [sys.executable, "-IS", "-c", f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); {script}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "pyoci\n"


def test_every_public_name_is_there_and_documented() -> None:
    for name in api.__all__:
        assert getattr(api, name) is not None
        assert name in dir(api)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = api.nonsense  # type: ignore[attr-defined]
    tree = ast.parse((REPOSITORY / "pyoci/api.py").read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
    assert len(functions) > 10
    assert all(ast.get_docstring(node) for node in functions)


def test_type_checkers_find_the_types() -> None:
    assert (REPOSITORY / "pyoci/py.typed").exists()
    program = (
        "import pyoci\n"
        "pyoci.Container('x').kill(None)\n"
        "pyoci.Bundle.load(1)\n"
        "reveal_type(pyoci.Container('x').wait())\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "-c", program]
    said = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY).stdout
    assert said.count("incompatible type") == 2
    assert "int | None" in said or "Union[int, None]" in said
