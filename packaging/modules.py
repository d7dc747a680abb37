"""Lists the package's Python files for meson.build, by their places below the checkout, without those that the build makes."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MADE = {"pyoci/plan/steps.py", "pyoci/spec/_validator.py"}

if __name__ == "__main__":
    files = [*ROOT.glob("pyoci/**/*.py"), ROOT / "pyoci/py.typed"]
    print("\n".join(sorted({str(file.relative_to(ROOT)) for file in files} - MADE)))
