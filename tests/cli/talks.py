"""Whole captures of an anonymous login whose names a test chooses, packed by `build`."""

from __future__ import annotations

from pathlib import Path

import build as b

SESSION, TREE, FILE = 0x1122334455667788, 5, (7, 9)
SERVER_DNS_NAME = 3  # MsvAvDnsComputerName [MS-NLMP 2.2.2.1]
PIPE_SHARE = 2


def anonymous_pipe(
    pipe: str = "srvsvc", *, share: str = "IPC$", workstation: str = "WS1", server: str = "files1", port: int = 445
) -> b.Conversation:
    """A client logs in anonymously, connects to a share of pipes, opens a pipe, writes to it and reads from it."""
    talk = b.Conversation(server_end=("10.0.0.2", port)).open()
    challenge = b.ntlm_challenge(info=b.av_pair(SERVER_DNS_NAME, b.utf16(server)) + b.av_pair(0, b""))
    anonymous = b.ntlm_authenticate(workstation=workstation, lm=b"\0", flags=b.NTLM_FLAGS | b.NTLM_ANONYMOUS)
    exchanges = [
        (b.NEGOTIATE, b.negotiate_request(), b.negotiate_answer(), b.SUCCESS),
        (b.SESSION_SETUP, b.setup_request(b.ntlm_negotiate()), b.setup_answer(challenge), b.MORE_PROCESSING),
        (b.SESSION_SETUP, b.setup_request(anonymous), b.setup_answer(), b.SUCCESS),
        (b.TREE_CONNECT, b.tree_request(rf"\\10.0.0.2\{share}"), b.tree_answer(PIPE_SHARE), b.SUCCESS),
        (b.CREATE, b.create_request(pipe), b.create_answer(FILE), b.SUCCESS),
        (b.WRITE, b.write_request(FILE, bytes(72)), b.write_answer(72), b.SUCCESS),
        (b.READ, b.read_request(FILE), b.read_answer(bytes(68)), b.SUCCESS),
    ]
    for number, (command, request, answer, status) in enumerate(exchanges):
        session = SESSION if number > 1 else 0
        tree = TREE if command > b.TREE_CONNECT else 0
        talk.client(b.framed(b.smb2(command, request, message_id=number, session_id=session, tree_id=tree)))
        session = SESSION if number else 0
        tree = TREE if command >= b.TREE_CONNECT else 0
        answer_message = b.smb2(
            command, answer, status=status, flags=b.RESPONSE, message_id=number, session_id=session, tree_id=tree
        )
        talk.server(b.framed(answer_message))
    return talk.close()


def written(path: Path, packets: list[b.Packet]) -> Path:
    """A pcap file of these packets."""
    path.write_bytes(b.pcap(packets))
    return path
