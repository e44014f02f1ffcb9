"""PowerShell for administrators: to collect what a server has, and to set what a policy says.

Both work with what Windows Server 2008 R2 has (PowerShell 2.0). The first changes nothing. The second asks before each
change (`-WhatIf`, `-Confirm`), and before the first one saves what is there, absent values too, as a registry export.
Values reach a script as texts that cannot end their quotes: what is not plain ASCII is written as numbers of characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from analyzer.errors import PolicyError
from analyzer.policy.inf import write_inf
from analyzer.policy.registry import REG_BINARY, REG_DWORD, REG_MULTI_SZ, REG_SZ, TYPE_OF, values_of
from analyzer.policy.settings import Given, Setting, Value, setting_of, settings
from analyzer.policy.texts import comment_lines

KINDS = {REG_SZ: "String", REG_BINARY: "Binary", REG_DWORD: "DWord", REG_MULTI_SZ: "MultiString"}
BY_SECEDIT = frozenset({"system", "right"})
"""Kinds of settings that are set with a security template, since they are not in the registry."""

# What both scripts know: present values as a registry export and as a security template. GetValueNames tells an absent value
# from an empty one.
_FUNCTIONS = r"""
function Get-RegLine([string]$Key, [string]$Name) {
    $label = '"' + $Name.Replace('\', '\\').Replace('"', '\"') + '"='
    $opened = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey($Key)
    if ($null -eq $opened) { return $label + '-' }
    try {
        $names = @($opened.GetValueNames() | ForEach-Object { $_.ToLowerInvariant() })
        if ($names -notcontains $Name.ToLowerInvariant()) { return $label + '-' }
        $value = $opened.GetValue($Name, $null, 'DoNotExpandEnvironmentNames')
        $kind = $opened.GetValueKind($Name)
    } finally {
        $opened.Close()
    }
    $bytes = $null
    if ($kind -eq 'DWord') { return $label + ('dword:{0:x8}' -f $value) }
    if ($kind -eq 'QWord') { $bytes = [BitConverter]::GetBytes([long]$value) }
    if ($kind -eq 'Binary') { $bytes = [byte[]]$value }
    if ($kind -eq 'String' -or $kind -eq 'ExpandString') { $bytes = [Text.Encoding]::Unicode.GetBytes([string]$value + "`0") }
    if ($kind -eq 'MultiString') {
        $text = ''
        foreach ($entry in $value) { $text += [string]$entry + "`0" }
        $bytes = [Text.Encoding]::Unicode.GetBytes($text + "`0")
    }
    if ($null -eq $bytes) { throw "HKLM\$Key\$Name has a type that cannot be exported: $kind" }
    $hex = (@($bytes | ForEach-Object { '{0:x2}' -f $_ }) -join ',')
    return $label + ('hex({0:x}):' -f [int]$kind) + $hex
}

function Get-RegText($Places) {
    $lines = @('Windows Registry Editor Version 5.00', '')
    foreach ($place in $Places) {
        $lines += '[HKEY_LOCAL_MACHINE\' + $place.Key + ']'
        $lines += Get-RegLine $place.Key $place.Name
        $lines += ''
    }
    return ($lines -join "`r`n") + "`r`n"
}

function Get-TemplateText($Wanted) {
    $whole = [IO.Path]::GetTempFileName()
    [IO.File]::Delete($whole)
    try {
        & secedit.exe /export /cfg $whole /areas SECURITYPOLICY USER_RIGHTS /quiet | Out-Null
        if ($LASTEXITCODE -ne 0) { throw "secedit /export failed with $LASTEXITCODE" }
        $exported = [IO.File]::ReadAllLines($whole)
    } finally {
        [IO.File]::Delete($whole)
    }
    $lines = @('[Unicode]', 'Unicode=yes')
    foreach ($place in $Wanted) {
        $lines += $place.Section
        $found = @($exported | Where-Object { $_ -match ('^\s*' + [Regex]::Escape($place.Name) + '\s*=') })
        if ($found.Count -gt 0) { $lines += $found }
        elseif ($place.Section -eq '[Privilege Rights]') { $lines += $place.Name + ' =' }
    }
    $lines += @('[Version]', 'signature="$CHICAGO$"', 'Revision=1')
    return ($lines -join "`r`n") + "`r`n"
}
"""

COLLECT_SAMBA = """#!/bin/sh
# Writes what a Samba server has to a file that `nullsession policy show` reads. Changes nothing.
# testparm follows includes; -s asks nothing. What is not printed has its default.
testparm -s > "$(hostname)-smb.conf.txt"
"""

_COLLECT = r"""[CmdletBinding()]
param(
    [string]$Path = (Join-Path (Get-Location).Path ($env:COMPUTERNAME + '-policy'))
)
$ErrorActionPreference = 'Stop'

$places = @(
@PLACES@
)
$templates = @(
@TEMPLATES@
)
@FUNCTIONS@
# .NET has a working directory of its own.
$Path = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Path)
[IO.File]::WriteAllText($Path + '.reg', (Get-RegText $places), [Text.Encoding]::Unicode)
[IO.File]::WriteAllText($Path + '.inf', (Get-TemplateText $templates), [Text.Encoding]::Unicode)
Write-Output ('written: ' + $Path + '.reg and ' + $Path + '.inf')
"""

_APPLY = r"""[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'High')]
param(
    [string]$Rollback = (Join-Path (Get-Location).Path ($env:COMPUTERNAME + '-rollback-' + (Get-Date -Format 'yyyyMMdd-HHmmss')))
)
$ErrorActionPreference = 'Stop'

$changes = @(
@CHANGES@
)
$templates = @(
@TEMPLATES@
)
$template = (@(
@TEMPLATE@
) -join "`r`n")
@FUNCTIONS@
# .NET has a working directory of its own.
$Rollback = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Rollback)
if (-not $WhatIfPreference) {
    foreach ($file in @(($Rollback + '.reg'), ($Rollback + '.inf'))) {
        if ([IO.File]::Exists($file)) { throw "$file exists already: name another file with -Rollback" }
    }
    [IO.File]::WriteAllText($Rollback + '.reg', (Get-RegText $changes), [Text.Encoding]::Unicode)
    if ($templates.Count -gt 0) {
        [IO.File]::WriteAllText($Rollback + '.inf', (Get-TemplateText $templates), [Text.Encoding]::Unicode)
    }
    Write-Output ('what is there now is saved: ' + $Rollback)
}

foreach ($change in $changes) {
    if ($PSCmdlet.ShouldProcess('HKLM\' + $change.Key + '\' + $change.Name, 'set to ' + $change.Words)) {
        if ($change.Kind -eq 'Absent') {
            $opened = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey($change.Key, $true)
            if ($null -ne $opened) {
                $opened.DeleteValue($change.Name, $false)
                $opened.Close()
            }
        } else {
            $value = $change.Value
            if ($change.Kind -eq 'MultiString') { $value = [string[]]$change.Value }
            if ($change.Kind -eq 'Binary') { $value = [byte[]]$change.Value }
            $opened = [Microsoft.Win32.Registry]::LocalMachine.CreateSubKey($change.Key)
            $opened.SetValue($change.Name, $value, [Microsoft.Win32.RegistryValueKind]$change.Kind)
            $opened.Close()
        }
    }
}

if ($templates.Count -gt 0) {
    $names = (@($templates | ForEach-Object { $_.Name }) -join ', ')
    if ($PSCmdlet.ShouldProcess($names, 'set with a security template')) {
        $file = [IO.Path]::GetTempFileName()
        $database = $file + '.sdb'
        try {
            [IO.File]::WriteAllText($file, $template, [Text.Encoding]::Unicode)
            & secedit.exe /configure /db $database /cfg $file /areas SECURITYPOLICY USER_RIGHTS /quiet | Out-Null
            if ($LASTEXITCODE -ne 0) { throw "secedit /configure failed with $LASTEXITCODE" }
        } finally {
            [IO.File]::Delete($file)
            [IO.File]::Delete($database)
        }
    }
}
"""


def collect_script() -> str:
    """PowerShell that writes the settings which are known here, as they are on a server, to a `.reg` and an `.inf` file."""
    known = [setting for setting in settings().values() if setting.family == "windows"]
    places = [
        f"    @{{ Key = {quoted(_below_root(place))}; Name = {quoted(setting.value_name)} }}"
        for setting in known
        if setting.kind in TYPE_OF
        for place in setting.places
    ]
    head = comment_lines(
        "Writes the settings that decide about anonymous SMB access to two files, which `nullsession policy show` reads.\n"
        "Changes nothing. To be run on the server, as administrator: powershell -ExecutionPolicy Bypass -File collect.ps1",
        "#",
    )
    body = _filled(
        _COLLECT,
        {
            "PLACES": "\n".join(places),
            "TEMPLATES": "\n".join(_template_place(setting) for setting in known if setting.kind in BY_SECEDIT),
            "FUNCTIONS": _FUNCTIONS,
        },
    )
    return "\n".join(head) + "\n" + body


def apply_script(policy_settings: Mapping[str, Given], comment: str = "") -> str:
    """PowerShell that sets what `by_script` allows; nothing happens before what is there is saved.

    Raises PolicyError for settings that a script does not set, and for texts that no registry can hold.
    """
    changes, templates = [], {}
    for name, given in policy_settings.items():
        setting = setting_of(name)
        if setting.kind in TYPE_OF:
            changes += _changes(setting, given.value)
        elif setting.kind in BY_SECEDIT and given.value is not None:
            templates[name] = given
        else:
            raise PolicyError("PowerShell", f"{name} = {given.value!r} is not set by a script")
    template = write_inf(templates).decode("utf-16").split("\r\n") if templates else []
    return "\n".join(
        [
            *comment_lines(comment, "#"),
            _filled(
                _APPLY,
                {
                    "CHANGES": "\n".join(changes),
                    "TEMPLATES": "\n".join(_template_place(setting_of(name)) for name in templates),
                    "TEMPLATE": "\n".join(f"    {quoted(line)}" for line in template),
                    "FUNCTIONS": _FUNCTIONS,
                },
            ),
        ]
    )


def by_script(name: str, value: Value | None) -> bool:
    """Whether `apply_script` sets it. Groups and attributes of a directory are set there, for the whole domain."""
    kind = setting_of(name).kind
    return kind in TYPE_OF or (kind in BY_SECEDIT and value is not None)


def quoted(text: str) -> str:
    """A text as PowerShell reads it back. Its curly quotes end strings, too, so only plain ASCII stands between quotes."""
    if all(" " <= char <= "~" for char in text):
        return "'" + text.replace("'", "''") + "'"
    units = text.encode("utf-16-le", "surrogatepass")
    numbers = (str(int.from_bytes(units[at : at + 2], "little")) for at in range(0, len(units), 2))
    return f"(-join [char[]]@({', '.join(numbers)}))"


def _changes(setting: Setting, value: Value | None) -> list[str]:
    lines = []
    for stored in values_of(setting, value):
        data = stored.data
        if stored.type is None:
            kind, literal, words = "Absent", "$null", "absent"
        else:
            kind = KINDS[stored.type]
            if isinstance(data, tuple):
                literal, words = f"[string[]]@({', '.join(map(quoted, data))})", ", ".join(data) or "an empty list"
            elif isinstance(data, bytes):
                literal, words = f"[byte[]]@({', '.join(map(str, data))})", data.hex() or "nothing"
            elif isinstance(data, int):
                # A DWord is signed for .NET.
                literal, words = str(data - (1 << 32) if data >= 1 << 31 else data), str(data)
            else:
                literal, words = quoted(str(data)), str(data) or "an empty text"
        lines.append(
            f"    @{{ Key = {quoted(_below_root(stored.key))}; Name = {quoted(stored.name)}; Kind = '{kind}'; "
            f"Value = {literal}; Words = {quoted(words)} }}"
        )
    return lines


def _template_place(setting: Setting) -> str:
    return f"    @{{ Section = {quoted(setting.places[0])}; Name = {quoted(setting.value_name)} }}"


def _below_root(key: str) -> str:
    return key.removeprefix("HKLM\\")


def _filled(script: str, parts: Mapping[str, str]) -> str:
    """The script with its parts. What is put in is never looked at again, whatever it holds."""
    return re.sub(r"@([A-Z]+)@", lambda match: parts[match[1]], script)
