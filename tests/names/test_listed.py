"""The user's own list of hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.errors import UsageError
from analyzer.names.listed import Listed, read_list


def read(folder: Path, text: str | bytes) -> Listed:
    path = folder / "hosts.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_list(path)


BOTH = {"10.0.0.1": ["ws1.corp.example", "ws1"], "fd00::2": ["fs2"]}
FORMS = {
    "a hosts file": "# our own\n\n10.0.0.1\tws1.corp.example ws1 # desk 7\n  fd00::2   fs2\n",
    "a hosts file of tabs": "10.0.0.1\tws1.corp.example\tws1\nfd00::2\tfs2",
    "CSV": "10.0.0.1,ws1.corp.example,ws1\nfd00::2,fs2\n",
    "CSV, quoted": '"10.0.0.1","ws1.corp.example","ws1"\r\n"fd00::2","fs2"\r\n',
    "CSV with semicolons": "10.0.0.1;ws1.corp.example;ws1\nfd00::2;fs2\n",
    "another spelling": "::ffff:10.0.0.1 ws1.corp.example ws1\nFD00:0::0002 fs2",
    "the same twice": "10.0.0.1 ws1.corp.example\n10.0.0.1 ws1 ws1.corp.example\nfd00::2 fs2",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_the_forms(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, text) == BOTH


def test_titles_say_which_columns(tmp_path: Path) -> None:
    """What PowerShell's Export-Csv writes."""
    text = '#TYPE Selected.Object\r\n"Name","OperatingSystem","IPv4Address"\r\n"WS1","Windows 10","10.0.0.1"\r\n'
    assert read(tmp_path, text) == {"10.0.0.1": ["WS1"]}
    assert read(tmp_path, "Host name\tIP address\nWS1\t10.0.0.1\n") == {"10.0.0.1": ["WS1"]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    assert read(tmp_path, "10.0.0.1,Büro-PC\n".encode(encoding)) == {"10.0.0.1": ["Büro-PC"]}


def test_an_empty_list(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing yet\n") == {}


@pytest.mark.parametrize(
    "line", ["ws1 10.0.0.1", "10.0.0.1", "10.0.0.1,", "10.0.0.256 ws1", "10.0.0.0/24 office", "nonsense"]
)
def test_a_line_that_is_neither_is_told_with_its_number(line: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 2"):
        read(tmp_path, f"10.0.0.9 ok\n{line}\n")


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_list(tmp_path / "none.csv")
