"""The state directory: one owner for an id, one command at a time, and files that are whole or not there."""

from __future__ import annotations

import os
import posix
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoci.container import store
from pyoci.container.store import BusyError, Entry, NotFoundError, check_id, find, reserve
from pyoci.errors import Error
from pyoci.files import write_file

REPOSITORY = Path(__file__).resolve().parents[3]
CHARACTERS = "".join(sorted(store.ID_CHARACTERS))
VALID = re.compile(r"[A-Za-z0-9_+.-]{1,255}", re.ASCII)


def in_another_process(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    head = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\nfrom pyoci.container import store\n"
    return subprocess.run(
        [sys.executable, "-ISc", head + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
    )


def opened(root: Path, container_id: str) -> Entry:
    entry = Entry(str(root), container_id)
    entry.open()
    return entry


# Ids.


@given(st.text(CHARACTERS, min_size=1, max_size=255).filter(lambda text: text not in (".", "..")))
def test_an_id_of_the_usual_characters_is_valid(text: str) -> None:
    assert check_id(text) == text


@given(
    st.one_of(
        st.text(),
        st.text(CHARACTERS + "/ \n\0é~", max_size=6),
        st.text(CHARACTERS, min_size=250, max_size=260),
    )
)
def test_an_id_is_valid_or_refused(text: str) -> None:
    valid = VALID.fullmatch(text) and text not in (".", "..")
    if valid:
        check_id(text)
    else:
        with pytest.raises(Error):
            check_id(text)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a/b", "/", "../x", "a b", "a\0", "a\n", "~seccomp", "ä", "٣"]
)
def test_what_could_lead_out_of_the_root_is_no_id(text: str, tmp_path: Path) -> None:
    for function in (reserve, find):
        with pytest.raises(Error, match="is not a valid container id"):
            function(str(tmp_path / "root"), text)
    assert os.listdir(tmp_path) == []


def test_the_seccomp_cache_is_no_container(tmp_path: Path) -> None:
    (tmp_path / store.SECCOMP_CACHE).mkdir()
    assert store.list_ids(str(tmp_path)) == []


def test_the_longest_id_can_be_a_container_and_a_longer_one_is_refused(tmp_path: Path) -> None:
    entry = reserve(str(tmp_path), "x" * store.LONGEST_ID)
    # sun_path of unix(7), with the zero at its end.
    assert len(entry.start_socket) < 108
    entry.close()
    with pytest.raises(Error, match="too long: 256 characters, 255 are possible"):
        check_id("x" * (store.LONGEST_ID + 1))


# Reserving and finding.


def test_an_id_is_reserved_once(tmp_path: Path) -> None:
    entry = reserve(str(tmp_path), "c1")
    with pytest.raises(Error, match='container "c1" already exists'):
        reserve(str(tmp_path), "c1")
    entry.close()
    with pytest.raises(Error, match="already exists"):
        reserve(str(tmp_path), "c1")


def test_one_of_many_processes_gets_the_id(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pyoci.container import store
sys.stdin.read()
try:
    store.reserve(sys.argv[1], "c1")
except store.Error as error:
    sys.exit(0 if "already exists" in error.message else 2)
sys.exit(1)
"""
    command = [sys.executable, "-ISc", script, str(tmp_path / "root")]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(6)]
    for process in running:
        assert process.stdin
        process.stdin.close()
    assert sorted(process.wait(timeout=30) for process in running) == [0, 0, 0, 0, 0, 1]


def after_making(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Something happens between the making of an id's directory and its lock, once."""
    make = store.files.make_directory

    def made(path: str, mode: int) -> None:
        make(path, mode)
        if path.endswith("/c1"):
            monkeypatch.setattr(store.files, "make_directory", make)
            act()

    monkeypatch.setattr(store.files, "make_directory", made)


def deleted(root: Path) -> None:
    entry = opened(root, "c1")
    entry.lock()
    entry.remove()
    entry.close()


def test_an_id_that_is_deleted_while_it_is_reserved_is_reserved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_making(monkeypatch, lambda: deleted(tmp_path))
    entry = reserve(str(tmp_path), "c1")
    assert opened(tmp_path, "c1").is_locked_elsewhere()
    entry.save()
    assert os.listdir(tmp_path / "c1") == ["state.json"]


def test_an_id_that_is_deleted_and_reserved_by_another_is_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has even been made and let go by the time that we get the lock."""

    def taken() -> None:
        deleted(tmp_path)
        other = reserve(str(tmp_path), "c1")
        other.state = {"pid": 7, "start_time": 1}
        other.save()
        other.close()

    after_making(monkeypatch, taken)
    with pytest.raises(Error, match='container "c1" already exists'):
        reserve(str(tmp_path), "c1")
    assert find(str(tmp_path), "c1").state["pid"] == 7


def test_an_id_that_another_holds_is_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holders = []

    def taken() -> None:
        deleted(tmp_path)
        holders.append(reserve(str(tmp_path), "c1"))

    monkeypatch.setattr(store.Entry.lock, "__defaults__", (0.05,))
    after_making(monkeypatch, taken)
    with pytest.raises(Error, match='container "c1" already exists'):
        reserve(str(tmp_path), "c1")
    holders[0].close()


def test_a_lock_that_is_had_on_a_directory_that_was_replaced_is_none(tmp_path: Path) -> None:
    holder = reserve(str(tmp_path), "c1")
    late = opened(tmp_path, "c1")
    # Not removed, so that its link count says nothing.
    (tmp_path / "c1").rename(tmp_path / "c2")
    following = reserve(str(tmp_path), "c1")
    holder.close()
    with pytest.raises(NotFoundError):
        late.lock(1)
    late.remove()
    assert (tmp_path / "c1").is_dir(), "it was another's to remove"
    following.close()


@pytest.mark.parametrize("mask", [0, 0o777])
def test_the_directories_are_for_their_owner_only(tmp_path: Path, mask: int) -> None:
    root = tmp_path / "a/root"
    mask = os.umask(mask)
    try:
        reserve(str(root), "c1").close()
    finally:
        os.umask(mask)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "c1").stat().st_mode) == 0o700


def test_a_root_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in ("file/root", "file"):
        with pytest.raises(Error, match=rf"can't make the state directory .*/{root}/c1: Not a directory"):
            reserve(f"{tmp_path}/{root}", "c1")


def test_an_unknown_id_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root, name in [(tmp_path, "c1"), (tmp_path / "no", "c1"), (tmp_path, "file")]:
        # containerd looks for these words.
        with pytest.raises(NotFoundError, match="does not exist"):
            find(str(root), name)


def test_what_was_saved_is_found(tmp_path: Path) -> None:
    entry = reserve(str(tmp_path), "c1")
    entry.state = {"pid": 7, "start_time": 1, "annotations": {"ä": "\n"}, "cgroups": {"path": "/x"}}
    entry.save()
    assert find(str(tmp_path), "c1").state == entry.state
    assert stat.S_IMODE((tmp_path / "c1/state.json").stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "c1") == ["state.json"]


def test_ids_are_listed_in_order_and_nothing_else_is(tmp_path: Path) -> None:
    for name in ("b", "a", "C"):
        reserve(str(tmp_path), name).close()
    (tmp_path / "file").write_text("")
    (tmp_path / "no id").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert store.list_ids(str(tmp_path)) == ["C", "a", "b"]
    assert store.list_ids(str(tmp_path / "none")) == []
    with pytest.raises(Error, match="Not a directory"):
        store.list_ids(str(tmp_path / "file"))


# The lock.

TRY = """
entry = store.Entry(sys.argv[1], "c1")
entry.open()
print(entry.is_locked_elsewhere(), entry.try_lock())
"""


def test_a_reserved_container_is_locked_for_other_processes_until_it_is_closed(tmp_path: Path) -> None:
    entry = reserve(str(tmp_path), "c1")
    assert in_another_process(TRY, tmp_path).stdout == "True False\n"
    entry.close()
    assert in_another_process(TRY, tmp_path).stdout == "False True\n"


def test_a_lock_goes_with_its_process_however_it_ends(tmp_path: Path) -> None:
    script = "store.reserve(sys.argv[1], 'c1')\nimport os; os.kill(os.getpid(), 9)"
    assert in_another_process(script, tmp_path).returncode == -9
    assert opened(tmp_path, "c1").try_lock()


def test_a_lock_is_awaited(tmp_path: Path) -> None:
    holder = reserve(str(tmp_path), "c1")
    threading.Timer(0.2, holder.close).start()
    began = time.monotonic()
    opened(tmp_path, "c1").lock(20)
    assert 0.1 < time.monotonic() - began < 10


def test_a_lock_that_stays_taken_makes_the_container_busy(tmp_path: Path) -> None:
    holder = reserve(str(tmp_path), "c1")
    with pytest.raises(BusyError, match='container "c1" is busy'):
        opened(tmp_path, "c1").lock(0.05)
    holder.close()


def test_a_container_that_was_deleted_while_its_lock_was_awaited_does_not_exist(tmp_path: Path) -> None:
    holder = reserve(str(tmp_path), "c1")
    late = opened(tmp_path, "c1")
    holder.remove()
    holder.close()
    with pytest.raises(NotFoundError):
        late.lock(1)


def test_the_lock_of_a_deleted_container_is_not_that_of_the_next_with_its_id(tmp_path: Path) -> None:
    holder = reserve(str(tmp_path), "c1")
    holder.remove()
    following = reserve(str(tmp_path), "c1")
    assert opened(tmp_path, "c1").is_locked_elsewhere()
    holder.close()
    following.close()


# Files.


def test_a_written_file_has_its_content_and_mode_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"first, and longer", b"second", b""):
        write_file(str(path), content, 0o600)
        assert path.read_bytes() == content
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_in_the_place_of_the_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("kept")
    (tmp_path / "file").symlink_to("other")
    write_file(str(tmp_path / "file"), b"new", 0o600)
    assert (tmp_path / "other").read_text() == "kept"
    assert not (tmp_path / "file").is_symlink()


def test_a_reader_sees_the_old_or_the_new_file_and_never_half_of_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [letter * 200_000 for letter in (b"a", b"b")]
    write_file(str(path), contents[0], 0o600)
    done = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(200):
        write_file(str(path), contents[turn % 2], 0o600)
    done.set()
    reader.join()
    assert seen <= set(contents)


@pytest.mark.parametrize("mask", [0, 0o777])
def test_the_umask_is_without_effect(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_file(str(tmp_path / "file"), b"x", 0o644)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    write_file(f"{tmp_path}/{'x' * 255}", b"x", 0o600)
    assert os.listdir(tmp_path) == ["x" * 255]


def test_whatever_has_the_temporary_name_is_neither_written_nor_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have put it there, in a directory that isn't ours."""
    numbers = iter([b"a", b"b", b"c"])
    monkeypatch.setattr(store.files.posix, "urandom", lambda _: next(numbers))
    (tmp_path / "other").write_text("kept")
    for name, target in ((b"a", "other"), (b"b", "nowhere")):
        (tmp_path / f".pyoci-{name.hex()}").symlink_to(target)
    write_file(str(tmp_path / "file"), b"x", 0o600)
    assert (tmp_path / "file").read_bytes() == b"x"
    assert (tmp_path / "other").read_text() == "kept"
    assert sorted(os.listdir(tmp_path)) == [".pyoci-61", ".pyoci-62", "file", "other"]


def test_a_file_that_cannot_be_replaced_leaves_no_temporary(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(Error, match=f"can't write {tmp_path}/file: Is a directory"):
        write_file(str(tmp_path / "file"), b"x", 0o600)
    assert os.listdir(tmp_path) == ["file"]


def test_a_disk_without_room_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    # A limit on the size of files stands for the full disk. Python ignores SIGXFSZ, so it is an errno.
    script = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    store.files.write_file(sys.argv[1], b"x" * 1000, 0o600)
except store.Error as error:
    print(error.message)
"""
    run = in_another_process(script, tmp_path / "file")
    assert run.stdout == f"can't write {tmp_path}/file: File too large\n", run.stderr
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_directory_that_is_gone_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(Error, match="No such file or directory"):
        write_file(f"{tmp_path}/no/file", b"x", 0o600)


# state.json as it may be found.


def test_a_container_whose_state_was_never_written_has_none(tmp_path: Path) -> None:
    reserve(str(tmp_path), "c1").close()
    assert find(str(tmp_path), "c1").state == {}


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"pid": 1', b"\xff", b"nothing", b'{"a":1}{"a":2}', b'{"a":1,"a":2}', b"\0" * 64]
)
def test_a_damaged_state_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    reserve(str(tmp_path), "c1").close()
    path = tmp_path / "c1/state.json"
    path.write_bytes(content)
    with pytest.raises(Error, match=re.escape(str(path))):
        find(str(tmp_path), "c1")


def test_a_path_that_is_no_utf_8_can_be_kept_in_the_state(tmp_path: Path) -> None:
    entry = reserve(str(tmp_path), "c1")
    entry.state = {"bundle": os.fsdecode(b"/caf\xe9")}
    entry.save()
    assert find(str(tmp_path), "c1").state == entry.state


@pytest.mark.parametrize("content", [b"[]", b"null", b'"x"'])
def test_a_state_that_is_no_object_is_damaged(tmp_path: Path, content: bytes) -> None:
    reserve(str(tmp_path), "c1").close()
    (tmp_path / "c1/state.json").write_bytes(content)
    with pytest.raises(Error):
        find(str(tmp_path), "c1")


# Removal.


def test_removing_takes_the_directory_and_the_files_in_it_and_may_be_repeated(tmp_path: Path) -> None:
    entry = reserve(str(tmp_path), "c1")
    entry.state = {"pid": 1}
    entry.save()
    (tmp_path / "c1/start.sock").write_text("")
    reserve(str(tmp_path), "c2").close()
    entry.remove()
    entry.remove()
    entry.close()
    assert os.listdir(tmp_path) == ["c2"]
    reserve(str(tmp_path), "c1").close()


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    entry = reserve(str(tmp_path), "c1")
    (tmp_path / "c1/notify").mkdir()
    (tmp_path / "c1/notify/deep").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(posix, "rmdir", lambda path: (_ for _ in ()).throw(OSError(16, "busy", path)))
        with pytest.raises(Error, match=f"{tmp_path}/c1: can't be removed: "):
            entry.remove()
    entry.remove()
    assert os.listdir(tmp_path) == []
    entry.close()


def test_closing_twice_is_fine_and_leaves_no_descriptor(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    entry = reserve(str(tmp_path), "c1")
    entry.close()
    entry.close()
    assert os.listdir("/proc/self/fd") == before
