"""`nullsession report`: a page from captures or results, and how it ends where it cannot be made."""

from __future__ import annotations

from pathlib import Path

from command import ANONYMOUS, CAPTURES, Called

TITLE = "Change 4711: <empty the list>"


def test_it_writes_a_page(called: Called, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = called("report", ANONYMOUS, "-o", page, "--title", TITLE)
    assert (done.status, done.out) == (0, "")
    assert done.complaints == [f"{page}: written"]
    text = page.read_text(encoding="utf-8")
    assert "<title>Change 4711: &lt;empty the list&gt;</title>" in text
    assert "1 client depends on null sessions at 1 server" in text


def test_results_make_the_page_that_their_captures_make(called: Called, tmp_path: Path) -> None:
    results, one, other = tmp_path / "results", tmp_path / "one.html", tmp_path / "other.html"
    assert called("analyze", ANONYMOUS, "-o", results, "--quiet").status == 0
    assert called("report", ANONYMOUS, "-o", one, "--quiet").status == 0
    assert called("report", results, "-o", other, "--quiet") == called("report", ANONYMOUS, "-o", one, "--quiet")
    made = [path.read_text(encoding="utf-8").partition("<footer")[0] for path in (one, other)]  # there the time stands
    assert made[0] == made[1]


def test_rules_hold_for_results_too(called: Called, tmp_path: Path) -> None:
    rules, results, page = tmp_path / "rules.toml", tmp_path / "results", tmp_path / "page.html"
    rules.write_text('[[rule]]\nclient = "*"\nscanner = true\n', encoding="utf-8")
    assert called("analyze", ANONYMOUS, "-o", results, "--quiet").status == 0
    assert called("report", results, "--applications", rules, "-o", page, "--quiet").status == 0
    assert "Left out: scanners by your own rules" in page.read_text(encoding="utf-8")


def test_a_place_where_no_page_can_be_is_found_before_anything_is_read(called: Called, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing" / "page.html"):
        done = called("report", "no-such-capture.pcap", "-o", place)
        assert done.status == 4
        assert "cannot be written" in done.err
        assert "no-such-capture" not in done.err


def test_what_could_not_be_read_is_told(called: Called, tmp_path: Path) -> None:
    cut, page = tmp_path / "cut.pcap", tmp_path / "page.html"
    cut.write_bytes(ANONYMOUS.read_bytes()[:-10])
    done = called("report", cut, "-o", page, "--quiet")
    assert done.status == 3
    assert "cut.pcap" in done.err
    assert "Not read: " in page.read_text(encoding="utf-8")


def test_a_policy_and_a_recommendation_are_on_the_page(called: Called, tmp_path: Path) -> None:
    conf, other, page = tmp_path / "smb.conf", tmp_path / "files.conf", tmp_path / "page.html"
    conf.write_text("[global]\n restrict anonymous = 0\n", encoding="utf-8")
    other.write_text("[global]\n restrict anonymous = 2\n", encoding="utf-8")
    capture = CAPTURES / "change-0-open.pcap"
    options = ("--policy", conf, "--server", f"10.77.0.2={other}", "--recommend")
    done = called("report", capture, "-o", page, "--quiet", *options)
    assert done.status == 0, done.err
    text = page.read_text(encoding="utf-8")
    assert "smb.conf, 10.77.0.2: files.conf" in text
    assert "10.77.0.2: samba:restrict anonymous = 2" in text
    assert "anonymous sessions may not connect to IPC$" in text
    assert "Nothing is recommended: not observed for long enough" in text
    assert called("report", capture, "-o", page, "--quiet").status == 0
    plain = page.read_text(encoding="utf-8")
    assert 'id="policies"' not in plain
    assert 'id="recommended"' not in plain


def test_what_servers_are_is_for_policies(called: Called, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    for option in (("--os", "2016"), ("--role", "dc"), ("--assume-defaults",), ("--baseline", "no-such-file")):
        done = called("report", ANONYMOUS, "-o", page, *option)
        assert done.status == 2
        assert "--recommend" in done.err
    done = called("report", ANONYMOUS, "-o", page, "--server", f"nowhere={_conf(tmp_path)}")
    assert done.status == 2
    assert "no server 'nowhere'" in done.err
    assert not page.exists()


def test_where_nobody_was_seen_there_is_a_page_all_the_same(called: Called, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    capture = CAPTURES / "kerberos-user.pcap"  # a user by Kerberos, and no null session
    done = called("report", capture, "-o", page, "--quiet", "--policy", _conf(tmp_path), "--recommend")
    assert done.status == 0, done.err
    assert "policies were not replayed" in page.read_text(encoding="utf-8")


def _conf(folder: Path) -> Path:
    path = folder / "smb.conf"
    path.write_text("[global]\n restrict anonymous = 2\n", encoding="utf-8")
    return path
