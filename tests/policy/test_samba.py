"""smb.conf, compared with what Samba's own testparm makes of it where that is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from given import given, options, texts, values
from hypothesis import HealthCheck, assume
from hypothesis import given as for_all
from hypothesis import settings as run
from hypothesis import strategies as st

from analyzer.errors import PolicyError
from analyzer.policy.reading import read_bytes
from analyzer.policy.samba import write_smb_conf
from analyzer.policy.settings import Policy

with_testparm = pytest.mark.skipif(shutil.which("testparm") is None, reason="testparm (Samba) is not installed")

CONF = """\
# a comment that ends with a backslash \\
restrict anonymous = 1
[GLOBAL]
    workgroup = LAB
    min protocol = smb2
    protocol = SMB3
    Map To  Guest = bad user
    serversigning = forced
    ntlm auth = yes
; restrict anonymous = 0
[Scans  In]
    path = /srv/scans
    Public = TRUE
    only guest = 1
    smb encrypt = no
    allow hosts = 10.0.0.0/8 , 192.168.\\
 1.2
[IPC$]
    hosts deny = ALL
    valid users = a, @b "c d"
"""


def read(text: str) -> Policy:
    return read_bytes(text.encode(), "smb.conf")


def printed_by_samba(text: str, folder: Path, how: str = "-s") -> str:
    (folder / "smb.conf").write_text(text)
    done = subprocess.run(["testparm", how, str(folder / "smb.conf")], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_sections_options_and_other_words() -> None:
    policy = read(CONF)
    assert policy.family == "samba"
    assert values(policy) == {
        "samba:restrict anonymous": 1,
        "samba:server min protocol": "SMB2_10",
        "samba:server max protocol": "SMB3_11",
        "samba:map to guest": "Bad User",
        "samba:server signing": "mandatory",
        "samba:ntlm auth": "ntlmv1-permitted",
    }
    assert options(policy) == {
        "scans in": {
            "guest ok": "yes",
            "guest only": "yes",
            "server smb encrypt": "off",
            "hosts allow": ("10.0.0.0/8", "192.168.", "1.2"),
        },
        "ipc$": {"hosts deny": ("ALL",), "valid users": ("a", "@b", "c d")},
    }
    assert policy.settings["samba:restrict anonymous"].source == "smb.conf, line 2"
    assert policy.warnings == ("smb.conf: not among the settings known here, left out: workgroup, path",)


@with_testparm
def test_testparm_understands_the_same(tmp_path: Path) -> None:
    printed = read(printed_by_samba(CONF, tmp_path))
    assert options(printed) == options(read(CONF))
    # What has its default value is not printed.
    assert values(printed).items() <= values(read(CONF)).items()
    assert len(values(printed)) == 5


WORDS = {
    "server signing": ["default", "yes", "no", "auto", "if_required", "mandatory", "forced", "disabled", "on", "0"],
    "client ipc signing": ["default", "true", "false", "required", "enforced", "enabled", "off"],
    "ntlm auth": ["yes", "no", "true", "0", "ntlmv2-only", "mschapv2-and-ntlmv2-only", "disabled"],
    "min protocol": ["smb2", "smb3", "NT1", "core+", "LANMAN1", "smb2_02"],
    "map to guest": ["never", "bad user", "Bad Password", "BAD UID"],
    "guest ok": ["Yes", "true", "1", "on", "No", "false", "0", "off"],
    "smb encrypt": ["default", "yes", "desired", "required", "mandatory", "off", "auto", "disabled"],
    "restrict anonymous": ["0", "1", "2"],
    "nt pipe support": ["no", "yes"],
}


@with_testparm
@pytest.mark.parametrize(("option", "word"), [(option, word) for option, words in WORDS.items() for word in words])
def test_words_mean_what_they_mean_for_samba(option: str, word: str, tmp_path: Path) -> None:
    """What testparm prints of it, with all defaults, is read as the same value."""
    text = f"[global]\n{option} = {word}\n[x]\npath = /\n"
    ((name, ours),) = read(text).settings.items()
    assert read(printed_by_samba(text, tmp_path, "-sv")).settings[name].value == ours.value


def test_the_last_of_two_lines_holds() -> None:
    policy = read("[global]\nrestrict anonymous = 1\n[x]\n[global]\nRestrictAnonymous = 2\n")
    assert values(policy) == {"samba:restrict anonymous": 2}
    assert policy.warnings == (
        "smb.conf, line 5: restrict anonymous: contradicts smb.conf, line 2; the last one holds",
    )


@pytest.mark.parametrize("line", ["include = /etc/samba/%m.conf", "config file = /etc/x", "config backend = registry"])
def test_other_files_are_named_as_unread(line: str) -> None:
    policy = read(f"[global]\n{line}\nrestrict anonymous = 1\n")
    assert values(policy) == {"samba:restrict anonymous": 1}
    assert len(policy.warnings) == 1
    assert f"line 2: {line}" in policy.warnings[0]


def test_macros_make_a_value_unknown() -> None:
    policy = read("[global]\nguest account = nobody\nguest account = %U\n[x]\nhosts allow = %I\nguest ok = yes\n")
    assert values(policy) == {}
    assert options(policy) == {"x": {"guest ok": "yes"}}
    assert "line 3: guest account: a %-macro" in policy.warnings[0]


@pytest.mark.parametrize(
    "line",
    ["guest ok = maybe", "restrict anonymous = two", "map to guest = x", "server min protocol = SMB9", "ntlm auth ="],
)
def test_values_that_are_none_make_it_unknown(line: str) -> None:
    policy = read(f"[global]\n{line}\n")
    assert values(policy) == {}
    assert "line 2" in policy.warnings[0]
    assert "unknown" in policy.warnings[0]


def test_options_of_the_server_do_nothing_in_a_share() -> None:
    policy = read("[x]\nmap to guest = bad user\n")
    assert options(policy) == {"x": {}}
    assert "map to guest has no effect in a share" in policy.warnings[0]


def test_options_of_shares_in_global_are_defaults_of_shares() -> None:
    assert values(read("[global]\nguest ok = yes\n")) == {"samba:guest ok": "yes"}


@with_testparm
def test_a_copied_share(tmp_path: Path) -> None:
    text = "[global]\n[a]\npath = /\nguest ok = yes\n[b]\ncopy = A\nguest only = yes\n"
    assert options(read(text))["b"] == {"guest ok": "yes", "guest only": "yes"}
    assert options(read(printed_by_samba(text, tmp_path)))["b"] == {"guest ok": "yes", "guest only": "yes"}


def test_damage() -> None:
    with pytest.raises(PolicyError, match=r"smb\.conf, line 3.*bracket"):
        read("[global]\nguest ok = yes\n[x\n")
    policy = read("[global]\nguest ok\n")
    assert policy.warnings == ("smb.conf, line 2: no option; left out",)


WANTED = Policy(
    "samba",
    given(
        {
            "samba:restrict anonymous": 2,
            "samba:map to guest": "Bad User",
            "samba:server min protocol": "NT1",
            "samba:guest account": "ftp",
        }
    ),
    {
        "ipc$": given({"hosts allow": ("10.0.0.0/8", "printer one"), "hosts deny": ("ALL",)}),
        "scans in": given({"guest ok": "yes", "server smb encrypt": "required"}),
    },
)


def test_what_is_written_is_read_back() -> None:
    policy = read(write_smb_conf(WANTED, "why\n[global]"))
    assert values(policy) == values(WANTED)
    assert options(policy) == options(WANTED)
    assert policy.warnings == ()


@with_testparm
def test_testparm_takes_what_is_written(tmp_path: Path) -> None:
    fragment = write_smb_conf(WANTED, "why").replace("\n[", "\n\tpath = /\n[") + "\tpath = /\n"
    printed = read(printed_by_samba(fragment, tmp_path))
    assert values(printed) == values(WANTED)
    assert options(printed) == options(WANTED)


def test_what_is_absent_is_a_comment() -> None:
    text = write_smb_conf(Policy("samba", given({"samba:map to guest": None})))
    assert values(read(text)) == {}
    assert "# map to guest: no such line" in text


@run(max_examples=200, deadline=None)
@for_all(texts, texts, texts)
def test_any_name_is_read_back_or_refused(share: str, host: str, account: str) -> None:
    policy = Policy("samba", given({"samba:guest account": account}), {share.lower(): given({"hosts allow": (host,)})})
    try:
        written = write_smb_conf(policy)
    except PolicyError:
        return
    assert values(read(written)) == values(policy)
    assert options(read(written)) == options(policy)


@pytest.mark.parametrize("share", ["a]b", "a\nb", "", " a", "a  b", "%U", "a\\"])
def test_shares_that_cannot_be_written(share: str) -> None:
    with pytest.raises(PolicyError):
        write_smb_conf(Policy("samba", shares={share: given({"guest ok": "yes"})}))


@pytest.mark.parametrize("host", ["a\nguest ok = yes", 'a"b', "%m", "", "a\\", " a", "\u202e"])
def test_values_that_cannot_be_written(host: str) -> None:
    with pytest.raises(PolicyError, match="hosts allow"):
        write_smb_conf(Policy("samba", shares={"x": given({"hosts allow": (host,)})}))


def test_words_that_are_no_value_are_not_written() -> None:
    with pytest.raises(PolicyError, match="map to guest"):
        write_smb_conf(Policy("samba", given({"samba:map to guest": "sometimes"})))


@with_testparm
def test_quotes_in_lists(tmp_path: Path) -> None:
    text = '[global]\n[x]\npath = /\nhosts allow = a;b,c "f g" h"i" "" "j, k"l\n'
    wanted = {"hosts allow": ("a", "b", "c", "f g", "hi", "j, kl")}
    assert options(read(text))["x"] == wanted
    assert options(read(printed_by_samba(text, tmp_path)))["x"] == wanted


@with_testparm
@run(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@for_all(share=st.text(st.sampled_from("abc $#;=-_.'!()"), min_size=1, max_size=6), host=texts)
def test_testparm_reads_names_as_they_were_meant(share: str, host: str, tmp_path: Path) -> None:
    assume(not {",", ";"} & set(host))  # testparm prints them without their quotes, so that they look like separators
    policy = Policy("samba", shares={share: given({"hosts allow": (host,), "guest ok": "yes"})})
    try:
        written = write_smb_conf(policy)
    except PolicyError:
        return
    printed = printed_by_samba(written + "\tpath = /\n", tmp_path)
    assert options(read(printed)) == options(policy)
