"""Whose session is it? The evidence, and the table that weighs it.

No single sign decides. Windows servers accept null sessions without ever setting the null flag, so its absence says
nothing; some clients sign with the key that an anonymous login yields, so signing proves nothing; a name without
responses is not anonymous. The claim of the request, the answer and what followed are each recorded as a sign, and
`RULES` are tried from top to bottom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from analyzer.records import Form, Mechanism, Rows, TokenKind
from analyzer.sessions.columns import Columns
from analyzer.sessions.joins import first_of
from analyzer.sessions.names import Names

Mask = npt.NDArray[np.bool_]
STATUS_SUCCESS = 0
STATUS_MORE_PROCESSING_REQUIRED = 0xC0000016
SESSION_FLAG_IS_GUEST = 0x0001  # SMB2 SessionFlags [MS-SMB2 2.2.6]; SMB 1 Action has its guest bit there too
SESSION_FLAG_IS_NULL = 0x0002
SESSION_FLAG_ENCRYPT_DATA = 0x0004
NEGOTIATE_ANONYMOUS = 0x0800


class Asked(IntEnum):
    """What the client claimed to be. The texts of `sessions.asked`; 0 is missing."""

    NOT_SEEN = 0
    ANONYMOUS = 1
    NAMED = 2
    KERBEROS = 3
    OTHER = 4


class Identity(IntEnum):
    """Who it was. The texts of `sessions.identity`."""

    UNKNOWN = 0
    ANONYMOUS = 1
    GUEST = 2
    USER = 3
    MACHINE = 4
    AUTHENTICATED = 5
    REJECTED = 6
    ANONYMOUS_REJECTED = 7


class Confidence(IntEnum):
    """How sure. The texts of `sessions.confidence`; 0 is missing."""

    NONE = 0
    WEAK = 1
    STRONG = 2
    CERTAIN = 3


class Outcome(IntEnum):
    """How the exchange ended. The texts of `sessions.outcome`."""

    ACCEPTED = 1
    REFUSED = 2
    UNANSWERED = 3  # the claim was made, its answer is not in the captures
    ABANDONED = 4  # no claim followed
    NOT_CAPTURED = 5  # the session was in use, its setup is not in the captures


CREDENTIALED = (Identity.USER, Identity.MACHINE, Identity.AUTHENTICATED)
"""Identities that are proven to have credentials."""


class Sign(IntFlag):
    """Evidence. Each sign's text in the tables is its name with the first underscore as a dot: `ntlm.empty_user`."""

    NTLM_EMPTY_USER = 1 << 0
    NTLM_EMPTY_RESPONSES = 1 << 1
    NTLM_LM_ZERO_BYTE = 1 << 2
    NTLM_FLAG_ANONYMOUS = 1 << 3
    NTLM_NAME = 1 << 4
    NTLM_MACHINE_NAME = 1 << 5
    NTLM_RESPONSE = 1 << 6
    NTLM_NAME_IS_NUL = 1 << 7
    SMB1_EMPTY_ACCOUNT = 1 << 8
    SMB1_EMPTY_PASSWORDS = 1 << 9
    SMB1_PASSWORD = 1 << 10
    SMB1_ACCOUNT = 1 << 11
    SMB1_SHARE_LEVEL = 1 << 12
    SMB1_TREE_PASSWORD = 1 << 13
    KERBEROS_REQUEST = 1 << 14
    NEGOEX_TOKEN = 1 << 15
    OTHER_TOKEN = 1 << 16
    TOKEN_UNREADABLE = 1 << 17
    TOKEN_MISSING = 1 << 18
    STATUS_SUCCESS = 1 << 19
    STATUS_ERROR = 1 << 20
    ANSWER_MISSING = 1 << 21
    REQUEST_MISSING = 1 << 22
    SMB2_FLAGS_ZERO = 1 << 23
    SMB2_FLAG_NULL = 1 << 24
    SMB2_FLAG_GUEST = 1 << 25
    SMB2_FLAG_ENCRYPT = 1 << 26
    SMB1_ACTION_ZERO = 1 << 27
    SMB1_ACTION_GUEST = 1 << 28
    FINAL_SIGNED = 1 << 29
    LATER_SUCCESS = 1 << 30
    INFERRED_HANDLE_REUSE = 1 << 31
    HINT_SIGNED = 1 << 32
    HINT_ENCRYPTED = 1 << 33
    HINT_UNSIGNED_311 = 1 << 34
    BIND_SUCCESS = 1 << 35
    SETUP_ELSEWHERE = 1 << 36
    CONFLICT_NAME_BUT_NULL = 1 << 37
    GUEST_NOT_EXCLUDED = 1 << 38
    CONFLICT_FINAL_SIGNED = 1 << 39
    SIGNATURE_ZERO_KEY = 1 << 40  # made with a key that the login yields without a secret: anonymous or guest
    SIGNATURE_UNCHECKED = 1 << 41  # it signs or encrypts, and what that takes is not all in the captures
    CONFLICT_SIGNATURE = 1 << 42  # it asked to be anonymous, and signatures are made with another key
    ENCRYPTION_ZERO_KEY = 1 << 43  # as of the signature: what it encrypts is read
    CONFLICT_ENCRYPTION = 1 << 44


def sign_text(signs: int) -> str:
    """`ntlm.empty_user; ntlm.flag_anonymous; ...`"""
    names = [sign.name or "" for sign in Sign if signs & sign]
    return "; ".join(name.lower().replace("_", ".", 1) for name in names)


ATTEMPT = np.dtype(
    [
        ("session", "i4"),  # number of the session id on its server; joins the periods of one id
        ("connection", "i4"),
        ("order", "i8"),
        ("session_id", "u8"),
        ("protocol", "u1"),
        ("capture_no", "i4"),  # of the request with the last token; -1: not captured
        ("frame", "i8"),
        ("answer_capture_no", "i4"),
        ("answer_frame", "i8"),
        ("place", "i4"),
        ("time_ns", "i8"),
        ("ended_ns", "i8"),
        ("asked", "u1"),
        ("identity", "u1"),
        ("confidence", "u1"),
        ("outcome", "u1"),
        ("signs", "u8"),
        ("status", "i8"),  # of the last answer, -1: none
        ("dos_status", "?"),
        ("user", "i4"),
        ("domain", "i4"),
        ("workstation", "i4"),
        ("mechanism", "u1"),
        ("ntlm_flags", "i8"),
        ("build", "i4"),
        ("realm", "i4"),  # of the Kerberos ticket, and the service that it is for
        ("service", "i4"),
        ("etype", "i4"),  # how the ticket is encrypted, 0: not known
        ("session_flags", "i4"),  # SMB2 SessionFlags or SMB 1 Action, -1: none
        ("native_os", "i4"),
        ("native_lanman", "i4"),
        ("previous_session_id", "u8"),
        ("binding", "?"),  # not an attempt: it adds a channel to a session
        ("server_name", "i4"),
        ("server_domain", "i4"),
    ]
)
"""A period of one identity on a session, or an attempt at one: the row of `sessions` as numbers."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an attempt, for the rules to combine."""

    anonymous_request: np.bool_
    named: np.bool_
    guest_name: np.bool_
    machine_name: np.bool_
    response: np.bool_
    no_responses: np.bool_
    nameless_response: np.bool_
    empty_account: np.bool_
    password: np.bool_
    share_level: np.bool_
    tree_password: np.bool_
    kerberos: np.bool_
    other_mechanism: np.bool_
    unreadable: np.bool_
    claim: np.bool_
    answered: np.bool_
    success: np.bool_
    error: np.bool_
    guest_sign: np.bool_
    null_sign: np.bool_
    later_success: np.bool_


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the decision table."""

    when: str
    test: Callable[[Facts], np.bool_]
    identity: Identity
    confidence: Confidence


RULES = (
    Rule("anonymous request, refused", lambda f: f.anonymous_request & f.error, Identity.ANONYMOUS_REJECTED, Confidence.CERTAIN),
    Rule("any other claim, refused", lambda f: f.error, Identity.REJECTED, Confidence.CERTAIN),
    Rule("anonymous request, accepted as guest", lambda f: f.anonymous_request & f.success & f.guest_sign, Identity.GUEST, Confidence.CERTAIN),
    Rule("share-level server, the tree connect sends a password", lambda f: f.share_level & f.empty_account & f.success & f.tree_password, Identity.UNKNOWN, Confidence.NONE),
    Rule("share-level server, empty account", lambda f: f.share_level & f.empty_account & f.success, Identity.ANONYMOUS, Confidence.STRONG),
    Rule("SMB 1 empty account with responses, accepted", lambda f: f.empty_account & f.password & f.success, Identity.ANONYMOUS, Confidence.STRONG),
    Rule("anonymous request, accepted", lambda f: f.anonymous_request & f.success, Identity.ANONYMOUS, Confidence.CERTAIN),
    Rule("anonymous request, answer not captured, the session works", lambda f: f.anonymous_request & ~f.answered & f.later_success, Identity.ANONYMOUS, Confidence.STRONG),
    Rule("anonymous request, answer not captured", lambda f: f.anonymous_request & ~f.answered, Identity.UNKNOWN, Confidence.NONE),
    Rule("no request captured, the server says null", lambda f: ~f.claim & f.success & f.null_sign, Identity.ANONYMOUS, Confidence.CERTAIN),
    Rule("another claim, the server says null", lambda f: f.success & f.null_sign, Identity.ANONYMOUS, Confidence.STRONG),
    Rule("no request captured, the server says guest", lambda f: ~f.claim & f.success & f.guest_sign, Identity.GUEST, Confidence.STRONG),
    Rule("a name, accepted as guest", lambda f: f.success & f.guest_sign, Identity.GUEST, Confidence.CERTAIN),
    Rule("the name guest, accepted", lambda f: f.named & f.guest_name & f.success, Identity.GUEST, Confidence.STRONG),
    Rule("a machine name with a response, accepted", lambda f: f.named & f.machine_name & f.response & f.success, Identity.MACHINE, Confidence.CERTAIN),
    Rule("a name with a response, accepted", lambda f: f.named & f.response & f.success, Identity.USER, Confidence.CERTAIN),
    Rule("a name without responses, accepted", lambda f: f.named & f.no_responses & f.success, Identity.UNKNOWN, Confidence.WEAK),
    Rule("no name but a response, accepted", lambda f: f.nameless_response & f.success, Identity.UNKNOWN, Confidence.WEAK),
    Rule("Kerberos, accepted", lambda f: f.kerberos & f.success, Identity.AUTHENTICATED, Confidence.CERTAIN),
    Rule("another mechanism, accepted", lambda f: f.other_mechanism & f.success, Identity.AUTHENTICATED, Confidence.STRONG),
)  # fmt: skip
"""The first that holds decides; where none does, the identity is unknown."""


def note_claims(attempts: Rows, legs: Columns, share_level: Mask, names: Names) -> None:
    """Set what the request says: `asked`, the names, and the signs of the claim.

    legs: of each attempt the leg that makes its claim, with the columns of its token (`TokenKind.NONE` if none was
    seen) and `form`.
    """
    kind = legs["kind"]
    form = legs["form"]
    empty = names.texts.code("")
    no_user = legs["user"] == empty
    has_user = legs["user"] >= 0
    no_nt = legs["nt_size"] == 0
    lm_zero_byte = (legs["lm_size"] == 1) & (legs["lm_is_zero"] != 0)
    no_lm = (legs["lm_size"] == 0) | lm_zero_byte
    ntlm = kind == TokenKind.NTLM_AUTHENTICATE.value
    passwords = kind == TokenKind.PASSWORDS.value
    # SMB 1 without extended security: an empty account is nobody, whatever fills the password fields.
    empty_claim = no_user & no_nt & no_lm
    anonymous = (ntlm | passwords) & empty_claim
    named = (ntlm | passwords) & has_user & ~no_user
    machine = named & (names.is_machine(legs["user"]) != 0)
    kerberos = kind == TokenKind.KERBEROS_REQUEST.value
    other = (kind == TokenKind.NEGOEX.value) | (kind == TokenKind.OTHER.value)
    attempts["asked"] = first_of(
        (anonymous | (passwords & no_user), Asked.ANONYMOUS),
        (named, Asked.NAMED),
        (kerberos, Asked.KERBEROS),
        (other | (ntlm & no_user), Asked.OTHER),
        default=Asked.NOT_SEEN,
    )
    for name in ("user", "domain", "workstation", "build", "realm", "service", "etype"):
        attempts[name] = legs[name]
    attempts["ntlm_flags"] = np.where(ntlm, legs["ntlm_flags"], -1)
    attempts["mechanism"] = np.where(passwords & share_level & no_user, Mechanism.SHARE_LEVEL.value, legs["mechanism"])
    no_claim = (
        (kind == TokenKind.NONE.value)
        | (kind == TokenKind.NTLM_NEGOTIATE.value)
        | (kind == TokenKind.WITHOUT_TOKEN.value)
    )
    attempts["signs"] |= _signs(
        (Sign.NTLM_EMPTY_USER, ntlm & no_user),
        (Sign.NTLM_EMPTY_RESPONSES, ntlm & no_nt & no_lm),
        (Sign.NTLM_LM_ZERO_BYTE, ntlm & lm_zero_byte),
        (Sign.NTLM_FLAG_ANONYMOUS, ntlm & ((legs["ntlm_flags"] & NEGOTIATE_ANONYMOUS) != 0)),
        (Sign.NTLM_NAME, ntlm & named),
        (Sign.NTLM_MACHINE_NAME, ntlm & machine),
        (Sign.NTLM_RESPONSE, ntlm & (legs["nt_size"] > 0)),
        (Sign.NTLM_NAME_IS_NUL, ntlm & (legs["user_is_nul"] != 0)),
        (Sign.SMB1_EMPTY_ACCOUNT, passwords & no_user),
        (Sign.SMB1_EMPTY_PASSWORDS, passwords & no_nt & no_lm),
        (Sign.SMB1_PASSWORD, passwords & ~(no_nt & no_lm)),
        (Sign.SMB1_ACCOUNT, passwords & named),
        (Sign.SMB1_SHARE_LEVEL, share_level),
        (Sign.KERBEROS_REQUEST, kerberos),
        (Sign.NEGOEX_TOKEN, kind == TokenKind.NEGOEX.value),
        (Sign.OTHER_TOKEN, kind == TokenKind.OTHER.value),
        (Sign.TOKEN_UNREADABLE, kind == TokenKind.UNREADABLE.value),
        (Sign.TOKEN_MISSING, no_claim & (form != 0)),
        (Sign.REQUEST_MISSING, form == 0),
    )


def note_answers(attempts: Rows, flags: Rows, signed: Mask, is_smb2: Mask, has_body: Mask) -> None:
    """Set what the last answer says: status, flags, outcome, and their signs. `status` of the attempts must be set.

    flags: SMB2 SessionFlags or SMB 1 Action of the last answer, of use where `has_body`.
    """
    status = np.ascontiguousarray(attempts["status"])
    answered = status >= 0
    success = status == STATUS_SUCCESS
    more = status == STATUS_MORE_PROCESSING_REQUIRED
    error = answered & ~success & ~more
    known = success & has_body
    attempts["session_flags"] = np.where(known, flags, -1)
    no_claim = _has(attempts, Sign.TOKEN_MISSING | Sign.REQUEST_MISSING)
    attempts["outcome"] = first_of(
        (success, Outcome.ACCEPTED),
        (error, Outcome.REFUSED),
        (more | (no_claim & ~answered), Outcome.ABANDONED),
        default=Outcome.UNANSWERED,
    )
    attempts["signs"] |= _signs(
        (Sign.STATUS_SUCCESS, success),
        (Sign.STATUS_ERROR, error),
        (Sign.ANSWER_MISSING, ~answered),
        (Sign.SMB2_FLAGS_ZERO, known & is_smb2 & (flags == 0)),
        (Sign.SMB2_FLAG_NULL, known & is_smb2 & ((flags & SESSION_FLAG_IS_NULL) != 0)),
        (Sign.SMB2_FLAG_GUEST, known & is_smb2 & ((flags & SESSION_FLAG_IS_GUEST) != 0)),
        (Sign.SMB2_FLAG_ENCRYPT, known & is_smb2 & ((flags & SESSION_FLAG_ENCRYPT_DATA) != 0)),
        (Sign.SMB1_ACTION_ZERO, known & ~is_smb2 & ((flags & SESSION_FLAG_IS_GUEST) == 0)),
        (Sign.SMB1_ACTION_GUEST, known & ~is_smb2 & ((flags & SESSION_FLAG_IS_GUEST) != 0)),
        # SMB 1 servers echo whatever stands in the signature field of an unsigned login.
        (Sign.FINAL_SIGNED, success & signed & is_smb2),
    )


def judge(attempts: Rows, names: Names) -> None:
    """Set `identity` and `confidence` by the rules, from what the attempts say. May be called again as signs come in."""
    user = attempts["user"]
    known = attempts["signs"].astype(np.int64)
    known |= attempts["asked"].astype(np.int64) << ASKED_AT
    known |= (names.is_guest(user) != 0) * GUEST_NAME | (names.is_machine(user) != 0) * MACHINE_NAME
    different, which = np.unique(known, return_inverse=True)
    verdicts = np.array([_verdict(one) for one in different.tolist()], dtype=np.int64).reshape(len(different), 3)
    attempts["identity"], attempts["confidence"], attempts["signs"] = verdicts[which.reshape(-1)].T


@lru_cache(maxsize=4096)
def _verdict(known: int) -> tuple[int, int, int]:
    """Identity, confidence and signs of all attempts of which the same is known: there are few that differ."""
    facts = _facts(known)
    identity, confidence = Identity.UNKNOWN, Confidence.NONE
    for rule in RULES:
        if rule.test(facts):
            identity, confidence = rule.identity, rule.confidence
            break
    anonymous = identity == Identity.ANONYMOUS
    # A final answer that is signed speaks for a real user: servers do not sign it for others, but it might be signed with
    # the key that anybody can derive from an anonymous login.
    is_zero_key = known & Sign.SIGNATURE_ZERO_KEY and not known & Sign.CONFLICT_SIGNATURE
    doubtful = anonymous and known & Sign.FINAL_SIGNED and not is_zero_key
    if doubtful:
        identity, confidence = Identity.UNKNOWN, Confidence.NONE
    signs = known & ((1 << ASKED_AT) - 1) & ~int(Sign.CONFLICT_FINAL_SIGNED)
    for sign, holds in (
        (Sign.CONFLICT_NAME_BUT_NULL, anonymous and facts.named and facts.null_sign),
        (Sign.CONFLICT_FINAL_SIGNED, doubtful),
        (Sign.GUEST_NOT_EXCLUDED, anonymous and not facts.answered),
    ):
        if holds:
            signs |= int(sign)
    return int(identity), int(confidence), signs


def _facts(known: int) -> Facts:
    def has(sign: Sign) -> np.bool_:
        return np.bool_(known & sign != 0)

    asked = known >> ASKED_AT & 0xFF
    no_responses = has(Sign.NTLM_EMPTY_RESPONSES) | has(Sign.SMB1_EMPTY_PASSWORDS)
    named = np.bool_(asked == Asked.NAMED)
    return Facts(
        anonymous_request=np.bool_(asked == Asked.ANONYMOUS),
        named=named,
        guest_name=named & np.bool_(known & GUEST_NAME != 0),
        machine_name=named & np.bool_(known & MACHINE_NAME != 0),
        response=named & ~no_responses,
        no_responses=no_responses,
        nameless_response=has(Sign.NTLM_EMPTY_USER) & ~has(Sign.NTLM_EMPTY_RESPONSES),
        empty_account=has(Sign.SMB1_EMPTY_ACCOUNT),
        password=has(Sign.SMB1_PASSWORD),
        share_level=has(Sign.SMB1_SHARE_LEVEL),
        tree_password=has(Sign.SMB1_TREE_PASSWORD),
        kerberos=np.bool_(asked == Asked.KERBEROS),
        other_mechanism=has(Sign.NEGOEX_TOKEN) | has(Sign.OTHER_TOKEN),
        unreadable=has(Sign.TOKEN_UNREADABLE),
        claim=~has(Sign.TOKEN_MISSING) & ~has(Sign.REQUEST_MISSING),
        answered=~has(Sign.ANSWER_MISSING),
        success=has(Sign.STATUS_SUCCESS),
        error=has(Sign.STATUS_ERROR),
        guest_sign=has(Sign.SMB2_FLAG_GUEST) | has(Sign.SMB1_ACTION_GUEST),
        null_sign=has(Sign.SMB2_FLAG_NULL),
        later_success=has(Sign.LATER_SUCCESS) | has(Sign.INFERRED_HANDLE_REUSE),
    )


def _has(attempts: Rows, sign: Sign) -> Mask:
    found: Mask = (attempts["signs"] & np.uint64(sign)) != 0
    return found


def _signs(*pairs: tuple[Sign, Mask]) -> npt.NDArray[np.uint64]:
    signs = np.zeros(len(pairs[0][1]), dtype=np.uint64)
    for sign, holds in pairs:
        np.bitwise_or(signs, np.uint64(sign), out=signs, where=holds)
    return signs


# What an attempt is judged by, as one number: its signs, and above them what it asked for and what its name is. #

ASKED_AT = 48
GUEST_NAME = 1 << 56
MACHINE_NAME = 1 << 57
assert max(Sign) < 1 << ASKED_AT

TOKEN_IS_CLAIM = (
    TokenKind.NTLM_AUTHENTICATE,
    TokenKind.KERBEROS_REQUEST,
    TokenKind.NEGOEX,
    TokenKind.OTHER,
    TokenKind.PASSWORDS,
    TokenKind.UNREADABLE,
)
"""Tokens that say who the client claims to be (or would, if they could be read)."""
NO_FORM = 0
"""In place of a `Form` where no request was captured."""
assert NO_FORM not in list(Form)
