"""Files to a folder: all of them or none; and texts that may hold anything."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from analyzer.capture.inputs import as_text
from analyzer.errors import AnalyzerError


def write_files(directory: Path, files: Mapping[str, Iterable[str]]) -> list[str]:
    """Write files of lines, which are first put beside the others and then moved into place. Returns their names.

    Raises AnalyzerError if the folder cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".writing-", dir=directory))
        try:
            for name, lines in files.items():
                with (making / name).open("w", encoding="utf-8", newline="\n") as file:
                    file.writelines(_ended(lines))
            for name in files:
                os.replace(making / name, directory / name)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except OSError as problem:
        raise AnalyzerError(
            f"{as_text(str(directory))}: cannot be written to: {problem.strerror or problem}"
        ) from problem
    return list(files)


def _ended(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield line
        yield "\n"


def characters(text: str) -> str:
    """A text that UTF-8 has a form for: halves of characters, which names may hold, are spelt out byte by byte."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace")


def quoted(text: str) -> str:
    """A text as JSON has it."""
    return json.dumps(characters(text), ensure_ascii=False)
