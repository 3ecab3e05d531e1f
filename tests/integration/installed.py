"""flakelag as its users have it: a wheel in an environment of its own, away from the checkout.

Belongs here: building and installing it without a network. Does not belong here: what it should do
there.
"""

import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]

_IN_THE_WHEEL = ("assets", "pipelines", "pyproject.toml", "README.md", "LICENSE")
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def copy_of_the_source(folder: Path) -> Path:
    """What a wheel is built from, to be changed at will."""
    folder.mkdir()
    for name in _IN_THE_WHEEL:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def build_wheel(source: Path, folder: Path) -> Path:
    """The wheel of a copy of the source: building leaves files beside it."""
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder))
    subprocess.run([*_PIP, "wheel", *options, str(source)], check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """An environment with the wheel, which finds what it depends on where these tests do.

    Returns:
        The folder of its programs.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    programs = folder / "bin"
    pip = [*_PIP, "--python", str(programs / "python")]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    # A folder that is named so is not searched for further such files, and so not for the one by
    # which this checkout is installed where the tests run.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for script in distribution("dagster").entry_points.select(group="console_scripts"):
        program = programs / script.name
        program.write_text(
            f"#!{programs / 'python'}\n"
            f"import sys\nfrom {script.module} import {script.attr}\nsys.exit({script.attr}())\n"
        )
        program.chmod(0o755)
    return programs
