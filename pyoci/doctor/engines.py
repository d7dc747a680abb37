"""The engines that are installed, and whether they know pyoci."""

import os
import shutil
from collections.abc import Iterator

from pyoci.doctor.finding import GOOD, LACKING, Finding
from pyoci.engines import known
from pyoci.errors import Error

AREA = "engines"
# Daemons are here, and often not in a user's PATH.
ADMINISTRATORS = "/usr/local/sbin:/usr/sbin:/sbin"


def look() -> Iterator[Finding]:
    """A finding for each that is installed."""
    path = f"{os.environ.get('PATH', os.defpath)}:{ADMINISTRATORS}"
    for engine in known.ENGINES:
        program = next(filter(None, (shutil.which(name, path=path) for name in engine.programs)), None)
        if program:
            yield _look_at(engine, program)


def _look_at(engine: known.Engine, program: str) -> Finding:
    purpose = f"{engine.name} with pyoci"
    mend = f"`pyoci setup {engine.name}`"
    if not engine.file:
        return Finding(AREA, engine.name, GOOD, program, purpose)
    try:
        knows = known.knows_pyoci(engine, engine.file)
    except Error as error:
        return Finding(AREA, engine.name, LACKING, f"{program}; {error.message}", purpose, mend)
    if knows:
        return Finding(AREA, engine.name, GOOD, f"{program}, which knows pyoci ({engine.file})", purpose)
    found = f"{program}, but {engine.file} doesn't name pyoci"
    return Finding(AREA, engine.name, LACKING, found, purpose, f"{mend}, with --write to have it done")
