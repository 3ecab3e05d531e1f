"""A `.env`: what is in it counts, or is an error that names file and line, and no value."""

import os
from pathlib import Path

import pytest

from pipelines.env_file import EnvFileError, read_env_file

SECRET = "canary-61c2"


def read(folder: Path, text: str | bytes, **environment: str) -> dict[str, str]:
    file = folder / ".env"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return {name: entry.value for name, entry in read_env_file(file, environment).items()}


def complaint(folder: Path, text: str | bytes, **environment: str) -> str:
    with pytest.raises(EnvFileError) as raised:
        read(folder, text, **environment)
    said = str(raised.value)
    assert SECRET not in said
    assert said.startswith(f"{folder / '.env'}, line ")
    return said.removeprefix(f"{folder / '.env'}, line ")


@pytest.mark.parametrize(
    "line",
    [
        "A=b",
        "A = b",
        "export A=b",
        "  A='b'",
        'A="b"',
        "A=b # why",
        "A='b' # why",
        "A=b\r",
        "'A'=b",
        "# why\n\n\nA=b",
        "A=b\nA=b",
        "B=b\nA=${B}",
        "A=${C}",
        "A=${NONE:-b}",
        "\ufeffA=b",
    ],
)
def test_what_shells_and_dotenv_understand_is_understood(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, f"{line}\n", C="b")["A"] == "b"


def test_none_is_the_same_as_an_empty_one(tmp_path: Path) -> None:
    assert read_env_file(tmp_path / ".env", {}) == {}
    assert read(tmp_path, "") == {}


def test_a_value_keeps_what_is_no_syntax(tmp_path: Path) -> None:
    url = "postgresql://u:p%24w=$x#y@host/db?sslmode=verify-full"

    assert read(tmp_path, f"URL={url}") == {"URL": url}


@pytest.mark.parametrize(
    "line",
    [
        f'URL="postgresql://{SECRET}',
        f"URL='postgresql://{SECRET}",
        f'URL="postgresql://{SECRET}"@host',
        f"URL: postgresql://{SECRET}@host/db",
        f"URL:postgresql://{SECRET}@host/db",
        f"URL:postgresql://{SECRET}@host/db?sslmode=require",
        f"URL postgresql://{SECRET}",
        f"postgresql://{SECRET}@host/db",
        f"set URL={SECRET}",
        f"={SECRET}",
        f"{SECRET}",
        "export URL",
        "URL",
        f"URL=${{NONE}}{SECRET}",
        f"URL=${{EMPTY}}{SECRET}",
        f"URL={SECRET}${{URL:?}}",
        f"URL={SECRET}${{",
        f"URL='{SECRET}\0'",
    ],
)
def test_what_is_not_understood_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    said = complaint(tmp_path, f"# A comment.\n\nBEFORE=1\n{line}\nAFTER=2\n", EMPTY="")

    assert said.startswith("4: ")


def test_an_unclosed_quote_swallows_nothing(tmp_path: Path) -> None:
    said = complaint(tmp_path, f'OTHER="x\nURL={SECRET}\nLAST=1"\n')

    assert said.startswith("1: ")
    assert "OTHER" in said


def test_two_values_contradict_each_other(tmp_path: Path) -> None:
    said = complaint(tmp_path, f"URL=a\nB=1\nexport URL={SECRET}\n")

    assert said.startswith("3: URL ")
    assert "line 1" in said


@pytest.mark.parametrize("text", [b"A=1\nB=\xe9\n", "A=1\nB=2\n".encode("utf-16")])
def test_another_encoding_is_named(tmp_path: Path, text: bytes) -> None:
    assert "UTF-8" in complaint(tmp_path, text)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    for make in (Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")):
        folder = tmp_path / str(make)
        folder.mkdir()
        make(folder / ".env")
        with pytest.raises(EnvFileError, match=r"\.env is "):
            read_env_file(folder / ".env", {})


def test_a_file_that_can_not_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(EnvFileError, match=r"Can't read .*\.env: Not a directory"):
        read_env_file(tmp_path / "file" / ".env", {})
