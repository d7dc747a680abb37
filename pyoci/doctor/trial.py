"""The proof: the default bundle is run. Its program is pyoci-init, the one program that needs no library."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pyoci import host
from pyoci.container.init import PROGRAM
from pyoci.doctor.finding import BROKEN, Finding, of
from pyoci.errors import Error

AREA = "trial"
# What pyoci-init ends with if it is executed by anybody but pyoci.
EXPECTED = 125


def look() -> Iterator[Finding]:
    """Run it, in a directory of its own that is removed again."""
    with tempfile.TemporaryDirectory(prefix="pyoci-doctor-") as directory:
        yield _run(Path(directory))


def _run(directory: Path) -> Finding:
    from pyoci.container.request import Request
    from pyoci.container.run import run
    from pyoci.spec.bundle import load

    warnings: "list[str]" = []
    name, purpose = "the default bundle", "everything"
    begin = time.monotonic()
    try:
        _make_bundle(directory)
        bundle = load(str(directory))
        request = Request(str(directory / "states"), directory.name, bundle, warnings.append)
        status = run(request, detach=False, keep=False, subreaper=False)
    except (Error, OSError) as error:
        hint = error.hint if isinstance(error, Error) else None
        words = "; ".join(str(error).splitlines())
        return Finding(AREA, name, BROKEN, f"doesn't run: {words}", purpose, hint or "see the lines above")
    took = f"{(time.monotonic() - begin) * 1000:.0f} ms"
    found = f"ran in {took}" if status == EXPECTED else f"ended with status {status}, not {EXPECTED}"
    return of(
        AREA, name, status == EXPECTED, "; ".join([found, *warnings]), purpose, "see the lines above", BROKEN
    )


def _make_bundle(directory: Path) -> None:
    from pyoci.spec.default import default_config

    config = default_config(rootless=host.is_rootless())
    config["process"] |= {"terminal": False, "args": ["/bin/pyoci-probe"]}
    root = directory / "rootfs"
    (root / "bin").mkdir(parents=True)
    shutil.copyfile(PROGRAM, root / "bin/pyoci-probe")
    for path in (directory, root, root / "bin", root / "bin/pyoci-probe"):
        path.chmod(0o755)
    (directory / "config.json").write_text(json.dumps(config))
