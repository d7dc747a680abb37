"""Annotations that change what is done: crun's, which podman sets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from conformance.runtime import Runtime, new_id

from .conftest import MakeBundle


@pytest.mark.parametrize(("value", "groups"), [("1", "0 71 72"), ("0", "0 9"), (None, "0 9")])
def test_the_callers_groups_can_be_kept(
    pyoci: Runtime, bundle: MakeBundle, tmp_path: Path, value: str | None, groups: str
) -> None:
    annotations = {} if value is None else {"run.oci.keep_original_groups": value}
    user = {"uid": 0, "gid": 0, "additionalGids": [9]}
    path = bundle(process={"args": ["id", "-G"], "user": user}, annotations=annotations)
    command = [*pyoci.command, "run", "--bundle", str(path), new_id()]
    with (tmp_path / "said").open("w") as output:
        subprocess.run(command, extra_groups=[71, 72], stdin=subprocess.DEVNULL, stdout=output, check=True)
    assert (tmp_path / "said").read_text().strip() == groups
