"""What real clients and servers were seen to do, each of which is a way to be wrong: one test for each.

Where a program of this machine does it, the capture is recorded (`captures/manifest.toml` says what was run); where not,
it is built from what was seen.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analyzer
from tests import build
from tests.build import ACCESS_DENIED, SUCCESS, framed, smb1, smb2
from tests.dialogue import (
    ALICE,
    ANONYMOUS,
    AS_IMPACKET,
    AS_SAMBA,
    AS_WINDOWS,
    BAD_NETWORK_NAME,
    ENCRYPT_DATA,
    IS_GUEST,
    IS_NULL,
    LOGON_FAILURE,
    Smb1,
    Smb2,
    Talk,
    file_id,
    named,
    segments_of,
    write,
)
from tests.sessions.told import plain

CAPTURES = Path(__file__).parents[1] / "captures"
NO_RESPONSES = {"lm": b"", "nt": b""}


@cache
def recorded(name: str) -> analyzer.Analysis:
    """A capture of the project."""
    return analyzer.analyze(CAPTURES / name, detail="all")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A capture to be."""
    return tmp_path / "c.pcap"


def judged(analysis: analyzer.Analysis, *names: str) -> list[Any]:
    """Identity of each session, or some columns."""
    return plain(analysis.sessions, *names) if names else analysis.sessions["identity"].tolist()


def evidence(analysis: analyzer.Analysis) -> list[set[str]]:
    """The signs of each session."""
    return [set(signs.split("; ")) for signs in analysis.sessions["evidence"]]


def opens(analysis: analyzer.Analysis) -> list[tuple[Any, ...]]:
    """Pipe and identity of each open, by time."""
    rows = analysis.pipe_opens.merge(analysis.sessions[["session_key", "identity"]], on="session_key")
    return plain(rows, "pipe", "identity")


def verdicts(analysis: analyzer.Analysis) -> set[tuple[Any, ...]]:
    """Resource and verdict of each dependency."""
    return set(plain(analysis.dependencies, "resource", "verdict"))


# Sessions and identity. #


def test_the_null_flag_does_not_decide(path: Path) -> None:
    """Samba and Windows leave SessionFlags 0; another server says null or guest as the client's own flag was."""
    talks = []
    for number, (token, flags) in enumerate(
        ((AS_WINDOWS, 0), (AS_WINDOWS, IS_NULL), (AS_IMPACKET, 0), (AS_IMPACKET, IS_GUEST), (ALICE, 0))
    ):
        talks.append(Smb2(f"10.0.1.{number}", at=number))
        talks[-1].login(0x11, token, session_flags=flags)
    analysis = analyzer.analyze(write(path, *talks))
    assert judged(analysis) == ["anonymous", "anonymous", "anonymous", "guest", "user"]
    flagged = recorded("anonymous-null-flag.pcap").sessions
    assert set(plain(flagged, "session_flags", "identity")) == {(IS_NULL, "anonymous"), (IS_GUEST, "guest")}


def test_anonymous_authenticates_have_two_shapes(path: Path) -> None:
    """LM 0 bytes with the anonymous bit, LM 1 byte without; names of domain and workstation; with and without SPNEGO."""
    filled = build.ntlm_authenticate(domain="WORKGROUP", workstation="PC7", lm=b"\0")
    talks: list[Talk] = []
    for number, token in enumerate((AS_SAMBA, AS_IMPACKET, AS_WINDOWS, filled)):
        talks += [Smb2(f"10.0.1.{number}", at=number), Smb1(f"10.0.2.{number}", at=100 + number, extended=True)]
        talks[-2].login(0x11, token)  # type: ignore[arg-type]
        talks[-1].login_extended(2048, token)  # type: ignore[union-attr]
    assert judged(analyzer.analyze(write(path, *talks))) == ["anonymous"] * 8
    raw = recorded("anonymous-raw-ntlmssp.pcap").sessions
    assert set(raw["mechanism"]) == {"ntlmssp"}
    assert set(raw["identity"]) == {"anonymous"}


def test_a_name_without_responses_and_responses_without_a_name(path: Path) -> None:
    """Neither is anonymous over NTLMSSP; in an SMB 1 setup an empty account is, with passwords of 0, 1 and 24 bytes."""
    refused, guest, full, full_guest = (Smb2(f"10.0.1.{number}", at=number) for number in range(4))
    refused.login(0x11, named("operator", **NO_RESPONSES), status=LOGON_FAILURE)
    guest.login(0x11, named("operator", **NO_RESPONSES), session_flags=IS_GUEST)
    full.login(0x11, named(""), status=LOGON_FAILURE)
    full_guest.login(0x11, named(""), session_flags=IS_GUEST)
    analysis = analyzer.analyze(write(path, refused, guest, full, full_guest))
    assert judged(analysis) == ["rejected", "guest", "rejected", "guest"]
    old = recorded("anonymous-smb1-plain.pcap").sessions
    assert set(old[old["user"] == ""]["identity"]) == {"anonymous"}
    assert {"smb1.empty_passwords", "smb1.password"} <= set("; ".join(old["evidence"]).split("; "))


def test_a_failed_name_stands_beside_the_anonymous_session() -> None:
    """smbclient without a password fails as the user of its system first; libsmbclient after a wrong password."""
    analysis = recorded("fallback.pcap")
    sessions = analysis.sessions
    for _, anonymous in sessions[sessions["identity"] == "anonymous"].iterrows():
        before = sessions[
            (sessions["connection_id"] == anonymous["connection_id"])
            & (sessions["started"] < anonymous["started"])
            & (sessions["identity"] == "rejected")
        ]
        assert before["user"].str.len().min() > 0
        assert anonymous["session_no"] not in before["session_no"].tolist()
    assert {"anonymous", "rejected"} <= set(sessions["identity"])


def test_a_guest_has_a_real_looking_name() -> None:
    analysis = recorded("guest.pcap")
    guests = analysis.sessions.query("identity == 'guest' and asked == 'named'")
    assert {"scanner", "operator"} <= set(guests["user"])
    assert {"smb2.flag_guest", "smb1.action_guest"} <= set("; ".join(guests["evidence"]).split("; "))


def test_encryption_is_desired_or_required_of_an_anonymous_session(path: Path) -> None:
    """ENCRYPT_DATA is set and all goes on in clear; where encryption is required, the setup itself is refused."""
    talk = Smb2(dialect=0x0311)
    talk.login(0x11, session_flags=ENCRYPT_DATA)
    talk.tree(0x11, 1)
    talk.use(0x11, 1, "srvsvc")
    analysis = analyzer.analyze(write(path, talk))
    assert judged(analysis) == ["anonymous"]
    assert "smb2.flag_encrypt" in evidence(analysis)[0]
    assert verdicts(analysis) == {("srvsvc", "depends")}
    refused = recorded("refused-session-setup.pcap").sessions.query("asked == 'anonymous'")
    assert set(plain(refused, "identity", "status")) == {("anonymous_rejected", "STATUS_ACCESS_DENIED")}


def test_an_anonymous_session_is_signed_in_both_directions() -> None:
    analysis = recorded("anonymous-signed.pcap")
    assert judged(analysis) == ["anonymous"]
    assert "depends" in set(analysis.dependencies["verdict"])


def test_refusals_on_each_rung() -> None:
    rungs = {
        "refused-session-setup.pcap": "session_setup",
        "refused-tree.pcap": "tree_connect",
        "refused-open.pcap": "open",
    }
    for name, rung in rungs.items():
        rows = recorded(name).dependencies
        assert set(plain(rows, "verdict", "refused_at")) == {("denied", rung)}, name
    # Session, tree, open and bind succeed, and the service itself says no.
    stub = recorded("refused-stub.pcap").dependencies
    denied = stub[stub["verdict"] == "denied"]
    assert sorted(denied["operation"]) == [
        "NetrSessionEnum",
        "NetrShareEnumSticky",
        "SamrConnect2",
        "SamrConnect4",
        "SamrConnect5",
    ]
    assert set(denied["refused_at"]) == {"stub"}
    assert set(denied["confidence"]) == {"certain"}
    assert sorted(stub[stub["verdict"] == "depends"]["operation"]) == ["LsarClose", "LsarLookupNames", "LsarOpenPolicy"]


def test_the_identity_of_a_session_id_changes() -> None:
    """Anonymous, a user, anonymous: what comes later belongs to the new one. A failed login ends the session."""
    analysis = recorded("reauthentication.pcap")
    assert judged(analysis) == ["anonymous", "user", "anonymous"]
    assert analysis.sessions["session_no"].nunique() == 1
    failed = recorded("reauthentication-failed.pcap").sessions
    on_one_id = failed[failed["session_no"] == failed["session_no"].iloc[0]]
    assert on_one_id["identity"].tolist() == ["anonymous", "rejected"]


def test_sessions_interleave_on_a_connection(path: Path) -> None:
    """Four on one SMB 2 connection, request by request; two UIDs on one TID: the UID of each request decides."""
    talk = Smb2()
    tokens = {0x11: ANONYMOUS, 0x22: ALICE, 0x33: ANONYMOUS, 0x44: named("bob")}
    for session in tokens:
        talk.challenge(session)
    for session, token in tokens.items():
        talk.authenticate(session, token)
    for session in tokens:
        talk.tree(session, 1)
    for number, session in enumerate([*tokens] * 2):
        talk.create(session, 1, f"pipe{session:x}", file_id(number))
    other = Smb1("10.0.0.9", at=5)
    other.login(2048)
    other.login(2049, "alice", oem=bytes(24), unicode=bytes(24))
    other.tree(2049, 1)
    other.create(2048, 1, "\\srvsvc", 1)
    other.create(2049, 1, "\\lsarpc", 2)
    assert opens(analyzer.analyze(write(path, talk, other), detail="all")) == [
        *[("pipe11", "anonymous"), ("pipe22", "user"), ("pipe33", "anonymous"), ("pipe44", "user")] * 2,
        ("srvsvc", "anonymous"), ("lsarpc", "user"),
    ]  # fmt: skip


def test_kerberos_shows_no_client_name() -> None:
    """One round, over several TCP segments; the ticket's realm, service and encryption are readable."""
    analysis = recorded("kerberos-user.pcap")
    assert set(judged(analysis, "identity", "user")) == {("authenticated", None)}
    assert set(judged(analysis, "realm", "service", "ticket_etype")) == {("CORP.EXAMPLE", "cifs/dc1.corp.example", 18)}


def test_a_secure_channel_inside_a_null_session_depends_on_it() -> None:
    analysis = recorded("schannel-in-null-session.pcap")
    rows = analysis.dependencies.query("resource == 'netlogon'")
    assert set(plain(rows, "identity", "verdict")) == {("anonymous", "depends")}


def test_what_makes_no_new_session(path: Path) -> None:
    """A bound channel, an encrypted message with session id 0 after a logoff, invented session ids and UIDs."""
    first, second, old = Smb2(dialect=0x0300), Smb2(port=50_100, at=1, dialect=0x0300), Smb1("10.0.0.9", at=2)
    first.login(0x11, ALICE)
    second.challenge(0x11, known=True, flags=1)
    second.authenticate(0x11, ALICE, flags=1)
    first.wait(5)
    first.logoff(0x11)
    first.tcp.client(framed(build.encrypted(0)))
    first.tree(0xBAD, 1, status=0xC0000203)  # STATUS_USER_SESSION_DELETED
    old.login(2048, "alice", oem=bytes(24), unicode=bytes(24))
    old.tree(4711, 1, status=0x005B0002)  # ERRSRV/ERRbaduid, or any other error
    analysis = analyzer.analyze(write(path, first, second, old))
    assert judged(analysis) == ["user", "user"]
    assert len(analysis.channels) == 1
    assert "probe" not in set(analysis.dependencies["verdict"])


def test_a_challenge_without_an_authenticate_is_unknown() -> None:
    """Scanners; and many connections have no session at all."""
    analysis = recorded("probe-session.pcap.gz")
    given_up = analysis.sessions[analysis.sessions["outcome"] == "abandoned"]
    assert len(given_up)
    assert set(given_up["identity"]) == {"unknown"}
    with_sessions = set(analysis.sessions["connection_id"])
    assert set(analysis.connections["connection_id"]) - with_sessions


# SMB 1. #


def test_a_request_with_an_answers_header(path: Path) -> None:
    """The next request repeats an answer's header, with reply bit, error status and a random signature."""
    talk = Smb1(extended=True)
    header = {"flags": 0x98, "flags2": talk.flags2, "signature": b"\x5b\x11\x9c\x40\x77\x02\xee\x31"}
    init = build.smb1_setup_blob(build.spnego_init(build.ntlm_negotiate()), "Nmap")
    more = build.smb1_setup_answer(0, "Unix", token=build.spnego_answer(build.ntlm_challenge(), state=1))
    last = build.smb1_setup_blob(build.spnego_answer(AS_IMPACKET), "Nmap")
    done = build.smb1_setup_answer(0, "Unix", token=build.spnego_answer(state=0))
    for mid, request, answer, status in ((7, init, more, build.MORE_PROCESSING), (8, last, done, SUCCESS)):
        talk.tcp.client(framed(smb1(request, status=0xC000006D, uid=2048, mid=mid, **header)))
        talk.tcp.server(framed(smb1(answer, status=status, flags=0x98, flags2=talk.flags2, uid=2048, mid=mid)))
    talk.tree(2048, 1)
    analysis = analyzer.analyze(write(path, talk))
    assert judged(analysis, "identity", "status") == [("anonymous", "STATUS_SUCCESS")]
    assert recorded("probe-nmap.pcap").sessions.query("identity == 'anonymous'")["native_os"].notna().any()


def test_a_chain_has_the_status_of_what_failed_in_it(path: Path) -> None:
    """Login and tree connect in one message, the latter refused; a refused login has no words; stale tree ids."""
    setup = build.smb1_setup("", "CORP", "Java", "jCIFS", oem_password=b"\0")
    tree = build.smb1_tree(r"\\FILES1\IPC$")
    works, fails = Smb1(), Smb1("10.0.0.9", at=1)
    answer = [build.smb1_setup_answer(0, "Unix", "Samba"), build.failed(0x75)]
    works.exchange([setup, tree], answer, status=ACCESS_DENIED, tid=0xFFFF, new_uid=2048)
    works.exchange(tree, build.smb1_tree_answer(b"IPC"), uid=2048, tid=77, new_tid=5)
    works.create(2048, 5, "\\srvsvc", 1)
    fails.exchange([setup, tree], [build.failed(0x73)], status=ACCESS_DENIED)
    analysis = analyzer.analyze(write(path, works, fails))
    assert judged(analysis, "identity", "outcome") == [("anonymous", "accepted"), ("anonymous_rejected", "refused")]
    assert plain(analysis.trees, "share", "status") == [("IPC$", "STATUS_ACCESS_DENIED"), ("IPC$", "STATUS_SUCCESS")]
    assert opens(analysis) == [("srvsvc", "anonymous")]


def test_dos_error_codes_and_setups_of_ten_words(path: Path) -> None:
    """ERRDOS/ERRnoaccess refuses as ACCESS_DENIED does; LANMAN setups have one password."""
    talk = Smb1(negotiated=False)
    talk.flags2 = 1  # no NT status, no Unicode
    talk.exchange(
        build.smb1_negotiate(("LANMAN1.0", "LM1.2X002")), build.smb1_negotiate_answer_lanman(1, security_mode=3)
    )
    talk.exchange(build.smb1_setup_lanman("", password=b"\0"), build.smb1_setup_answer(0, unicode=False), new_uid=9)
    talk.exchange(build.smb1_tree(r"\\FILES1\IPC$", unicode=False), build.failed(0x75), status=0x00050001, uid=9)
    analysis = analyzer.analyze(write(path, talk))
    assert judged(analysis, "identity", "confidence") == [("anonymous", "certain")]
    assert plain(analysis.dependencies, "verdict", "refused_at") == [("denied", "tree_connect")]
    assert set(recorded("anonymous-lanman.pcap").sessions["identity"]) == {"anonymous"}


@pytest.mark.parametrize("revision", [0x02FF, 0x0202])
def test_a_negotiation_of_both_protocols(path: Path, revision: int) -> None:
    """SMB 1 asks, SMB 2 answers: with 0x02FF and another round, or with 0x0202 at once. The last answer holds."""
    talk = Smb2(dialect=None)
    talk.tcp.client(framed(smb1(build.smb1_negotiate(("NT LM 0.12", "SMB 2.002", "SMB 2.???")))))
    talk.tcp.server(framed(smb2(build.NEGOTIATE, build.negotiate_answer(revision), flags=build.RESPONSE, message_id=0)))
    if revision == 0x02FF:
        talk.exchange(
            build.NEGOTIATE, build.negotiate_request((0x0202, 0x0210, 0x0302)), build.negotiate_answer(0x0302)
        )
    talk.anonymous_use(0x11, "srvsvc")
    analysis = analyzer.analyze(write(path, talk))
    assert analysis.connections["dialect"].tolist() == ["3.0.2" if revision == 0x02FF else "2.0.2"]
    assert judged(analysis) == ["anonymous"]
    assert not len(analysis.problems)


def test_a_negative_netbios_answer_to_a_negotiation_on_port_445(path: Path) -> None:
    """Also where a retarget answer or keep-alives stand: what follows is read on."""
    refused, goes_on = Smb2(dialect=None), Smb2("10.0.0.9", at=1, dialect=None)
    request = build.negotiate_request((0x0202, 0x0210))
    refused.ask(build.NEGOTIATE, request)
    refused.tcp.server(b"\x83\0\0\x01\x8f")
    refused.tcp.close()
    goes_on.tcp.client(build.KEEP_ALIVE)
    goes_on.tcp.server(b"\x84\0\0\x06" + bytes([10, 0, 0, 7]) + (139).to_bytes(2, "big"))
    goes_on.exchange(build.NEGOTIATE, request, build.negotiate_answer(0x0210))
    goes_on.tcp.server(build.KEEP_ALIVE)
    goes_on.anonymous_use(0x11, "srvsvc")
    analysis = analyzer.analyze(write(path, refused, goes_on))
    assert judged(analysis) == ["anonymous"]
    assert analysis.connections["dialect"].astype(object).where(analysis.connections["dialect"].notna(), None).tolist() == [
        None, "2.1",
    ]  # fmt: skip
    assert not len(analysis.problems)
    assert verdicts(analysis) == {("srvsvc", "depends")}


# IPC$ and pipes. #


def test_pipe_names_have_three_forms_and_rap_has_no_pipe(path: Path) -> None:
    talk = Smb1()
    talk.login(2048)
    talk.tree(2048, 1)
    for fid, name in enumerate(("srvsvc", "\\lsarpc", "\\PIPE\\samr"), 1):
        talk.create(2048, 1, name, fid)
    talk.rap(2048, 1)
    analysis = analyzer.analyze(write(path, talk))
    assert opens(analysis) == [("srvsvc", "anonymous"), ("lsarpc", "anonymous"), ("samr", "anonymous")]
    assert plain(analysis.calls, "protocol", "operation") == [("rap", "NetShareEnum")]
    assert ("rap", "depends") in verdicts(analysis)


def test_ways_to_use_a_pipe_mix_on_one_handle(path: Path) -> None:
    """Two writes, reads in pieces behind an overflow, a transceive; STATUS_PENDING first, by async id later."""
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    talk.create(0x11, 1, "srvsvc", (7, 7))
    for size in (60, 12):
        talk.write(0x11, 1, (7, 7), bytes(size))
    talk.read(0x11, 1, (7, 7), bytes(30), status=build.BUFFER_OVERFLOW)
    talk.read(0x11, 1, (7, 7), bytes(38))
    talk.transceive(0x11, 1, (7, 7), bytes(100), bytes(50))
    talk.ask(build.READ, build.read_request((7, 7)), session_id=0x11, tree_id=1)
    number = talk.message_id
    same = {"session_id": 0x11, "async_id": 0x77, "message_id": number}
    talk.answer(build.READ, b"", status=build.PENDING, **same)
    talk.write(0x11, 1, (7, 7), bytes(1))
    talk.answer(build.READ, build.read_answer(bytes(9)), **same)
    old = Smb1("10.0.0.9", at=2)
    old.login(2048)
    old.tree(2048, 1)
    old.create(2048, 1, "\\lsarpc", 7)
    old.exchange(build.write_andx(7, bytes(5)), build.write_andx_answer(5), uid=2048, tid=1)
    old.transact(2048, 1, 7, bytes(6), bytes(7))
    analysis = analyzer.analyze(write(path, talk, old))
    assert plain(analysis.pipe_opens, "pipe", "bytes_written", "bytes_read") == [
        ("srvsvc", 173, 127),
        ("lsarpc", 11, 7),
    ]


def test_a_tree_without_a_pipe_is_no_dependency_on_rpc() -> None:
    """Clients of disks connect IPC$ for a referral; anonymous use of disks is a class of its own."""
    for name in ("dfs-smb2.pcap", "dfs-smb1.pcap"):
        rows = recorded(name).dependencies
        assert "dfs" in set(rows["resource"])
        assert "IPC$" not in set(rows[rows["verdict"] == "depends"]["resource"])
    disk = recorded("disk-anonymous.pcap")
    assert not len(disk.pipe_opens)
    assert "depends" in set(disk.dependencies["verdict"])
    assert set(disk.dependencies[disk.dependencies["verdict"] == "depends"]["resource"]).isdisjoint({"IPC$", "srvsvc"})


def test_one_listing_makes_two_null_sessions() -> None:
    """Over port 445, then over SMB 1 on port 139 for RAP; the called NetBIOS name may be an address."""
    analysis = recorded("anonymous-smb1.pcap")
    ports = analysis.connections.set_index("connection_id")["server_port"]
    anonymous = analysis.sessions[analysis.sessions["identity"] == "anonymous"]
    assert {139, 445} <= set(ports[anonymous["connection_id"]])
    called = analysis.connections.dropna(subset=["netbios_called"])["netbios_called"]
    assert "10.77.0.2" in set(called)
    assert {("rap", "depends"), ("srvsvc", "depends")} <= verdicts(analysis)


# Captures. #


def test_frames_larger_than_packets_wrong_checksums_and_other_ports(path: Path) -> None:
    offload = recorded("offload.pcapng")
    assert "anonymous" in judged(offload)
    assert not offload.connections["missing_bytes"].any()
    assert "anonymous" in judged(recorded("anonymous-port4455.pcapng"))
    talk = Smb2()
    talk.anonymous_use(0x11, "srvsvc")
    right = analyzer.analyze(write(path, talk))
    packets = []
    for packet in talk.tcp.packets():
        data = bytearray(packet.data)
        data[24:26] = b"\xde\xad"  # IPv4 header checksum
        data[50:52] = b"\xbe\xef"  # TCP checksum
        packets.append(build.Packet(packet.time_ns, bytes(data)))
    path.write_bytes(build.pcap(packets, nano=True))
    pd.testing.assert_frame_equal(analyzer.analyze(path).dependencies, right.dependencies)


# Where another decoder reads it wrong, or shows it oddly. #


def test_the_stream_tells_a_request_from_an_answer() -> None:
    """nmap's requests have the reply bit: they are paired with their answers all the same."""
    analysis = recorded("probe-nmap.pcap")
    assert analysis.trees["answer_frame"].notna().all()
    assert (analysis.trees["frame"] < analysis.trees["answer_frame"]).all()


def rewritten(path: Path, payloads: Any) -> analyzer.Analysis:
    """A conversation whose segments are changed before they are captured."""
    talk = Smb2()
    talk.anonymous_use(0x11, "srvsvc")
    segments = payloads(segments_of(talk))
    path.write_bytes(build.pcap([segment.packet() for segment in segments], nano=True))
    return analyzer.analyze(path)


def test_a_netbios_header_split_over_two_segments(path: Path) -> None:
    talk = build.Conversation().open()
    whole = Smb2()
    whole.anonymous_use(0x11, "srvsvc")
    for segment in whole.tcp.segments[3:]:
        send = talk.server if segment.source == whole.tcp.server_end else talk.client
        for begin, end in ((0, 1), (1, 3), (3, 7), (7, None)):
            send(segment.payload[begin:end])
    analysis = analyzer.analyze(write(path, talk))
    assert judged(analysis) == ["anonymous"]
    assert opens(analysis) == [("srvsvc", "anonymous")]
    assert not len(analysis.problems)


def test_duplicated_and_reordered_segments(path: Path) -> None:
    def disturbed(segments: list[build.Segment]) -> list[build.Segment]:
        mixed = segments[:3]
        for place in range(3, len(segments), 4):
            mixed += segments[place : place + 4][::-1] + segments[place : place + 2]
        return mixed

    analysis = rewritten(path, disturbed)
    assert judged(analysis) == ["anonymous"]
    assert opens(analysis) == [("srvsvc", "anonymous")]
    assert plain(analysis.pipe_opens, "bytes_written", "bytes_read") == [(72, 60)]
    assert not len(analysis.problems)


def test_each_tree_connect_has_its_own_path_and_a_login_has_none(path: Path) -> None:
    talk = Smb1(extended=True)
    talk.login_extended(2048)
    talk.tree(2048, 1)
    talk.login_extended(2049)
    talk.tree(2049, 2, "PUBLIC", status=BAD_NETWORK_NAME)
    trees = analyzer.analyze(write(path, talk)).trees
    assert plain(trees, "path", "share") == [(r"\\FILES1\IPC$", "IPC$"), (r"\\FILES1\PUBLIC", "PUBLIC")]


def test_empty_is_what_has_no_length(path: Path) -> None:
    """A user who is called NULL is a user; eight bytes of a descriptor are no response."""
    nobody, called_null = Smb2(), Smb2("10.0.0.9", at=1)
    nobody.login(0x11, AS_SAMBA)
    called_null.login(0x11, named("NULL"))
    analysis = analyzer.analyze(write(path, nobody, called_null))
    assert judged(analysis, "user", "identity") == [("", "anonymous"), ("NULL", "user")]
    assert [{"ntlm.empty_responses"} & signs for signs in evidence(analysis)] == [{"ntlm.empty_responses"}, set()]


def test_sealed_calls_do_not_hide_the_pipe() -> None:
    """What is called inside is sealed: that the pipe was opened and data went both ways shows that it is needed."""
    analysis = recorded("schannel-in-null-session.pcap")
    used = analysis.pipe_opens.merge(analysis.sessions[["session_key", "identity"]], on="session_key")
    used = used[(used["identity"] == "anonymous") & (used["pipe"] == "netlogon")]
    assert len(used)
    assert ((used["bytes_written"] > 0) & (used["bytes_read"] > 0)).any()
