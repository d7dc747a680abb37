"""Mount options: the specification's whole table is known, and of two that contradict the later wins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoci.plan import mount_options as options
from pyoci.plan.mounts import Mount, combine, normalise


def _words(text: str) -> list[str]:
    return text.split()


# config.md, "Linux mount options"; rnodev is missing there and is in the example of features.md.
MUST = _words("""
    async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev nodiratime noexec
    noiversion nolazytime norelatime nostrictatime nosuid private rbind relatime remount ro rprivate rshared rslave
    runbindable rw shared silent slave strictatime suid sync unbindable
""")
SHOULD = _words("""
    nosymfollow symfollow ratime rdev rdiratime relatime rexec rnoatime rnodev rnodiratime rnoexec rnorelatime
    rnostrictatime rnosuid rnosymfollow rrelatime rro rrw rstrictatime rsuid rsymfollow idmap ridmap
""")
# What each option says of which attribute. Of the access times only one way can be chosen.
MEANING: dict[str, tuple[int, int]] = {
    "ro": (options.RDONLY, options.RDONLY),
    "rw": (options.RDONLY, 0),
    "nosuid": (options.NOSUID, options.NOSUID),
    "suid": (options.NOSUID, 0),
    "nodev": (options.NODEV, options.NODEV),
    "dev": (options.NODEV, 0),
    "noexec": (options.NOEXEC, options.NOEXEC),
    "exec": (options.NOEXEC, 0),
    "nodiratime": (options.NODIRATIME, options.NODIRATIME),
    "diratime": (options.NODIRATIME, 0),
    "nosymfollow": (options.NOSYMFOLLOW, options.NOSYMFOLLOW),
    "symfollow": (options.NOSYMFOLLOW, 0),
    "noatime": (options.ATIME, options.NOATIME),
    "atime": (options.ATIME, options.RELATIME),
    "relatime": (options.ATIME, options.RELATIME),
    "norelatime": (options.ATIME, options.STRICTATIME),
    "strictatime": (options.ATIME, options.STRICTATIME),
    "nostrictatime": (options.ATIME, options.RELATIME),
}
LISTS = st.lists(st.sampled_from(sorted(MEANING)), max_size=12)


def mount(*listed: str, **entry: Any) -> Mount:
    whole = {"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": list(listed)} | entry
    return Mount(whole, "/mounts/3", "/bundle")


def expected(listed: list[str]) -> tuple[int, int]:
    """The bits that are spoken of, and what they end up as."""
    spoken = value = 0
    for option in listed:
        field, chosen = MEANING[option]
        spoken |= field
        value = value & ~field | chosen
    return spoken, value


@pytest.mark.parametrize("option", MUST + SHOULD)
def test_every_option_of_the_specification_is_known(option: str) -> None:
    assert option in options.OPTIONS


@pytest.mark.parametrize("option", MUST)
def test_an_option_that_is_a_must_is_supported_and_no_filesystems_own(option: str) -> None:
    assert options.OPTIONS[option][0] != "filesystem" or option == options.OPTIONS[option][1]


@given(LISTS)
def test_the_later_option_wins(listed: list[str]) -> None:
    made = mount(*listed)
    spoken, value = expected(listed)
    assert made.set == value
    assert made.clear & spoken & ~value & ~options.ATIME == spoken & ~value & ~options.ATIME
    assert bool(made.clear & options.ATIME) == bool(spoken & options.ATIME)
    assert made.clear | made.set == spoken
    assert (made.set_all, made.clear_all) == (0, 0)


@given(LISTS)
def test_the_recursive_options_are_the_same_for_everything_below(listed: list[str]) -> None:
    plain, recursive = mount(*listed), mount(*("r" + option for option in listed))
    assert (recursive.set_all, recursive.clear_all) == (plain.set, plain.clear)


@given(st.lists(st.sampled_from(sorted(options.OPTIONS)), max_size=12))
def test_no_attribute_is_both_set_and_cleared(listed: list[str]) -> None:
    made = mount(*listed)
    # mount_setattr(2) wants the whole field of the access time cleared by whoever sets a part of it.
    for put, cleared in ((made.set, made.clear), (made.set_all, made.clear_all)):
        assert not put & cleared & ~options.ATIME
        assert not put & options.ATIME or cleared & options.ATIME == options.ATIME
        # 0x30 and above are no values of the field: the kernel would refuse the mount.
        assert put & options.ATIME in (options.RELATIME, options.NOATIME, options.STRICTATIME)


@given(LISTS, LISTS)
def test_options_sort_out_the_same_in_one_list_as_step_by_step(first: list[str], second: list[str]) -> None:
    one, two, both = mount(*first), mount(*second), mount(*first, *second)
    assert combine(one.set, one.clear, two.set, two.clear) == (both.set, both.clear)


@given(st.lists(st.sampled_from(sorted(MEANING) + ["r" + option for option in MEANING]), max_size=12))
def test_the_later_wins_between_a_recursive_option_and_a_plain_one(listed: list[str]) -> None:
    plain = [option[1:] if option not in MEANING else option for option in listed]
    assert mount(*listed).attributes() == expected(plain)[1]


@pytest.mark.parametrize(
    ("listed", "flags"),
    [
        ("private", options.PRIVATE),
        ("rprivate", options.PRIVATE | options.REC),
        ("shared", options.SHARED),
        ("rshared", options.SHARED | options.REC),
        ("slave", options.SLAVE),
        ("rslave", options.SLAVE | options.REC),
        ("unbindable", options.UNBINDABLE),
        ("runbindable", options.UNBINDABLE | options.REC),
        ("ro", None),
    ],
)
def test_the_propagation_is_the_options(listed: str, flags: int | None) -> None:
    assert mount(*listed.split()).propagations == ([] if flags is None else [flags])


def test_several_propagations_are_set_one_after_the_other() -> None:
    made = mount("rslave", "ro", "shared")
    assert made.propagations == [options.SLAVE | options.REC, options.SHARED]


def test_what_nobody_knows_goes_to_the_filesystem_in_order() -> None:
    made = mount("mode=755", "nosuid", "size=1k", "acl", "sync", "silent", "defaults")
    assert made.data == ["mode=755", "size=1k", "acl", "sync"]
    assert made.set == options.NOSUID


@pytest.mark.parametrize(
    ("listed", "bind"), [("ro", None), ("bind", 0), ("rbind", 1), ("bind rbind", 1), ("rbind bind", 1)]
)
def test_a_bind_is_known_by_its_options(listed: str, bind: int | None) -> None:
    assert mount(*listed.split(), type="none").bind == bind
    assert mount("ro", type="bind").bind is None


def test_a_relative_source_of_a_bind_is_in_the_bundle_and_that_of_another_mount_is_a_name() -> None:
    assert mount("bind", source="data/x").source == "/bundle/data/x"
    assert mount("bind", source="/data").source == "/data"
    assert mount(source="shm").source == "shm"
    assert mount("bind", source=None).source == "/bundle/"


@given(st.lists(st.sampled_from(["a", "b c", ".", "", "..", "...", ".a"]), max_size=6), st.booleans())
def test_a_destination_is_below_the_root_without_empty_parts(parts: list[str], absolute: bool) -> None:
    path = normalise("/" * absolute + "/".join(parts))
    assert path[0] == "/"
    assert path == normalise(path) == normalise(path[1:])
    assert path[1:].split("/") == ([part for part in parts if part not in ("", ".")] or [""])


@given(st.lists(st.text(alphabet='ab=:"'), min_size=1, max_size=5))
def test_a_string_is_split_at_the_commas_outside_of_quotes(parts: list[str]) -> None:
    balanced = [part + '"' * (part.count('"') % 2) for part in parts]
    assert options.split(",".join(balanced)) == balanced


@pytest.mark.parametrize(
    "text", ['context="system_u:object_r:container_file_t:s0:c1,c2"', 'rootcontext="a,b,c"', 'x="a,b"y="c,d"']
)
def test_a_quoted_context_stays_whole(text: str) -> None:
    assert options.split(text) == [text]
    assert options.split(f"ro,{text},size=1k") == ["ro", text, "size=1k"]
    assert mount(text, "ro").data == [text]


def test_an_empty_option_says_nothing() -> None:
    assert mount("", "ro", "").data == []


@pytest.mark.parametrize("option", ["mode=700", "size=64k,mode=700", "mode=700,size=64k"])
def test_an_option_is_known_wherever_it_stands(option: str) -> None:
    assert mount(option).gives("mode")
    assert not mount(option.replace("mode", "xmode")).gives("mode")
    assert not mount('context="a,mode=5"').gives("mode")
