"""What of /proc/self/mountinfo is a hierarchy, and which cgroupsPath is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoci.cgroups import layout
from pyoci.errors import ConfigError

TMPFS = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
UNIFIED = b"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def v1(device: int, point: bytes, options: bytes, root: bytes = b"/", optional: bytes = b"") -> bytes:
    return b"32 31 0:%d %s %s rw,nosuid%s - cgroup cgroup rw,%s\n" % (device, root, point, optional, options)


def test_one_hierarchy_a_controller_and_a_v2_tree_beside_them_is_hybrid() -> None:
    table = TMPFS + v1(29, b"/sys/fs/cgroup/cpu", b"cpu") + v1(37, b"/sys/fs/cgroup/systemd", b"name=systemd")
    found = layout.read(table + UNIFIED)
    assert found.mode == "hybrid"
    assert found.hierarchies == [
        ("/sys/fs/cgroup/cpu", ("cpu",)),
        ("/sys/fs/cgroup/systemd", ("name=systemd",)),
    ]
    assert found.unified == "/sys/fs/cgroup/unified"


def test_controllers_that_share_a_mount_are_one_hierarchy() -> None:
    found = layout.read(
        v1(5, b"/sys/fs/cgroup/cpu,cpuacct", b"xattr,cpu,cpuacct", optional=b" shared:9 master:1")
    )
    assert found.mode == "v1"
    assert found.hierarchies == [("/sys/fs/cgroup/cpu,cpuacct", ("cpu", "cpuacct"))]


def test_other_mount_options_are_not_controllers() -> None:
    found = layout.read(v1(5, b"/c", b"name=systemd,xattr,release_agent=/lib/agent,clone_children,noprefix"))
    assert found.hierarchies == [("/c", ("name=systemd",))]


def test_a_v2_tree_at_sys_fs_cgroup_is_v2_whatever_is_mounted_elsewhere() -> None:
    table = b"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n" + v1(
        50, b"/opt/vpn/net_cls", b"net_cls"
    )
    found = layout.read(table)
    assert (found.mode, found.unified, found.hierarchies) == ("v2", "/sys/fs/cgroup", [])


def test_a_v2_tree_alone_is_v2_wherever_it_is() -> None:
    assert layout.read(UNIFIED).mode == "v2"


def test_octal_escapes_in_a_mount_point_are_resolved() -> None:
    found = layout.read(v1(5, rb"/a\040b\134c\012d", b"cpu"))
    assert found.hierarchies == [("/a b\\c\nd", ("cpu",))]


def test_a_mount_of_the_whole_hierarchy_is_preferred_to_one_of_a_part() -> None:
    part = v1(5, b"/var/lib/some/rootfs/cpu", b"cpu", root=b"/pyoci/x")
    assert layout.read(part + v1(5, b"/sys/fs/cgroup/cpu", b"cpu")).hierarchies[0][0] == "/sys/fs/cgroup/cpu"
    assert layout.read(v1(5, b"/sys/fs/cgroup/cpu", b"cpu") + part).hierarchies[0][0] == "/sys/fs/cgroup/cpu"


def test_inside_a_container_the_part_that_is_mounted_is_used() -> None:
    found = layout.read(v1(5, b"/sys/fs/cgroup/cpu", b"cpu", root=b"/docker/abc"))
    assert found.hierarchies == [("/sys/fs/cgroup/cpu", ("cpu",))]


def test_a_mount_from_outside_of_our_cgroup_namespace_is_not_used() -> None:
    assert layout.read(v1(5, b"/sys/fs/cgroup/cpu", b"cpu", root=b"/../..")).hierarchies == []


def test_a_host_without_cgroups_has_no_hierarchies() -> None:
    found = layout.read(TMPFS)
    assert (found.hierarchies, found.unified) == ([], None)


@given(st.binary(max_size=200).map(lambda junk: junk.replace(b"\n", b" - cgroup ")))
def test_no_line_makes_it_fail(junk: bytes) -> None:
    layout.read(TMPFS + junk + b"\n" + UNIFIED)


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        (None, "/pyoci/web"),
        ("", "/pyoci/web"),
        ("/system.slice/web", "/system.slice/web"),
        ("/a", "/a"),
        ("team/web", "/pyoci/team/web"),
        ("with blank", "/pyoci/with blank"),
        ("..a/b..", "/pyoci/..a/b.."),
    ],
)
def test_a_cgroups_path_has_one_place(path: str | None, resolved: str) -> None:
    assert layout.resolve(path, "web") == resolved


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "..",
        "/..",
        "../a",
        "/a/../../b",
        "a/..",
        "/a//b",
        "a/",
        "/a/",
        "//a",
        "/a/./b",
        ".",
        "a\0b",
        "a\nb",
        "a\x1bb",
    ],
)
def test_a_cgroups_path_that_could_lead_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        layout.resolve(path, "web")
    assert caught.value.problems[0].pointer == "/linux/cgroupsPath"


@given(st.text(st.sampled_from("/.ab\n\0 "), max_size=12))
def test_what_is_resolved_stays_below_the_mount_point(path: str) -> None:
    try:
        resolved = layout.resolve(path, "web")
    except ConfigError:
        return
    parts = resolved.split("/")
    assert parts[0] == ""
    assert parts[1:]
    assert not {"", ".", ".."} & set(parts[1:])
    assert resolved.isprintable()
    assert path.startswith("/") or resolved.startswith("/pyoci/")
