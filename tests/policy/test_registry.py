"""Registry values to settings: one spelling of keys, types, places that govern others, contradictions."""

from __future__ import annotations

import pytest

from analyzer.errors import PolicyError
from analyzer.policy.registry import (
    REG_BINARY,
    REG_DWORD,
    REG_MULTI_SZ,
    REG_SZ,
    RegistryValue,
    given_by_registry,
    normal_key,
    texts_of,
    values_of,
)
from analyzer.policy.settings import Value, setting_of

PARAMETERS = r"HKLM\SYSTEM\CurrentControlSet\Services\LanmanServer\Parameters"
LSA = r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa"
CLIENT = r"HKLM\SYSTEM\CurrentControlSet\Services\LanmanWorkstation\Parameters"
CLIENT_POLICY = r"HKLM\SOFTWARE\Policies\Microsoft\Windows\LanmanWorkstation"
GUEST = "AllowInsecureGuestAuth"


def dword(key: str, name: str, data: int, place: str = "line 1") -> RegistryValue:
    return RegistryValue(key, name, REG_DWORD, data, place)


def absent(key: str, name: str) -> RegistryValue:
    return RegistryValue(key, name, None, None, "line 9")


def read(*found: RegistryValue, last_wins: bool = True) -> tuple[dict[str, Value | None], list[str]]:
    given, warnings = given_by_registry(found, "f", last_wins=last_wins)
    return {name: it.value for name, it in given.items()}, warnings


@pytest.mark.parametrize(
    "key",
    [
        r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Lsa",
        r"hkey_local_machine\system\controlset001\control\LSA",
        r"MACHINE\System\CurrentControlSet\Control\Lsa",
        r"HKLM\SYSTEM\ControlSet002\Control\Lsa" + "\\",
    ],
)
def test_spellings_of_a_key(key: str) -> None:
    assert normal_key(key) == r"hklm\system\currentcontrolset\control\lsa"


@pytest.mark.parametrize(
    "key", [r"HKCU\SYSTEM\CurrentControlSet\Control\Lsa", r"HKLM\X\SYSTEM\ControlSet001\Control\Lsa", "machinery"]
)
def test_other_keys_stay_others(key: str) -> None:
    assert normal_key(key) != r"hklm\system\currentcontrolset\control\lsa"
    assert read(dword(key, "RestrictAnonymous", 1))[0] == {}


def test_two_settings_of_one_name_are_told_apart_by_their_keys() -> None:
    assert read(dword(PARAMETERS, "RequireSecuritySignature", 1), dword(CLIENT, "requiresecuritysignature", 0))[0] == {
        "RequireSecuritySignature_server": 1,
        "RequireSecuritySignature_client": 0,
    }


def test_the_place_is_told() -> None:
    given, _ = given_by_registry([dword(LSA, "RestrictAnonymous", 1, "line 7")], "lab.reg")
    assert given["RestrictAnonymous"].source == "lab.reg, line 7"


def test_unknown_values_are_named_once_and_left_out() -> None:
    found, warnings = read(*(dword(PARAMETERS, name, 1) for name in ("AutoDisconnect", "Lmannounce", "AutoDisconnect")))
    assert found == {}
    assert warnings == ["f: not among the settings known here, left out: AutoDisconnect, Lmannounce"]


def test_of_many_unknown_values_only_some_are_named() -> None:
    (warning,) = read(*(dword(PARAMETERS, f"V{number}", 1) for number in range(30)))[1]
    assert "V19 and 10 others" in warning


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (RegistryValue(LSA, "RestrictAnonymous", REG_SZ, "1", "line 1"), "REG_SZ, REG_DWORD is wanted"),
        (RegistryValue(PARAMETERS, "NullSessionPipes", REG_SZ, "a", "line 1"), "REG_SZ, REG_MULTI_SZ is wanted"),
        (RegistryValue(LSA, "RestrictAnonymous", REG_DWORD, None, "line 1"), "bytes are no REG_DWORD"),
        (RegistryValue(LSA, "RestrictAnonymous", 11, b"12345678", "line 1"), "type 11"),
    ],
)
def test_a_wrong_type_leaves_the_setting_unknown(value: RegistryValue, says: str) -> None:
    found, warnings = read(value)
    assert found == {}
    assert len(warnings) == 1
    assert says in warnings[0]


def test_a_wrong_type_makes_an_earlier_value_unknown() -> None:
    wrong = RegistryValue(LSA, "RestrictAnonymous", REG_SZ, "1", "line 2")
    assert read(dword(LSA, "RestrictAnonymous", 1), wrong)[0] == {}
    assert read(wrong, dword(LSA, "RestrictAnonymous", 1))[0] == {"RestrictAnonymous": 1}


def test_binary_values_are_hexadecimal() -> None:
    key = r"HKLM\SYSTEM\CurrentControlSet\Services\LanmanServer\DefaultSecurity"
    value = RegistryValue(key, "SrvsvcSessionInfo", REG_BINARY, b"\x01\x00\xff", "line 1")
    assert read(value)[0] == {"SrvsvcSessionInfo": "0100ff"}


def test_contradictions() -> None:
    twice = (dword(LSA, "RestrictAnonymous", 1, "line 1"), dword(LSA, "RestrictAnonymous", 0, "line 2"))
    found, warnings = read(*twice)
    assert found == {"RestrictAnonymous": 0}
    assert warnings == ["f, line 2: RestrictAnonymous: contradicts f, line 1; the last one holds"]
    found, warnings = read(*twice, last_wins=False)
    assert found == {}
    assert warnings == ["f, line 2: RestrictAnonymous: contradicts f, line 1; left out, so unknown"]
    assert read(twice[0], twice[0], last_wins=False) == ({"RestrictAnonymous": 1}, [])


def test_of_several_control_sets_the_current_one_holds() -> None:
    """Exports of whole hives have them all."""

    def of(number: str, data: int) -> RegistryValue:
        return dword(LSA.replace("CurrentControlSet", number), "RestrictAnonymous", data)

    assert read(of("CurrentControlSet", 1), of("ControlSet002", 0)) == ({"RestrictAnonymous": 1}, [])
    assert read(of("ControlSet001", 0), of("CurrentControlSet", 1)) == ({"RestrictAnonymous": 1}, [])
    assert read(of("ControlSet001", 1), of("ControlSet002", 1)) == ({"RestrictAnonymous": 1}, [])
    found, warnings = read(of("ControlSet001", 1), of("ControlSet002", 0))
    assert found == {}
    assert len(warnings) == 1
    assert "differs by control set" in warnings[0]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("RestrictAnonymous", "1"),
        ("RestrictAnonymous", -1),
        ("RestrictAnonymous", 1 << 32),
        ("NullSessionPipes", "a"),
        ("RestrictRemoteSam", ("a",)),
        ("SrvsvcSessionInfo", "0g"),
    ],
)
def test_values_of_a_wrong_kind_are_not_written(setting: str, value: Value) -> None:
    with pytest.raises(PolicyError, match=setting):
        list(values_of(setting_of(setting), value))


def test_a_deleted_value_is_absent() -> None:
    assert read(absent(LSA, "RestrictAnonymous")) == ({"RestrictAnonymous": None}, [])


def test_a_deleted_key_takes_its_values_and_keys_along() -> None:
    found, _ = read(absent(LSA, ""))
    assert found.keys() >= {"RestrictAnonymous", "RestrictRemoteSam", "AllowNullSessionFallback"}
    assert set(found.values()) == {None}
    assert "NullSessionPipes" not in found


def test_all_values_of_a_key_are_not_its_keys() -> None:
    found, _ = read(absent(LSA, "*"))
    assert "RestrictAnonymous" in found
    assert "AllowNullSessionFallback" not in found, "it is in the key below"


def test_what_follows_a_deletion_holds() -> None:
    assert read(absent(LSA, ""), dword(LSA, "RestrictAnonymous", 1))[0]["RestrictAnonymous"] == 1


def test_of_two_places_the_policy_holds() -> None:
    found, warnings = read(dword(CLIENT, GUEST, 1, "line 1"), dword(CLIENT_POLICY, GUEST, 0, "line 2"))
    assert found == {GUEST: 0}
    assert warnings == [f"f, line 1: {GUEST}: f, line 2 holds instead"]


def test_without_the_policy_the_other_place_holds() -> None:
    assert read(dword(CLIENT, GUEST, 1), absent(CLIENT_POLICY, GUEST)) == ({GUEST: 1}, [])


def test_that_no_policy_is_told_is_warned_of() -> None:
    found, warnings = read(dword(CLIENT, GUEST, 1))
    assert found == {GUEST: 1}
    assert "holds only if there is no policy" in warnings[0]


def test_absent_at_one_place_says_nothing() -> None:
    found, warnings = read(absent(CLIENT_POLICY, GUEST))
    assert found == {}
    assert "left out" in warnings[0]
    assert read(absent(CLIENT_POLICY, GUEST), absent(CLIENT, GUEST)) == ({GUEST: None}, [])


def test_an_unreadable_policy_hides_what_it_governs() -> None:
    unreadable = RegistryValue(CLIENT_POLICY, GUEST, REG_SZ, "0", "line 2")
    assert read(dword(CLIENT, GUEST, 1), unreadable)[0] == {}


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        ("a\0b\0\0", ("a", "b")),
        ("a\0b", ("a", "b")),
        ("", ()),
        ("\0", ()),
        ("\0\0", ()),
        ("\0netlogon\0samr\0\0", ("netlogon", "samr")),
    ],
)
def test_multi_strings(data: str, texts: tuple[str, ...]) -> None:
    assert texts_of(data.encode("utf-16-le")) == texts


def test_a_multi_string_that_is_no_text() -> None:
    assert texts_of(b"a\0b") is None
    assert texts_of(b"\x00\xd8a\0") is None
    value = RegistryValue(PARAMETERS, "NullSessionPipes", REG_MULTI_SZ, texts_of(b"a\0b"), "line 1")
    assert read(value)[0] == {}


def test_a_value_that_one_of_several_control_sets_lacks_is_not_known() -> None:
    first = dword(LSA.replace("CurrentControlSet", "ControlSet001"), "RestrictAnonymous", 1)
    second = dword(PARAMETERS.replace("CurrentControlSet", "ControlSet002"), "RestrictNullSessAccess", 0)
    found, warnings = read(first, second)
    assert not found
    assert len(warnings) == 2
    assert all("differs by control set" in line for line in warnings)
    deleted = RegistryValue(LSA.replace("CurrentControlSet", "ControlSet002"), "", None, None, "line 9")
    assert not read(first, deleted)[0]
