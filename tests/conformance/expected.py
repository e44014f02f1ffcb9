"""What must be found in a capture, worked out from tshark's messages alone, in the plainest way.

`rows` takes the messages of a capture and gives the session setups, the channels, the tree connects and the pipe opens that
the documents say are there: slow, obvious, and written without looking at the engine that it is compared with. The rules of
identity are those of [MS-NLMP] 3.2.5.1.2 (what is an anonymous request), [MS-SMB2] 3.3.5.5.3 and [MS-SMB] 2.2.4.6.2 (what the
answer says about it).

A message pairs with its answer by stream and message id. Sessions are known by server and session id in SMB 2, whose sessions
may use several connections, and by connection and UID in SMB 1. A request belongs to the last login that was completed on its
session id before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .tshark_reader import ENCRYPTED, SMB1, SMB2, SMB2_RELATED, Block, Message, Value

STATUS_SUCCESS = 0
STATUS_PENDING = 0x103
STATUS_ERROR = 0xC0000000
STATUS_MORE_PROCESSING_REQUIRED = 0xC0000016

SMB2_NEGOTIATE, SMB2_SESSION_SETUP, SMB2_TREE_CONNECT, SMB2_CREATE = 0, 1, 3, 5
SMB2_READ, SMB2_WRITE, SMB2_IOCTL = 8, 9, 11
FSCTL_PIPE_TRANSCEIVE = 0x0011C017
SHARE_TYPE_PIPE = 2

SMB_COM_OPEN, SMB_COM_OPEN_ANDX, SMB_COM_NT_CREATE_ANDX, SMB_COM_NT_TRANSACT = 0x02, 0x2D, 0xA2, 0xA0
SMB_COM_TRANSACTION, SMB_COM_READ_ANDX, SMB_COM_WRITE_ANDX = 0x25, 0x2E, 0x2F
SMB_COM_NEGOTIATE, SMB_COM_SESSION_SETUP_ANDX = 0x72, 0x73
SMB_COM_TREE_CONNECT, SMB_COM_TREE_CONNECT_ANDX = 0x70, 0x75
SMB1_PIPE_TYPES = (1, 2)
NT_TRANSACT_CREATE, CALL_NMPIPE = 1, 0x54

SESSION_SETUP = {SMB1: SMB_COM_SESSION_SETUP_ANDX, SMB2: SMB2_SESSION_SETUP}
TREE_CONNECT = {SMB1: (SMB_COM_TREE_CONNECT, SMB_COM_TREE_CONNECT_ANDX), SMB2: (SMB2_TREE_CONNECT,)}
NO_PROOF = {
    SMB1: (SMB_COM_NEGOTIATE, SMB_COM_SESSION_SETUP_ANDX),
    SMB2: (SMB2_NEGOTIATE, SMB2_SESSION_SETUP),
}
"""Commands whose success does not prove that somebody is logged in."""

SMB1_OPENS = {
    SMB_COM_OPEN: "open",
    SMB_COM_OPEN_ANDX: "open_andx",
    SMB_COM_NT_CREATE_ANDX: "nt_create_andx",
    SMB_COM_NT_TRANSACT: "nt_transact_create",
    SMB_COM_TRANSACTION: "call_nmpipe",
}

WELL_KNOWN_PIPES = frozenset(
    (
        "lsarpc", "lsass", "samr", "netlogon", "srvsvc", "wkssvc", "svcctl", "winreg", "spoolss", "atsvc", "eventlog",
        "epmapper", "browser", "netdfs", "initshutdown", "ntsvcs", "dssetup", "efsrpc", "mdssvc",
    )
)  # fmt: skip
"""Where the tree connect was not captured, these names are taken for what they are everywhere else."""

DOS_ERRORS = {0x00050002: "ERRSRV/ERRinvtid"}
"""[MS-CIFS] 2.2.2.4, as far as they occur: class in the low byte, code in the high half."""

NTLM_AUTHENTICATE = 3
KERBEROS_MECHANISMS = {"1.2.840.113554.1.2.2", "1.2.840.48018.1.2.2", "1.2.752.43.14.3"}
NTLM_MECHANISM = "1.3.6.1.4.1.311.2.2.10"

SessionKey = tuple[Any, ...]
Facts = dict[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """What both readings must agree on. A fact that does not exist is an empty text."""

    kind: str
    """session, channel, tree or pipe"""
    frame: int | None
    """of the request; None: not captured"""
    answer_frame: int | None
    facts: tuple[tuple[str, str], ...]


def rows(messages: Iterable[Message]) -> list[Row]:
    """All rows of a capture."""
    conversation = Conversation()
    for message in messages:
        conversation.take(message)
    return list(conversation.rows())


# What a client claims. #


@dataclass(slots=True)
class Claim:
    """Who the client says it is."""

    asked: str = ""
    user: str | None = None
    has_response: bool = False
    """a proof of the password came with it"""


def is_empty_lm(value: Value | None) -> bool:
    """No LM response, or the Z(1) of [MS-NLMP] 3.3.1: one byte, zero."""
    return value is None or not value.length or (value.length == 1 and value.raw == b"\0")


def claim_of(block: Block, before: Claim) -> Claim:
    """The claim of a session setup request; a leg that carries none leaves the claim of the legs before it."""
    if block.number("ntlmssp.messagetype") == NTLM_AUTHENTICATE:
        return _ntlm_claim(block)
    if block.words in (10, 13) and not block.fields.get("smb.security_blob"):
        return _plain_claim(block)
    mechanisms = [value.show for value in block.fields.get("spnego.MechType", ())]
    if block.fields.get("kerberos.msg_type"):
        return Claim("kerberos")
    if mechanisms and mechanisms[0] not in KERBEROS_MECHANISMS | {NTLM_MECHANISM}:
        return Claim("other") if not before.asked else before
    return before


def has_token(block: Block) -> bool:
    """A leg that only completes the negotiation of the mechanism carries none."""
    tokens = ("spnego.mechToken", "spnego.responseToken", "ntlmssp.messagetype", "kerberos.msg_type")
    return block.words in (10, 13) or any(block.fields.get(name) for name in tokens)


def _ntlm_claim(block: Block) -> Claim:
    """[MS-NLMP] 3.2.5.1.2. Empty is what the descriptors say is empty."""
    user, nt, lm = (
        next(iter(block.fields.get(f"ntlmssp.auth.{n}", ())), None) for n in ("username", "ntresponse", "lmresponse")
    )
    name = user.show if user is not None and user.length else ""
    has_response = nt is not None and bool(nt.length)
    if name:
        return Claim("named", name, has_response or not is_empty_lm(lm))
    anonymous = not has_response and is_empty_lm(lm)
    return Claim("anonymous" if anonymous else "other", "", has_response)


def _plain_claim(block: Block) -> Claim:
    """SMB 1 without extended security: an empty account is anonymous, whatever stands where the responses go."""
    name = block.text("smb.account") or ""
    lengths = [block.number(n) or 0 for n in ("smb.pwlen", "smb.ansi_pwlen", "smb.unicode_pwlen")]
    return Claim("named" if name else "anonymous", name, any(length > 1 for length in lengths))


# Sessions. #


@dataclass(slots=True)
class Login:
    """A session setup with all its legs, or a session whose setup was not captured."""

    request: Message | None
    """its last request"""
    answer: Message | None = None
    """its last answer"""
    answer_block: Block | None = None
    claim: Claim = field(default_factory=Claim)
    session_id: int = 0
    session: SessionKey | None = None
    protocol: str = ""
    failed: bool = False
    """SMB 1: the status of the answer is that of the setup, not of a later command in its chain"""
    binding: bool = False
    share_level: bool = False
    tree_password: bool = False
    later_success: bool = False
    not_captured: bool = False
    began: int = 0
    """place among the messages from which requests belong to it"""

    def label(self) -> str:
        """How trees and opens name it."""
        if self.request is not None:
            return str(self.request.frame)
        return f"answer {self.answer.frame}" if self.answer else ""

    def identity(self) -> str:
        """Whose session it is."""
        asked = self.claim.asked
        if self.not_captured:
            return "unknown"
        if self.answer is None:
            return "anonymous" if asked == "anonymous" and self.later_success else "unknown"
        if self.answer.status == STATUS_MORE_PROCESSING_REQUIRED:
            return "unknown"
        if self.failed:
            return "anonymous_rejected" if asked == "anonymous" else "rejected"
        block = self.answer_block
        if block is not None and (block.is_set("smb2.ses_flags.guest") or block.is_set("smb.setup.action.guest")):
            return "guest"
        if block is not None and block.is_set("smb2.ses_flags.null"):
            return "anonymous"
        return self._accepted_as_asked()

    def _accepted_as_asked(self) -> str:
        claim = self.claim
        if claim.asked == "anonymous":
            return "unknown" if self.tree_password else "anonymous"
        if claim.asked == "kerberos" or (claim.asked == "other" and claim.user is None):
            return "authenticated"
        if claim.asked == "named" and (claim.user or "").lower() == "guest":
            return "guest"
        if claim.asked == "named" and claim.has_response:
            return "machine" if (claim.user or "").endswith("$") else "user"
        return "unknown"

    def facts(self) -> Facts:
        """For the row."""
        width = 4 if self.protocol == SMB1 else 16
        return {
            "id": f"{'' if self.protocol == SMB1 else '0x'}{self.session_id:0{width}x}" if self.session_id else "",
            "asked": self.claim.asked,
            "identity": self.identity(),
            "user": "" if self.claim.user is None else f"'{self.claim.user}'",
            "status": "" if self.not_captured else status_of(self.answer, failed=self.failed),
        }


def status_of(answer: Message | None, *, failed: bool = True) -> str:
    """The name of a status, or its number; nothing without an answer."""
    if answer is None:
        return ""
    if answer.status and not failed:
        return "STATUS_SUCCESS"
    if not answer.status_name and not answer.status:
        return "STATUS_SUCCESS"
    if answer.status in DOS_ERRORS and not answer.status_name:
        return DOS_ERRORS[answer.status]
    return answer.status_name if answer.status_name.startswith("STATUS_") else f"0x{answer.status:08x}"


# Trees and opens. #


@dataclass(slots=True)
class Tree:
    """A tree connect."""

    request: Message
    path: str
    session: SessionKey | None
    login: Login | None = None
    place: int = 0
    answer: Message | None = None
    failed: bool = True
    is_pipe: bool = False

    def __post_init__(self) -> None:
        self.is_pipe = self.path.upper().rsplit("\\", 1)[-1] == "IPC$"


@dataclass(slots=True)
class Open:
    """An open of something that may be a pipe."""

    request: Message
    name: str
    via: str
    session: SessionKey | None
    tree: Tree | None
    login: Login | None = None
    place: int = 0
    answer: Message | None = None
    failed: bool = True
    is_pipe: bool = False
    written: int = 0
    read: int = 0

    @property
    def pipe(self) -> str:
        """The name as the tables give it."""
        name = self.name.lower().lstrip("\\")
        return name.removeprefix("pipe\\").lstrip("\\")


@dataclass(slots=True)
class Transfer:
    """A request that writes to a pipe or reads from it."""

    opened: Open
    written: int


def bytes_written(block: Block, protocol: str) -> int:
    """What a request writes to its file."""
    if protocol == SMB2:
        return (block.number("smb2.write_length") or 0) if block.command == SMB2_WRITE else block.size("smb2.ioctl.in")
    if block.command == SMB_COM_WRITE_ANDX:
        # The start of a message that is written raw has its length in front.
        is_start = block.is_set("smb.write.mode.raw") and block.is_set("smb.write.mode.message_start")
        return _data_length(block) - 2 * is_start
    return (block.number("smb.dc") or 0) if block.command == SMB_COM_TRANSACTION else 0


def bytes_read(block: Block, protocol: str) -> int:
    """What an answer brings from it."""
    if protocol == SMB2:
        return (block.number("smb2.olb.length") or 0) if block.command == SMB2_READ else block.size("smb2.ioctl.out")
    if block.command == SMB_COM_READ_ANDX:
        return _data_length(block)
    return (block.number("smb.dc") or 0) if block.command == SMB_COM_TRANSACTION else 0


def _data_length(block: Block) -> int:
    return (block.number("smb.data_len_low") or 0) | (block.number("smb.data_len_high") or 0) << 16


Made = Login | Tree | Open | Transfer | None
Pending = tuple[Message, list[Made]]


class Conversation:
    """All messages of a capture, one after the other."""

    def __init__(self) -> None:
        self.place = 0
        self.pending: dict[tuple[Any, ...], Pending] = {}
        self.unfinished: dict[tuple[int, int], Login] = {}
        self.logins: list[Login] = []
        self.by_session: dict[SessionKey, list[Login]] = {}
        self.trees: list[Tree] = []
        self.tree_by_id: dict[tuple[Any, ...], Tree] = {}
        self.opens: list[Open] = []
        self.open_by_file: dict[tuple[Any, bytes], Open] = {}
        self.share_level: set[int] = set()
        self.previous: Message | None = None
        self.previous_made: Made = None

    def take(self, message: Message) -> None:
        """The next message."""
        self.place += 1
        if message.protocol == ENCRYPTED:
            self._prove(self._session(message, message.session_id), message)
        elif message.from_client:
            self._request(message)
        else:
            self._answer(message)
        self.previous = message

    # Requests.

    def _request(self, message: Message) -> None:
        self._inherit(message)
        made: list[Made] = []
        for block in message.blocks:
            made.append(self._begin(message, block, made))
        self.previous_made = made[-1] if made else None
        self.pending[self._exchange(message)] = (message, made)

    def _inherit(self, message: Message) -> None:
        """A related request of a compound has the ids of the one before it ([MS-SMB2] 3.3.5.2.7.2)."""
        before = self.previous
        if message.protocol != SMB2 or not message.flags & SMB2_RELATED or before is None:
            return
        if before.frame == message.frame and before.stream is message.stream and before.from_client:
            message.session_id, message.tree_id = before.session_id, before.tree_id

    def _begin(self, message: Message, block: Block, chain: list[Made]) -> Made:
        if block.command == SESSION_SETUP[message.protocol]:
            return self._begin_login(message, block)
        if block.command in TREE_CONNECT[message.protocol]:
            return self._begin_tree(message, block, chain)
        if block.command == SMB2_CREATE if message.protocol == SMB2 else _is_smb1_open(block):
            return self._begin_open(message, block, chain)
        return self._begin_transfer(message, block)

    def _begin_login(self, message: Message, block: Block) -> Login:
        login = self.unfinished.pop((message.stream.number, message.session_id), None) if message.session_id else None
        if login is None:
            login = Login(message, protocol=message.protocol, share_level=message.stream.number in self.share_level)
            self.logins.append(login)
        login.answer = None
        if login.request is None or has_token(block):
            login.request = message
        login.claim = claim_of(block, login.claim)
        login.binding |= block.is_set("smb2.ses_req_flags.session_binding")
        login.session_id = login.session_id or message.session_id
        login.session = self._session(message, login.session_id)
        login.began = self.place
        return login

    def _begin_tree(self, message: Message, block: Block, chain: list[Made]) -> Tree:
        tree = Tree(
            message,
            block.text("smb2.tree" if message.protocol == SMB2 else "smb.path") or "",
            self._own_session(message),
        )
        tree.place = self.place
        tree.login = next((made for made in chain if isinstance(made, Login)), None)
        login = tree.login or self._login(tree.session, self.place)
        if login is not None and login.share_level and (block.number("smb.pwlen") or 0) > 1:
            login.tree_password = True
        self.trees.append(tree)
        return tree

    def _begin_open(self, message: Message, block: Block, chain: list[Made]) -> Open:
        if message.protocol == SMB2:
            via, name = "create", block.text("smb2.filename") or ""
        else:
            via = SMB1_OPENS[block.command]
            name = block.text("smb.trans_name" if via == "call_nmpipe" else "smb.file") or ""
        session = self._own_session(message)
        tree = next((made for made in chain if isinstance(made, Tree)), None) or self._tree(message)
        opened = Open(message, name, via, session, tree, place=self.place)
        opened.login = next((made for made in chain if isinstance(made, Login)), None)
        opened.is_pipe = via == "call_nmpipe" or (tree.is_pipe if tree else opened.pipe in WELL_KNOWN_PIPES)
        self.opens.append(opened)
        return opened

    def _begin_transfer(self, message: Message, block: Block) -> Transfer | None:
        opened = self.open_by_file.get(_file(message, block))
        commands = (SMB2_READ, SMB2_WRITE) if message.protocol == SMB2 else (SMB_COM_READ_ANDX, SMB_COM_WRITE_ANDX)
        is_call = block.number("smb2.ioctl.function") == FSCTL_PIPE_TRANSCEIVE or "smb_pipe" in block.carries
        if opened is None or not (block.command in commands or is_call):
            return None
        opened.is_pipe |= opened.tree is None and (is_call or "dcerpc" in block.carries)
        transfer = Transfer(opened, bytes_written(block, message.protocol))
        opened.written += transfer.written
        return transfer

    def _tree(self, message: Message) -> Tree | None:
        """The tree of a request; in a compound it may be the one that is being connected."""
        if message.flags & SMB2_RELATED and message.protocol == SMB2 and isinstance(self.previous_made, Tree):
            return self.previous_made
        return self.tree_by_id.get(self._tree_key(message, message.session_id, message.tree_id))

    # Answers.

    def _answer(self, message: Message) -> None:
        exchange = self._exchange(message)
        request, made = self.pending.get(exchange, (None, []))
        self._learn(message)
        if _is_interim(message):
            return
        if exchange[-1] != SMB_COM_TRANSACTION:
            self.pending.pop(exchange, None)
        if request is not None and message.protocol == SMB2:
            message.session_id = message.session_id or request.session_id
        for number, block in enumerate(message.blocks):
            failed = bool(message.status) and (number == len(message.blocks) - 1 or block.words == 0)
            started = made[number] if number < len(made) else None
            self._finish(message, block, started, failed=failed)
        if request is None or not made or not any(made):
            self._prove_by_answer(message)

    def _learn(self, message: Message) -> None:
        for block in message.blocks:
            if message.protocol == SMB1 and block.command == SMB_COM_NEGOTIATE and block.number("smb.sm.mode") == 0:
                self.share_level.add(message.stream.number)

    def _finish(self, message: Message, block: Block, started: Made, *, failed: bool) -> None:
        match started:
            case Login():
                self._finish_login(started, message, block, failed=failed)
            case Tree():
                self._finish_tree(started, message, block, failed=failed)
            case Open():
                self._finish_open(started, message, block, failed=failed)
            case Transfer():
                started.opened.read += bytes_read(block, message.protocol)
                started.opened.written -= started.written if message.status >= STATUS_ERROR else 0
                self._prove_by_answer(message)
            case None if (
                block.command == SESSION_SETUP[message.protocol] and message.status != STATUS_MORE_PROCESSING_REQUIRED
            ):
                login = Login(None, protocol=message.protocol)
                self.logins.append(login)
                self._finish_login(login, message, block, failed=failed)

    def _finish_login(self, login: Login, message: Message, block: Block, *, failed: bool) -> None:
        login.answer, login.answer_block, login.failed = message, block, failed
        login.session_id = message.session_id or login.session_id
        login.session = self._session(message, login.session_id)
        if failed and message.status == STATUS_MORE_PROCESSING_REQUIRED:
            self.unfinished[message.stream.number, message.session_id] = login
        elif not failed:
            login.began = self.place
            if not login.binding and login.session is not None:
                self.by_session.setdefault(login.session, []).append(login)

    def _finish_tree(self, tree: Tree, message: Message, block: Block, *, failed: bool) -> None:
        tree.answer, tree.failed = message, failed
        if failed:
            return
        number = block.number("smb.tid") if block.command == SMB_COM_TREE_CONNECT and message.protocol == SMB1 else None
        session_id = message.session_id
        self.tree_by_id[self._tree_key(message, session_id, message.tree_id if number is None else number)] = tree
        if message.protocol == SMB2:
            tree.is_pipe = block.number("smb2.share_type") == SHARE_TYPE_PIPE
        elif block.text("smb.service"):
            tree.is_pipe = (block.text("smb.service") or "").upper().startswith("IPC")
        self._prove(tree.session or self._session(message, session_id), message)

    def _finish_open(self, opened: Open, message: Message, block: Block, *, failed: bool) -> None:
        opened.answer, opened.failed = message, failed
        if failed:
            return
        if opened.tree is None and message.protocol == SMB1:
            opened.is_pipe |= block.number("smb.file_type") in SMB1_PIPE_TYPES
        self.open_by_file[_file(message, block)] = opened
        self._prove(opened.session, message)

    # Sessions.

    def _session(self, message: Message, session_id: int) -> SessionKey | None:
        if not session_id:
            return None
        if message.protocol == SMB1:
            return (SMB1, message.stream.number, session_id)
        return (SMB2, message.stream.server, session_id)

    def _own_session(self, message: Message) -> SessionKey | None:
        return self._session(message, message.session_id)

    def _login(self, session: SessionKey | None, place: int) -> Login | None:
        """The login that a request belongs to. What proves a session proves it for the requests before, too."""
        logins = self.by_session.get(session, []) if session else []
        before = [login for login in logins if login.began <= place]
        return before[-1] if before else next((login for login in logins if login.not_captured), None)

    def _prove_by_answer(self, message: Message) -> None:
        """A success on a session id proves that there is a session."""
        commands = [block.command for block in message.blocks]
        if message.status == STATUS_SUCCESS and commands and commands[0] not in NO_PROOF[message.protocol]:
            self._prove(self._own_session(message), message)

    def _prove(self, session: SessionKey | None, message: Message) -> None:
        if session is None or session in self.by_session:
            return
        attempts = [login for login in self.logins if login.session_id and login.session == session]
        unanswered = [login for login in attempts if login.answer is None]
        if attempts and not unanswered:
            return
        if unanswered:
            unanswered[-1].later_success = True
            self.by_session[session] = unanswered[-1:]
            return
        login = Login(None, message, session_id=message.session_id, protocol=SMB1 if session[0] == SMB1 else SMB2)
        login.not_captured, login.began = True, self.place
        self.logins.append(login)
        self.by_session[session] = [login]

    # Keys.

    @staticmethod
    def _exchange(message: Message) -> tuple[Any, ...]:
        """SMB 1 clients were seen that give the same id to several requests at once; the command tells them apart."""
        command = message.blocks[0].command if message.protocol == SMB1 and message.blocks else None
        return (message.stream.number, message.protocol, *message.message_id, command)

    @staticmethod
    def _tree_key(message: Message, session_id: int, tree_id: int) -> tuple[Any, ...]:
        return (
            (message.stream.number, tree_id)
            if message.protocol == SMB1
            else (message.stream.server, session_id, tree_id)
        )

    # The result.

    def rows(self) -> Iterator[Row]:
        """Everything found."""
        for login in self.logins:
            yield self._session_row(login)
        for tree in self.trees:
            facts = {
                "path": tree.path,
                "status": status_of(tree.answer, failed=tree.failed),
                "login": self._label(tree),
            }
            yield Row("tree", tree.request.frame, _frame(tree.answer), tuple(facts.items()))
        for opened in self.opens:
            if opened.is_pipe or (opened.tree is not None and opened.tree.is_pipe):
                facts = {
                    "pipe": opened.pipe,
                    "via": opened.via,
                    "status": status_of(opened.answer, failed=opened.failed),
                    "tree": str(opened.tree.request.frame) if opened.tree else "",
                    "login": self._label(opened),
                    "written": str(opened.written),
                    "read": str(opened.read),
                }
                yield Row("pipe", opened.request.frame, _frame(opened.answer), tuple(facts.items()))

    def _session_row(self, login: Login) -> Row:
        frame = login.request.frame if login.request else None
        if login.binding and not login.failed:
            return Row("channel", frame, None, (("status", status_of(login.answer, failed=login.failed)),))
        return Row("session", frame, _frame(login.answer), tuple(login.facts().items()))

    def _label(self, made: Tree | Open) -> str:
        login = made.login or self._login(made.session, made.place)
        return login.label() if login else ""


def _frame(message: Message | None) -> int | None:
    return message.frame if message else None


def _file(message: Message, block: Block) -> tuple[Any, bytes]:
    """A file id in its space."""
    if message.protocol == SMB2:
        return message.stream.server, block.raw("smb2.fid")
    return message.stream.number, block.raw("smb.fid")


def _is_interim(message: Message) -> bool:
    """The real answer is still to come."""
    return message.protocol == SMB2 and message.status == STATUS_PENDING


def _is_smb1_open(block: Block) -> bool:
    if block.command == SMB_COM_NT_TRANSACT:
        return block.number("smb.nt.function") == NT_TRANSACT_CREATE
    if block.command == SMB_COM_TRANSACTION:
        return block.number("smb_pipe.function") == CALL_NMPIPE
    return block.command in SMB1_OPENS
