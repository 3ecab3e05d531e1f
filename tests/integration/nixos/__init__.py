"""Nix for the tests: `nix-instantiate`, and what evaluates our flake without a network.

Belongs here: having Nix without installing it. Does not belong here: what should come out.
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.markdown import ROOT

_EVALUATE = Path(__file__).with_name("evaluate.nix")


@dataclass(frozen=True)
class Nix:
    """A `nix-instantiate` whose store and state are in a folder of the test."""

    program: str
    folder: Path
    libraries: tuple[Path, ...] = field(default=())

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        own = {f"NIX_{name}_DIR": str(self.folder / name) for name in ("STORE", "STATE", "LOG")}
        paths = [str(path) for path in self.libraries]
        return subprocess.run(
            [self.program, *arguments],
            env={
                **os.environ,
                **own,
                "NIX_CONF_DIR": str(self.folder / "CONF"),
                "HOME": str(self.folder),
                **({"LD_LIBRARY_PATH": ":".join(paths)} if paths else {}),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def parse(self, file: Path) -> None:
        parsed = self._run("--parse", str(file))
        assert parsed.returncode == 0, parsed.stderr

    def evaluate(self, definitions: str) -> Any:
        """What the flake gives where `services.flakelag` is defined so."""
        told = self._try(definitions)
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)

    def refuse(self, definitions: str) -> str:
        """Why the module does not take these definitions."""
        told = self._try(definitions)
        assert told.returncode != 0, told.stdout
        return told.stderr

    def _try(self, definitions: str) -> "subprocess.CompletedProcess[str]":
        given = ("--arg", "root", str(ROOT), "--arg", "definitions", definitions)
        return self._run("--eval", "--strict", "--json", str(_EVALUATE), *given)


def nix_in(folder: Path) -> Nix:
    """Nix from PATH, else Debian's `nix-bin`, unpacked below a folder and not installed."""
    if program := shutil.which("nix-instantiate"):
        return Nix(program, folder)
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("Neither nix-instantiate nor Debian's apt-get, to unpack it with, is here.")
    asked = ("apt-get", "install", "--simulate", "--no-install-recommends", "nix-bin")
    wanted = subprocess.run(asked, capture_output=True, text=True, check=False)
    # Perl is for programs of Nix that we don't run.
    packages = re.findall(r"^Inst (?!\S*perl)(\S+)", wanted.stdout, re.MULTILINE)
    told = subprocess.run(
        ["apt-get", "download", *packages], cwd=folder, capture_output=True, text=True, check=False
    )
    if not packages or told.returncode != 0:
        pytest.fail(
            "The tests of the NixOS module unpack Debian's nix-bin. `apt-get update` helps where "
            f"apt does not know it.\n{wanted.stderr}{told.stderr}",
            pytrace=False,
        )
    root = folder / "root"
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(root)], check=True)
    libraries = {library.parent for library in root.glob("usr/lib/**/*.so*")}
    return Nix(str(root / "usr" / "bin" / "nix-instantiate"), folder, tuple(sorted(libraries)))
