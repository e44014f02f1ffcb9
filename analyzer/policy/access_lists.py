"""A script that collects what no capture shows: the access lists of pipes and shares. It reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

HEAD = """\
# Run this on each server as an administrator. It prints the access lists that decide whether anonymous sessions
# lose something when "Let Everyone permissions apply to anonymous users" is turned off: whatever is granted to
# Everyone (S-1-1-0) and not to ANONYMOUS LOGON (S-1-5-7). It reads, and changes nothing.
$ErrorActionPreference = 'Continue'
"""
PIPES = """\
foreach ($name in $pipes) {
    try {
        $pipe = New-Object System.IO.Pipes.NamedPipeClientStream('.', $name, [System.IO.Pipes.PipeDirection]::InOut)
        $pipe.Connect(1000)
        [System.IO.Pipes.PipesAclExtensions]::GetAccessControl($pipe).GetSecurityDescriptorSddlForm('Access') |
            ForEach-Object { "pipe $name : $_" }
    } catch { "pipe $name : not read: $($_.Exception.Message)" } finally { if ($pipe) { $pipe.Dispose() } }
}
"""
SHARES = """\
foreach ($name in $shares) {
    Get-SmbShareAccess -Name $name | Format-Table -AutoSize Name, AccountName, AccessControlType, AccessRight
    $path = (Get-SmbShare -Name $name).Path
    if ($path) { "files of $name : $((Get-Acl -LiteralPath $path).Sddl)" }
}
"""


def script(lists: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """The script, in PowerShell. lists: by server (kind, name) of pipes and shares.

    Names come from captures: they are written as texts that PowerShell does not look into, and what is not printable ASCII
    is put together of numbers.
    """
    lines = [HEAD]
    for server, those in lists.items():
        pipes = [name for kind, name in those if kind == "pipe"]
        shares = [name for kind, name in those if kind == "share"]
        lines.append(f"# {_comment(server)}\n")
        if pipes:
            lines.append(f"$pipes = @({', '.join(map(quoted, pipes))})\n{PIPES}")
        if shares:
            lines.append(f"$shares = @({', '.join(map(quoted, shares))})\n{SHARES}")
    return "".join(lines)


def quoted(name: str) -> str:
    """A text of PowerShell that is this name, whatever stands in it."""
    if name.isascii() and name.isprintable():
        return "'" + name.replace("'", "''") + "'"
    units = name.encode("utf-16-le", "surrogatepass")
    numbers = [str(int.from_bytes(units[at : at + 2], "little")) for at in range(0, len(units), 2)]
    return f"(-join [char[]]({', '.join(numbers)}))"


def _comment(text: str) -> str:
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text)
