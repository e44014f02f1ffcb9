"""Batches to sessions and what was done in them, window by window.

`feed` takes a batch, pairs its messages with those that wait, and works off what is complete: negotiations, logins,
bindings, tree connects, opens, data, calls. What it keeps between windows are rows (`state`) and, of these, the live
ones: trees and files that may still be used, until their connection is over. `finish` decides what only the whole can
tell: sessions whose login was not captured, claims whose answer was not.

Sessions that asked to be anonymous, or are guests, and sign or encrypt, may be looked into (`end`, `reveal`): what was
encrypted is worked off late, at the place in the order that its encrypted message had. Nothing else changes by that.

Which tree, file and identity a request means is looked up as of its place among the client's requests. Uses of sessions
that are proven to have credentials are counted and dropped, unless all rows are to be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from analyzer import knowledge
from analyzer.compiled import Form, Ints, Table, plain_kernels
from analyzer.records import (
    ANY_FILE,
    CONNECTION_END,
    LOGIN,
    PROBLEM,
    Batch,
    CallProtocol,
    Finding,
    Flag,
    Kind,
    Layer,
    Mechanism,
    Protocol,
    Reread,
    Rows,
    TokenKind,
    TreeKind,
    Via,
    Way,
)
from analyzer.rpc import pipes as rpc
from analyzer.rpc.pipes import Heard, Interface
from analyzer.sessions import identity as who
from analyzer.sessions.columns import Columns
from analyzer.sessions.files import (
    DOS_STATUS,
    H_CLOSED,
    H_CONNECTION,
    H_HI,
    H_LO,
    H_NAME,
    H_OPEN,
    H_ORDER,
    H_SCOPE,
    H_SESSION,
    H_TREE,
    H_WIDTH,
    Files,
    begin_pdus,
    pieces_of,
)
from analyzer.sessions.identity import ATTEMPT, CREDENTIALED, Confidence, Identity, Outcome, Sign
from analyzer.sessions.joins import Growing, GrowingTable, as_of, is_in, joined, mixed, nones, one_of, places_of
from analyzer.sessions.lookup import NONE, Chains, keys
from analyzer.sessions.names import Names, PerText, bare_pipe_name
from analyzer.sessions.numbering import PairNumbers, SessionNumbers
from analyzer.sessions.operations import CallResult, Operations, results
from analyzer.sessions.pairing import Paired, Pairing
from analyzer.sessions.proofs import (
    DOS_MORE_DATA,
    NO_TREE,
    S_BOUND,
    S_CHANNEL,
    S_CONNECTION,
    S_ENCRYPTED,
    S_FIRST_NS,
    S_FIRST_ORDER,
    S_FIRST_REUSE,
    S_FIRST_SUCCESS,
    S_LAST_SUCCESS,
    S_OTHERS,
    S_PROOF_CAPTURE_NO,
    S_PROOF_FRAME,
    S_PROTOCOL,
    S_SESSION_ID,
    S_SIGNS,
    S_STRAY_DATA,
    S_WIDTH,
    STATUS_BUFFER_OVERFLOW,
    STATUS_SUCCESS,
)
from analyzer.sessions.referrals import ReferralCounter, referral_answers
from analyzer.sessions.setups import IS_CLAIM, join_legs, make_attempts, no_legs, read_legs
from analyzer.sessions.state import BIND, CALL, CHANNEL, CONNECTION, OPEN, SESSION, TREE
from analyzer.sessions.uses import (
    O_CONNECTION,
    O_DENIED,
    O_NAME,
    O_ORDER,
    O_SESSION,
    O_SUCCEEDED,
    O_TREE,
    O_WIDTH,
    U_CAPTURE_NO,
    U_CONNECTION,
    U_FRAME,
    U_GUID,
    U_INTERFACE,
    U_OPERATION,
    U_PAIR,
    U_RESOURCE,
    U_SUCCEEDED,
    U_TIME_NS,
    U_WIDTH,
    DiskCounter,
    UseCounter,
)
from analyzer.wire.texts import MISSING, Texts

__all__ = ["Reduced", "Reducer", "bare_pipe_name", "call_names", "in_force", "is_housekeeping"]

Mask = npt.NDArray[np.bool_]

MAX_PROBLEMS = 10_000
MAX_UNANSWERED = 10_000
"""Opens whose answer was not captured, and file ids, that are remembered to find out which belong together."""
MAX_UNANSWERED_OF_ONE = 16
"""Of one session, or SMB 1 connection. With as many, no use shows which open it was."""
MAX_NAMESAKES = 256
"""Sessions of one id that are looked at for the one that a binding, or a use without a login, means."""
RESOURCE_RAP = "rap"
RESOURCE_DFS = "dfs"
IS_CREDENTIALED = np.isin(np.arange(len(Identity)), CREDENTIALED)
MATTERS_WHICH_TREE = np.isin(np.arange(256), (Kind.OPEN, Kind.CALL, Kind.OTHER, Kind.DATA))

# What of connections is looked up often. #

F_OVER_SINCE = 0  # the window in which it ended, NEVER: it has not
F_PAIR = 1
F_GUID = 2  # hash of the client GUID, 0: none that tells
F_SHARE_LEVEL = 3
F_IS_311 = 4
F_ENCRYPTED = 5
F_COMPRESSED = 6
F_SEALED = 7  # 1: messages of it may be opened
F_WIDTH = 8
NEVER = 1 << 62

# Encrypted messages that may be opened. #

E_CONNECTION = 0
E_KEY = 1
E_ORDER = 2
E_SESSION = 3
E_WIDTH = 4
MAX_SEALED = 1_000_000
"""So many of them are remembered; others are not opened."""
MAX_AGAIN = 10_000
"""So many logins are looked into."""
MAX_LATE = 1_000
"""So many requests of a window are asked whether they show that an answer comes no more; each is held against all that wait."""
NO_SUCH_SESSION = (0xC0000203, 0x005B0002)
"""STATUS_USER_SESSION_DELETED; STATUS_SMB_BAD_UID, which is also ERRSRV/ERRbaduid. [MS-SMB2 3.3.5.2.9; MS-CIFS 2.2.2.4]"""


@dataclass(slots=True, kw_only=True)
class Reduced:
    """The outcome: tables of numbers (`state`, `identity.ATTEMPT`), their texts, and what was counted."""

    texts: Texts
    connections: Rows
    attempts: Rows
    sessions: Rows
    trees: Rows
    opens: Rows
    calls: Rows
    binds: Rows
    interfaces: list[Interface]
    channels: Rows
    disks: Rows
    uses: Rows
    referred: Rows
    problems: Rows
    counts: dict[str, int]


class Reducer:
    """See the module. One for each site."""

    def __init__(self, texts: Texts, *, keep_all: bool = False, form: Form = plain_kernels) -> None:
        """form: asked in each window which form of the kernels to use."""
        self.texts = texts
        self._keep_all = keep_all
        self._form = form
        self._names = Names(texts)
        self._pairing = Pairing(form)
        self._numbers = SessionNumbers(form, self._may_matter)
        self._legs = no_legs()
        self._connections = Growing(CONNECTION)
        self._facts = GrowingTable(F_WIDTH)
        self._window = 0
        self._pairs = PairNumbers(form)
        self._sessions = GrowingTable(S_WIDTH)
        self._sessions_by_id = Chains(1, form, lambda rows: self._may_matter(self._sessions.rows[rows, S_CONNECTION]))
        self._attempts = Growing(ATTEMPT)
        self._has_proof = Growing(np.dtype("?"))  # for each attempt whether it proves that its session has credentials
        self._accepted = Chains(1, form, lambda rows: self._is_live(self._attempts.rows, rows))  # or not answered
        self._all_attempts = Chains(1, form, lambda rows: self._is_live(self._attempts.rows, rows))
        self._trees = Growing(TREE)
        self._trees_by_id = Chains(2, form, lambda rows: self._is_live(self._trees.rows, rows))
        self._opens = Growing(OPEN)
        self._files = Files(texts, form, self._may_be_used)
        self._operations = Operations(texts, self._files.pipes.interfaces)
        self._binds = Growing(BIND)
        self._unanswered: dict[int, list[int]] = {}  # opens without an answer, by what their file ids belong to
        self._strays: set[tuple[int, int, int]] = set()  # file ids of which it is not known whose they are
        self._calls = Growing(CALL)
        self._channels = Growing(CHANNEL)
        self._early_logoffs = GrowingTable(3)  # session, order, time: of logins that still wait for their answer
        self._disks = DiskCounter(form)
        self._uses = UseCounter(form)
        self._referrals = ReferralCounter(texts)
        self._problems: list[Rows] = []
        self._problem_count = 0
        self._sealed = GrowingTable(E_WIDTH)
        self._again: Ints | None = None  # attempts to be looked into
        self._is_revealed = False  # something was learned of them, of which messages may still wait
        self._ipc = texts.code("IPC$")
        known_pipes = {texts.code(name) for name in knowledge.pipe_names()}
        self._is_known_pipe = PerText(lambda code: code in known_pipes)

    def feed(self, batch: Batch) -> None:
        """Take in a window."""
        if not any(map(len, (batch.messages, batch.begun, batch.ended, batch.names, batch.problems))):
            return  # the last one: what was heard beside the connections
        self._window += 1
        self._note_connections(batch)
        self._note_problems(batch.problems)
        self._work(self._pairing.feed(batch))

    def end(self) -> Rows:
        """No more windows come. Returns the logins to be looked into (`LOGIN`)."""
        self._window += 1
        self._connections.rows["over"] = True
        facts = self._facts.rows
        facts[:, F_OVER_SINCE] = np.minimum(facts[:, F_OVER_SINCE], self._window)
        self._work(self._pairing.finish())
        attempts = self._attempts.rows
        protected = self._sessions.rows[attempts["session"], S_SIGNS] & int(Sign.HINT_SIGNED | Sign.HINT_ENCRYPTED)
        final_signed = (attempts["signs"] & np.uint64(Sign.FINAL_SIGNED)) != 0
        self._again = places_of(_is_open_to_all(attempts) & (final_signed | (protected != 0)))
        self._attempts.rows["signs"][self._again] |= np.uint64(Sign.SIGNATURE_UNCHECKED)
        again = self._again[:MAX_AGAIN]
        logins = np.zeros(len(again), dtype=LOGIN)
        for name in CONNECTION_END.names or ():
            logins[name] = self._connections.rows[name][attempts["connection"][again]]
        logins["session_id"] = attempts["session_id"][again]
        for name in ("capture_no", "frame"):
            logins["claim_" + name] = attempts[name][again]
            logins["answer_" + name] = attempts["answer_" + name][again]
        return logins

    def reveal(self, told: Reread) -> None:
        """Take in what was learned of the logins that `end` asked for."""
        assert self._again is not None
        of, found = self._again[told.logins], told.findings
        signs = np.zeros(len(of), dtype=np.uint64)
        asked_anonymous = self._attempts.rows["asked"][of] == who.Asked.ANONYMOUS.value
        for sign, holds in (
            (Sign.SIGNATURE_UNCHECKED, (found & Finding.UNCHECKED) != 0),
            (Sign.SIGNATURE_ZERO_KEY, (found & Finding.ZERO_KEY) != 0),
            # Guests' clients sign with the key of a password that the server never had.
            (Sign.CONFLICT_SIGNATURE, ((found & Finding.OTHER_KEY) != 0) & asked_anonymous),
            (Sign.ENCRYPTION_ZERO_KEY, (found & (Finding.OPENED | Finding.EMPTY_PASSWORD)) == Finding.OPENED),
            (Sign.CONFLICT_ENCRYPTION, ((found & Finding.STAYED_SHUT) != 0) & asked_anonymous),
        ):
            signs |= holds * np.uint64(sign)
        all_signs = self._attempts.rows["signs"]
        all_signs[of] = (all_signs[of] & ~np.uint64(Sign.SIGNATURE_UNCHECKED)) | signs
        opened = self._find_sealed(*told.opened)
        opened = opened[opened >= 0]
        np.subtract.at(self._facts.rows[:, F_ENCRYPTED], self._sealed.rows[opened, E_CONNECTION], 1)
        np.subtract.at(self._sessions.rows[:, S_ENCRYPTED], self._sealed.rows[opened, E_SESSION], 1)
        place = self._find_sealed(told.batch.messages["connection"], told.sealed)
        order = np.where(place >= 0, self._sealed.rows[place, E_ORDER] if len(self._sealed) else NONE, NONE)
        batch = told.batch if len(order) and order.min() >= 0 else told.batch.only(order >= 0)
        self._note_problems(batch.problems)
        self._work(self._pairing.feed(batch, order[order >= 0] + 1 + batch.messages["place"]))
        self._is_revealed = True

    def _find_sealed(self, connection: npt.NDArray[np.generic], key: Ints) -> Ints:
        """Rows of encrypted messages, `NONE` of those that are not remembered."""
        known = self._sealed.rows
        hashed, wanted = mixed(known[:, E_CONNECTION], known[:, E_KEY]), mixed(connection, key)
        sequence = np.argsort(hashed, kind="stable")
        at = np.searchsorted(hashed[sequence], wanted)
        found = nones(len(wanted))
        is_inside = places_of(at < len(sequence))
        place = sequence[at[is_inside]]
        same = hashed[place] == wanted[is_inside]
        found[is_inside[same]] = place[same]
        return found

    def finish(self) -> Reduced:
        """Decide what is left. The reducer is of no more use afterwards."""
        if self._again is None:
            self.end()
        if self._is_revealed:
            self._work(self._pairing.finish())
        self._note_forms()
        for heard in self._files.finish():
            self._take_heard(heard)
        # Nothing is looked up as of a place any more. From here on all is let go as soon as it has been worked off.
        del self._numbers, self._sessions_by_id, self._accepted, self._all_attempts, self._trees_by_id, self._has_proof
        facts = self._facts.rows
        connections = self._connections.rows
        for name, column in (("pair", F_PAIR), ("encrypted", F_ENCRYPTED), ("compressed", F_COMPRESSED)):
            connections[name] = facts[:, column]
        sessions = Growing(SESSION, self._sessions.as_rows(SESSION))
        del self._sessions, self._pairs
        self._end_late_logins()
        self._judge_unseen(sessions)
        opens = self._settle_opens(sessions.rows)
        calls = self._settle_calls(sessions.rows)
        binds = self._binds.rows
        if not self._keep_all:
            binds = binds.compress(~self._had_credentials(binds, sessions.rows))
        del facts, self._facts, self._opens, self._calls, self._binds
        return Reduced(
            texts=self.texts,
            connections=self._connections.rows,
            attempts=self._attempts.rows,
            sessions=sessions.rows,
            trees=self._trees.rows,
            opens=opens,
            calls=calls,
            binds=binds,
            interfaces=self._files.pipes.interfaces(),
            channels=self._channels.rows,
            disks=self._settle_disks(sessions.rows),
            uses=self._uses.finish(),
            referred=self._referrals.finish(),
            problems=np.concatenate([np.empty(0, dtype=PROBLEM), *self._problems]),
            counts={
                "messages_let_go": self._pairing.let_go,
                "payload_let_go": self._pairing.payload_let_go,
                "rpc_given_up": self._files.pipes.given_up,
                "referrals_given_up": self._referrals.given_up,
                "problems": self._problem_count,
                "sessions_unchecked": int(
                    np.count_nonzero(self._attempts.rows["signs"] & np.uint64(Sign.SIGNATURE_UNCHECKED))
                ),
            },
        )

    # Connections. #

    def _note_connections(self, batch: Batch) -> None:
        for rows, is_end in ((batch.begun, False), (batch.ended, True)):
            if not len(rows):
                continue
            where = rows["connection"].astype(np.int64)
            self._room_for(int(where.max()))
            self._connections.set_first_fields(where, rows)
            table, facts = self._connections.rows, self._facts.rows
            if is_end:
                table["over"][where] = True
                facts[where, F_OVER_SINCE] = np.minimum(facts[where, F_OVER_SINCE], self._window)
            else:
                table["begun"][where] = True
                facts[where, F_PAIR] = self._pairs.number(
                    rows["client_hi"], rows["client_lo"], rows["server_hi"], rows["server_lo"]
                )
        for row in batch.names:
            named = self._connections.rows[row["connection"] : row["connection"] + 1]
            named["calling"] = row["calling"]
            named["called"] = row["called"]

    def _room_for(self, connection: int) -> None:
        missing = connection + 1 - len(self._connections)
        if missing > 0:
            new = np.zeros(missing, dtype=CONNECTION)
            for name in ("dialect", "dialects_offered", "calling", "called"):
                new[name] = MISSING
            new["client_capabilities"] = NONE
            self._connections.add(new)
            self._facts.add(missing)[:, F_OVER_SINCE] = NEVER

    def _is_over(self, connections: Ints) -> Mask:
        """True for connections of which no more messages come."""
        found: Mask = self._facts.rows[connections, F_OVER_SINCE] != NEVER
        return found

    def _is_forgotten(self, connections: Ints) -> Mask:
        """True for connections that were over before this window."""
        found: Mask = self._facts.rows[connections, F_OVER_SINCE] < self._window
        return found

    def _may_matter(self, connections: Ints) -> Mask:
        """False for connections of which nothing comes any more, not even from what they encrypted."""
        found: Mask = ~self._is_forgotten(connections) | (self._facts.rows[connections, F_SEALED] != 0)
        return found

    def _is_live(self, table: Rows, rows: Ints) -> Mask:
        """False for what no later message can mean: its connection is over, and its session had no other."""
        session = table["session"][rows].astype(np.int64)
        live = self._may_matter(table["connection"][rows].astype(np.int64))
        known = places_of(session >= 0)
        live[known] |= self._sessions.rows[session[known], S_CHANNEL] != 0
        return live

    def _may_be_used(self, files: Table) -> Mask:
        """False for files (`H_`) that no later message can mean."""
        connection = files[:, H_CONNECTION].copy()
        live = self._may_matter(connection)
        session = files[:, H_SESSION]
        known = places_of(session >= 0)
        live[known] |= self._sessions.rows[session[known], S_CHANNEL] != 0
        closed = (files[:, H_CLOSED] != 0) & (self._facts.rows[connection, F_SEALED] == 0)
        closed[closed] = ~self._pairing.concerned(connection[closed])
        found: Mask = live & ~closed
        return found

    def _note_problems(self, problems: Rows) -> None:
        room = MAX_PROBLEMS - self._problem_count
        self._problem_count += len(problems)
        if room > 0 and len(problems):
            self._problems.append(problems[:room])

    # A window. #

    def _work(self, paired: Paired) -> None:
        self._note_negotiations(paired)
        self._stop_waiting_for_challenges(paired)
        self._log_in(paired)
        session = self._number(paired)
        self._note_proofs(paired, session)
        self._connect_trees(paired, session)
        tree = self._trees_in_use(paired)
        opened = self._open_files(paired, session, tree)
        self._stop_waiting_for_opens(paired, session)
        self._infer_opens(paired, session)
        self._move_data(paired, session, tree, opened)
        self._close_files(paired, opened)
        self._note_calls(paired, session, tree)
        self._note_referrals(paired)
        self._end_sessions(paired, session)
        self._note_others(paired, session, tree)
        if self._files.is_full:
            self._note_forms()
            for heard in self._files.tidy():
                self._take_heard(heard)

    def _note_negotiations(self, paired: Paired) -> None:
        """The last answer decides: a multi-protocol negotiation has two. [MS-SMB2 3.3.5.3]"""
        requests, request_body, request, answer, answer_body = paired.exchanges("negotiate")
        if not len(request):
            return
        answers = paired.bodies["negotiate_answers"]
        table, facts = self._connections.rows, self._facts.rows
        connection_of = paired.messages["connection"]
        asked = places_of(request_body >= 0)
        asked = asked[np.argsort(paired.messages["order"][request[asked]])]
        order = paired.messages["order"][request[asked]]
        connection = connection_of[request[asked]]
        # An SMB 1 request that is answered in SMB 2 waits for its own answer until the connection is over.
        latest = places_of(order >= table["offer_order"][connection])
        asked, connection = asked[latest], connection[latest]
        table["offer_order"][connection] = order[latest]
        table["dialects_offered"][connection] = requests["dialects"][request_body[asked]]
        of_smb2 = paired.messages["protocol"][request[asked]] == Protocol.SMB2.value
        capabilities = requests["capabilities"][request_body[asked]].astype(np.int64)
        table["client_capabilities"][connection] = np.where(of_smb2, capabilities, NONE)
        _set_guids(table["client_guid"], connection, requests["client_guid"], request_body[asked])
        guids = table["client_guid"][connection]
        facts[connection, F_GUID] = np.where(_tells(guids), mixed(guids["a"], guids["b"]).view(np.int64), 0)
        told = places_of(answer_body >= 0)
        told = told[np.argsort(paired.messages["order"][answer[told]])]
        order = paired.messages["order"][answer[told]]
        connection = connection_of[answer[told]]
        latest = places_of(order >= table["dialect_order"][connection])
        told, order, connection = told[latest], order[latest], connection[latest]
        body = answer_body[told]
        dialects = answers["dialect"][body]
        met: dict[tuple[int, int], int] = {}
        for place in places_of((dialects == MISSING) & (request_body[told] >= 0)).tolist():
            chosen = int(requests["dialects"][request_body[told[place]]]), int(answers["dialect_index"][body[place]])
            if chosen not in met:
                met[chosen] = self._dialect(*chosen)
            dialects[place] = met[chosen]
        table["dialect"][connection] = dialects
        table["dialect_order"][connection] = order
        for name in ("signing_required", "share_level"):
            table[name][connection] = answers[name][body]
        facts[connection, F_SHARE_LEVEL] = answers["share_level"][body]
        facts[connection, F_IS_311] = dialects == self.texts.code("3.1.1")
        _set_guids(table["server_guid"], connection, answers["server_guid"], body)

    def _dialect(self, offered: int, index: int) -> int:
        """The code of one of the dialects that a text lists, `MISSING` if there are not so many."""
        dialects = (self.texts.text(offered) or "").split("|")
        return self.texts.code(dialects[index]) if index < len(dialects) else MISSING

    def _log_in(self, paired: Paired) -> None:
        """Join the legs of logins, and add the attempts that are complete; bindings add channels."""
        legs = read_legs(paired, self._legs)
        sequence, starts, self._legs = join_legs(legs, self._is_over)
        if not len(sequence):
            return
        attempts = make_attempts(legs, sequence, starts, self._has_share_level, self._names)
        binding = attempts["binding"]
        bindings = attempts.compress(binding)
        if len(bindings):
            attempts = attempts.compress(~binding)
        connections, ids = attempts["connection"].astype(np.int64), attempts["session_id"].view(np.int64)
        protocols = attempts["protocol"]
        numbers, new = self._numbers.number(connections, ids)
        self._add_sessions(connections[new], ids[new], protocols[new])
        # Attempts that were given no session id stand each for themselves.
        alone = places_of(numbers < 0)
        numbers[alone] = self._numbers.skip(len(alone))
        self._add_sessions(connections[alone], ids[alone], protocols[alone])
        attempts["session"] = numbers
        who.judge(attempts, self._names)
        rows = self._attempts.add(attempts)
        self._has_proof.add(IS_CREDENTIALED[attempts["identity"]])
        order = attempts["order"].astype(np.int64)
        self._all_attempts.add(keys(numbers), order, rows)
        accepted = places_of(attempts["outcome"] != Outcome.REFUSED.value)
        self._accepted.add(keys(numbers[accepted]), order[accepted], rows[accepted])
        if len(bindings):
            self._bind(bindings)

    def _stop_waiting_for_challenges(self, paired: Paired) -> None:
        """A leg waits for no answer any more if the next one on its id comes.

        A first leg has no id: what comes is a second whose id nothing else gave.
        """
        messages, setups = paired.messages, paired.bodies["setup_requests"]
        row = setups["row"].astype(np.int64)
        waits = ~paired.ready[row]
        if not waits.any():
            return
        has_id = messages["session_id"][row] != 0
        given_up = self._overdue(paired, row[waits & has_id], row[~waits & has_id])
        paired.ready[given_up] = True
        given_up = np.append(given_up, self._overdue_first_legs(paired, setups, row, waits))
        if len(given_up):
            self._pairing.give_up(given_up)

    def _overdue(self, paired: Paired, left: Ints, done: Ints) -> Ints:
        """Which of the setups that wait (`left`, by place) wait in vain. done: those that do not wait; all have ids."""
        if not len(left):
            return left
        messages = paired.messages
        connection, session_id, order = (messages[name] for name in ("connection", "session_id", "order"))
        concerned = np.zeros(len(self._facts), dtype=bool)
        concerned[connection[left]] = True
        group, left_order = mixed(connection[left], session_id[left]), -order[left]
        before = done[concerned[connection[done]]]
        next_one = as_of(group, left_order, mixed(connection[before], session_id[before]), -order[before])
        # A session is used only when its login, or its binding to this connection, has been answered. While one that is in
        # use is authenticated again, there may be requests all the same.
        used = places_of(concerned[connection] & (paired.answer >= 0) & (messages["kind"] != Kind.SETUP.value))
        use = as_of(group, left_order, mixed(connection[used], session_id[used]), -order[used])
        number = self._numbers.find(connection[left], session_id[left])
        is_first = self._all_attempts.as_of(keys(number), order[left]) < 0
        return left[(next_one >= 0) | ((use >= 0) & is_first)]

    def _overdue_first_legs(self, paired: Paired, setups: Rows, row: Ints, waits: Mask) -> Ints:
        """Which first legs wait in vain, by place; they are made ready. row: places of the setups; waits: whether they do."""
        messages = paired.messages
        overdue = np.empty(0, dtype=np.int64)
        first = row[waits & (messages["session_id"][row] == 0) & ~IS_CLAIM[setups["token"]["kind"]]]
        if not len(first):
            return overdue
        concerned = np.zeros(len(self._facts), dtype=bool)
        concerned[messages["connection"][first]] = True
        second = row[
            ~waits & (setups["token"]["kind"] == TokenKind.NTLM_AUTHENTICATE.value) & (messages["session_id"][row] != 0)
        ]
        second = second[concerned[messages["connection"][second]]]
        legs = self._legs
        others = places_of(messages["kind"] == Kind.SETUP.value)
        for place in second[np.argsort(messages["order"][second])][:MAX_LATE].tolist():
            connection, session_id, order = (messages[name][place] for name in ("connection", "session_id", "order"))
            met = (messages["session_id"][others] == session_id) & (messages["connection"][others] == connection)
            met &= messages["order"][others] < order
            known = (legs["session_id"] == session_id) & (legs["connection"] == connection)
            before = first[(messages["connection"][first] == connection) & (messages["order"][first] < order)]
            before = before[~paired.ready[before]]
            if len(before) == 1 and not met.any() and not known.any():
                paired.ready[before] = True
                overdue = np.append(overdue, before)
        return overdue

    def _has_share_level(self, connections: Ints) -> Mask:
        """True for connections whose server wants passwords for shares."""
        found: Mask = self._facts.rows[connections, F_SHARE_LEVEL] != 0
        return found

    def _add_sessions(self, connections: Ints, ids: Ints, protocols: npt.NDArray[np.generic]) -> Ints:
        """Add sessions of which nothing more is known yet; returns their numbers."""
        first = len(self._sessions)
        new = self._sessions.add(len(connections))
        new[:, S_CONNECTION] = connections
        new[:, S_SESSION_ID] = ids
        new[:, S_PROTOCOL] = protocols
        for column in (S_FIRST_ORDER, S_PROOF_CAPTURE_NO, S_FIRST_SUCCESS, S_LAST_SUCCESS, S_FIRST_REUSE):
            new[:, column] = NONE
        numbers = np.arange(first, first + len(connections))
        self._sessions_by_id.add(keys(ids), numbers, numbers)
        return numbers

    def _bind(self, bindings: Rows) -> None:
        """Second connections take part in sessions. [MS-SMB2 3.3.5.5.2]"""
        connection, session_id = bindings["connection"].astype(np.int64), bindings["session_id"].view(np.int64)
        number = nones(len(bindings))
        done = places_of((bindings["status"] == STATUS_SUCCESS) | (bindings["status"] < 0))
        number[done] = self._find_bound(connection[done], session_id[done])
        unknown = done[number[done] < 0]
        number[unknown] = self._add_sessions(connection[unknown], session_id[unknown], bindings["protocol"][unknown])
        self._numbers.skip(len(unknown))
        sessions, new, told = self._sessions.rows, number[unknown], bindings[unknown]
        sessions[new, S_BOUND] = 1
        sessions[new, S_FIRST_ORDER] = told["order"]
        sessions[new, S_FIRST_NS] = told["time_ns"]
        sessions[new, S_PROOF_CAPTURE_NO] = told["answer_capture_no"]
        sessions[new, S_PROOF_FRAME] = told["answer_frame"]
        sessions[new, S_SIGNS] = np.where(told["status"] == STATUS_SUCCESS, int(Sign.BIND_SUCCESS), 0)
        self._numbers.alias(connection[done], session_id[done], number[done])
        sessions[number[done], S_CHANNEL] = 1
        rows = np.zeros(len(bindings), dtype=CHANNEL)
        rows["session"] = number
        for name in ("connection", "order", "capture_no", "frame", "status"):
            rows[name] = bindings[name]
        self._channels.add(rows)

    def _find_bound(self, connection: Ints, session_id: Ints) -> Ints:
        """For each the latest session of its id on the same server that began on another connection, or `NONE`."""
        found = nones(len(connection))
        before = np.full(len(connection), np.iinfo(np.int64).max)
        left = np.arange(len(connection))
        for _ in range(MAX_NAMESAKES):
            if not len(left):
                break
            number = self._sessions_by_id.as_of(keys(session_id[left]), before[left])
            left, number = left[number >= 0], number[number >= 0]
            before[left] = number
            began_on = self._sessions.rows[number, S_CONNECTION]
            fits = (
                (self._sessions.rows[number, S_BOUND] == 0)
                & (began_on != connection[left])
                & ~self._is_forgotten(began_on)
                & self._has_same_server(connection[left], began_on)
            )
            found[left[fits]] = number[fits]
            left = left[~fits]
        return found

    def _has_same_server(self, one: Ints, other: Ints) -> Mask:
        """True where two connections have the same server, whichever of its addresses they use."""
        connections = self._connections.rows
        hi, lo, guid = (connections[name] for name in ("server_hi", "server_lo", "server_guid"))
        a, b = guid["a"], guid["b"]
        same_guid = (a[one] == a[other]) & (b[one] == b[other]) & guid["known"][other]
        found: Mask = ((hi[one] == hi[other]) & (lo[one] == lo[other])) | (_tells(guid[one]) & same_guid)
        return found

    def _number(self, paired: Paired) -> Ints:
        """For each message the number of its session.

        In an SMB 1 chain later elements use ids that its first elements made: the answer has them.
        """
        messages = paired.messages
        chained = places_of(((messages["flags"] & Flag.CHAINED.value) != 0) & (paired.answer >= 0))
        for name in ("session_id", "tree_id"):
            messages[name][chained] = messages[name][paired.answer[chained]]
        self._take_made_ids(paired)
        connection, session_id, request = messages["connection"], messages["session_id"], paired.request
        # What is answered has been numbered; an answer may have another id, or come first.
        is_told = (request >= 0) & (request < np.arange(len(messages))) & (session_id[request] == session_id)
        asked, told = places_of(~is_told), places_of(is_told)
        numbers = np.empty(len(messages), dtype=np.int64)
        numbers[asked], new = self._numbers.number(connection[asked], session_id[asked])
        numbers[told] = numbers[request[told]]
        self._add_sessions(*(messages[name][asked[new]] for name in ("connection", "session_id", "protocol")))
        paired.scope = _scope(messages["protocol"], numbers, connection)
        return numbers

    def _take_made_ids(self, paired: Paired) -> None:
        """In a related compound a request may use the session or tree that one before it makes: the answer has its id."""
        messages = paired.messages
        related = places_of(((messages["flags"] & Flag.RELATED.value) != 0) & (paired.answer >= 0))
        related = related[(messages["flags"][paired.answer[related]] & Flag.ASYNC.value) == 0]
        if not len(related):
            return
        for name, none in (("session_id", (0, NONE)), ("tree_id", (0, NO_TREE[-1]))):
            given = messages[name][paired.answer[related]]
            wanting = one_of(messages[name][related], none) & ~one_of(given, none)
            messages[name][related[wanting]] = given[wanting]

    def _note_proofs(self, paired: Paired, session: Ints) -> None:
        """What each session's messages show, for those whose login was not captured."""
        messages = paired.messages
        if not len(messages):
            return
        order = messages["order"].copy()
        asked = places_of(paired.answer >= 0)
        order[paired.answer[asked]] = order[asked]
        encrypted, plain_trees = (np.empty(len(messages) + 1, dtype=np.int64) for _ in range(2))
        ready = paired.ready.view(np.uint8)
        self._form().note_proofs(messages.table, session, order, ready, self._sessions.table, encrypted, plain_trees)
        packed = places_of((messages["kind"] == Kind.COMPRESSED.value) & paired.ready)
        if len(packed):
            np.add.at(self._facts.rows[:, F_COMPRESSED], messages["connection"][packed], 1)
        for places, count in ((encrypted, True), (plain_trees, False)):
            found = places[: int(np.argmin(places >= 0))]
            if not len(found):
                continue
            connection = messages["connection"][found]
            if count:
                np.add.at(self._facts.rows[:, F_ENCRYPTED], connection, 1)
                self._note_sealed(messages, session, found)
            else:
                found = found[self._facts.rows[connection, F_IS_311] != 0]
                self._sessions.rows[session[found], S_SIGNS] |= int(Sign.HINT_UNSIGNED_311)

    def _note_sealed(self, messages: Columns, session: Ints, found: Ints) -> None:
        """Remember the encrypted messages that may be opened."""
        attempt = self._in_force(session[found], messages["order"][found])
        found, attempt = found[attempt >= 0], attempt[attempt >= 0]
        found = found[_is_open_to_all(self._attempts.rows.take(attempt))][: MAX_SEALED - len(self._sealed)]
        new = self._sealed.add(len(found))
        for column, name in ((E_CONNECTION, "connection"), (E_KEY, "key"), (E_ORDER, "order")):
            new[:, column] = messages[name][found]
        new[:, E_SESSION] = session[found]
        self._facts.rows[messages["connection"][found], F_SEALED] = 1

    def _in_force(self, session: Ints, order: Ints) -> Ints:
        """`in_force` as far as is known yet."""
        found = nones(len(session))
        missing = places_of(session >= 0)
        for chains in (self._accepted, self._all_attempts):
            if len(missing):
                found[missing] = chains.as_of(keys(session[missing]), order[missing])
                missing = missing[found[missing] < 0]
        return found

    def _has_credentials(self, rows: Rows) -> Mask:
        """True where the identity in force at each row's place is proven to have credentials, as far as is known."""
        session = rows["session"].astype(np.int64)
        attempt = self._in_force(session, rows["order"].astype(np.int64))
        found = np.zeros(len(rows), dtype=bool)
        known = places_of(attempt >= 0)
        found[known] = self._has_proof.rows[attempt[known]]
        unseen = places_of((attempt < 0) & (session >= 0))
        if len(unseen):
            found[unseen] = (self._sessions.rows[session[unseen], S_SIGNS] & Sign.BIND_SUCCESS.value) != 0
        doubtful = _may_be_too_late(rows)
        if len(doubtful):
            before = self._all_attempts.as_of(keys(session[doubtful]), rows["order"][doubtful].astype(np.int64))
            last_success = self._sessions.rows[session[doubtful], S_LAST_SUCCESS]
            found[doubtful[_is_too_late(rows.take(doubtful), self._attempts.rows, before, last_success)]] = False
        return found

    def _exchange_rows(
        self, paired: Paired, session: Ints, request: Ints, answer: Ints, record: np.dtype[np.void]
    ) -> Rows:
        """Rows of a kind of thing with what all of them have: whose, where, and the answer's status."""
        messages = paired.messages
        rows = np.zeros(len(request), dtype=record)
        asked, answered = places_of(request >= 0), places_of(answer >= 0)
        any_message = np.where(request >= 0, request, answer)
        rows["session"] = session[any_message]
        for name in ("connection", "order", "place", "time_ns"):
            rows[name] = messages[name][any_message]
        rows["capture_no"] = rows["frame"] = rows["answer_capture_no"] = rows["answer_frame"] = NONE
        question, reply = request[asked], answer[answered]
        for name in ("capture_no", "frame"):
            rows[name][asked] = messages[name][question]
            rows[f"answer_{name}"][answered] = messages[name][reply]
        rows["status"] = NONE
        rows["status"][answered] = messages["status"][reply]
        rows["dos_status"][answered] = (messages["flags"][reply] & Flag.DOS_STATUS.value) != 0
        return rows

    def _connect_trees(self, paired: Paired, session: Ints) -> None:
        requests, request_body, request, answer, answer_body = paired.exchanges("tree")
        failed = paired.failed(Kind.TREE_CONNECT)
        if len(failed):
            request = np.concatenate([request, nones(len(failed))])
            request_body = np.concatenate([request_body, nones(len(failed))])
            answer = np.concatenate([answer, failed])
            answer_body = np.concatenate([answer_body, nones(len(failed))])
        messages, answers = paired.messages, paired.bodies["tree_answers"]
        rows = self._exchange_rows(paired, session, request, answer, TREE)
        if not len(rows):
            return
        asked = places_of(request_body >= 0)
        rows["path"] = MISSING
        rows["path"][asked] = requests["path"][request_body[asked]]
        rows["password_size"][asked] = requests["password_size"][request_body[asked]]
        success = rows["status"] == STATUS_SUCCESS
        told = places_of(answer_body >= 0)
        rows["kind"][told] = np.minimum(answers["kind"][answer_body[told]], TreeKind.PRINT)
        shares = self._names.share(rows["path"])
        is_ipc = shares == self._ipc
        rows["kind"][(rows["kind"] == TreeKind.UNKNOWN.value) & is_ipc] = TreeKind.PIPE
        rows["tree_id"] = NONE
        rows["tree_id"][success] = messages["tree_id"][answer[success]]
        rows["scope"] = paired.scope[np.where(request >= 0, request, answer)]
        rows["live"] = success
        in_order = np.argsort(rows["order"], kind="stable")
        places = self._trees.add(rows.take(in_order))
        usable = places_of(success[in_order])
        added = in_order[usable]
        self._trees_by_id.add(keys(rows["scope"][added], rows["tree_id"][added]), rows["order"][added], places[usable])
        self._count_uses(rows, shares, "tree_connect")

    def _count_uses(
        self, rows: Rows, resources: Ints, rung: str, operations: Ints | None = None, which: Mask | None = None
    ) -> Mask:
        """Count answered uses by sessions with credentials, and remember anonymous refusals.

        which: those that count as uses at all. Returns which rows are credentialed.
        """
        credentialed = self._has_credentials(rows)
        self._count(rows, credentialed, resources, rung, operations, which)
        return credentialed

    def _count(
        self,
        rows: Rows,
        credentialed: Mask,
        resources: Ints,
        rung: str,
        operations: Ints | None = None,
        which: Mask | None = None,
    ) -> None:
        named = resources >= 0 if which is None else which & (resources >= 0)
        operations = np.full(len(rows), MISSING, dtype=np.int64) if operations is None else operations
        refused = places_of(named & ~credentialed & _refused(rows, rung))
        if len(refused):
            self._uses.refused(self._used(rows, refused, resources, operations))
        used = places_of(named & credentialed & (rows["status"] >= 0))
        if len(used):
            self._uses.add(self._used(rows, used, resources, operations))

    def _used(
        self, rows: Rows, places: Ints, resources: Ints, operations: Ints, interfaces: Ints | None = None
    ) -> Table:
        used = np.empty((U_WIDTH, len(places)), dtype=np.int64)
        connection = rows["connection"][places]
        used[U_CONNECTION] = connection
        used[U_PAIR] = self._facts.rows[connection, F_PAIR]
        used[U_GUID] = self._facts.rows[connection, F_GUID]
        used[U_RESOURCE] = resources[places]
        used[U_INTERFACE] = MISSING if interfaces is None else interfaces[places]
        used[U_OPERATION] = operations[places]
        used[U_TIME_NS] = rows["time_ns"][places]
        used[U_SUCCEEDED] = _worked(rows["status"][places])
        used[U_CAPTURE_NO] = rows["capture_no"][places]
        used[U_FRAME] = rows["frame"][places]
        return used

    def _trees_in_use(self, paired: Paired) -> Ints:
        """The row of the tree that each request means, as far as it matters for what is asked."""
        messages = paired.messages
        wanted = places_of(
            MATTERS_WHICH_TREE[messages["kind"]]
            & (messages["tree_id"] != NO_TREE[-1])
            & (messages["from_server"] == 0)
            & paired.ready
        )
        found = nones(len(messages))
        found[wanted] = self._trees_by_id.as_of(
            keys(paired.scope[wanted], messages["tree_id"][wanted]), messages["order"][wanted]
        )
        return found

    def _kind_of(self, tree: Rows) -> npt.NDArray[np.uint8]:
        """The kind of each tree (by row, -1: not known)."""
        kind = np.full(len(tree), TreeKind.UNKNOWN.value, dtype=np.uint8)
        known = places_of(tree >= 0)
        kind[known] = self._trees.rows["kind"][tree[known]]
        return kind

    def _open_files(self, paired: Paired, session: Ints, tree: Ints) -> dict[int, int]:
        """Add the opens; returns, for opens in compounds, which row a message's file is."""
        requests, request_body, request, answer, answer_body = paired.exchanges("open")
        if not len(request):
            return {}
        messages, answers = paired.messages, paired.bodies["open_answers"]
        rows = self._exchange_rows(paired, session, request, answer, OPEN)
        any_message = np.where(request >= 0, request, answer)
        rows["tree"] = tree[any_message]
        asked, is_told = places_of(request_body >= 0), answer_body >= 0
        told = places_of(is_told)
        rows["name"] = MISSING
        for name in ("name", "via", "access_mask"):
            rows[name][asked] = requests[name][request_body[asked]]
        is_pipe = np.zeros(len(rows), dtype=bool)
        is_pipe[told] = answers["is_pipe"][answer_body[told]]
        for name in ("file_hi", "file_lo"):
            rows[name][told] = answers[name][answer_body[told]]
        rows["scope"] = paired.scope[any_message]
        rows["closed_ns"] = rows["secondary"] = NONE
        # CallNmPipe opens, writes, reads and closes in one: nobody is told a file id. [MS-CIFS 2.2.5.11]
        in_one = rows["via"] == Via.CALL_NMPIPE.value
        rows["file_lo"][in_one] = ANY_FILE
        kind = self._kind_of(rows["tree"])
        pipes = self._names.pipe(rows["name"])
        seems_pipe = is_pipe | (self._names.has_prefix(rows["name"]) != 0) | (self._is_known_pipe(pipes) != 0)
        names = np.where(kind == TreeKind.DISK.value, rows["name"], pipes)
        rows["name"] = names
        unknown = kind == TreeKind.UNKNOWN.value
        sure = (kind == TreeKind.PIPE.value) | (unknown & seems_pipe)
        rows["sure"] = sure
        may_be = sure | unknown
        rows["live"] = is_told & may_be
        credentialed = self._count_uses(rows, names, "open", which=sure)
        kept = places_of(may_be if self._keep_all else may_be & ~credentialed)
        self._note_disk(rows, places_of(~may_be & ~credentialed))
        in_order = kept[np.argsort(rows["order"][kept], kind="stable")]
        added = rows.take(in_order)
        places = self._opens.add(added)
        tells_id = (added["capture_no"] >= 0) & (added["via"] != Via.CALL_NMPIPE.value)
        for place in places_of((added["status"] < 0) & tells_id).tolist():
            if len(self._unanswered) < MAX_UNANSWERED:
                waiting = self._unanswered.setdefault(int(added["scope"][place]), [])
                if len(waiting) < MAX_UNANSWERED_OF_ONE:
                    waiting.append(int(places[place]))
        row_of = nones(len(rows))
        row_of[in_order] = places
        in_compound = (messages["flags"][any_message] & Flag.RELATED.value) != 0
        in_compound |= _followed_by_related(messages)[any_message]
        in_compound |= in_one & ((rows["status"] < 0) | _worked(rows["status"]))
        used = places_of(may_be & (rows["live"] | in_compound))
        used = used[np.argsort(rows["order"][used], kind="stable")]
        numbers = self._add_files(rows.take(used), row_of[used])
        self._files.rows[numbers[in_one[used]], H_CLOSED] = 1
        chosen = places_of(in_compound[used])
        return dict(zip(messages["message"][any_message[used[chosen]]].tolist(), numbers[chosen].tolist(), strict=True))

    def _add_files(self, opens: Rows, row: Ints) -> Ints:
        """Files of opens (`OPEN`), whose rows among those that are kept are `row`; returns their numbers."""
        files = np.empty((len(opens), H_WIDTH), dtype=np.int64)
        for column, name in (
            (H_SCOPE, "scope"),
            (H_HI, "file_hi"),
            (H_LO, "file_lo"),
            (H_ORDER, "order"),
            (H_CONNECTION, "connection"),
            (H_SESSION, "session"),
            (H_TREE, "tree"),
            (H_NAME, "name"),
        ):
            files[:, column] = opens[name].view(np.int64) if opens[name].dtype.kind == "u" else opens[name]
        files[:, H_OPEN] = row
        files[:, H_CLOSED] = 0
        return self._files.add(files)

    def _note_disk(self, rows: Rows, places: Ints) -> None:
        """Count opens on disk shares by session and tree, with a few names."""
        if not len(places):
            return
        opens = np.empty((O_WIDTH, len(places)), dtype=np.int64)
        for column, name in (
            (O_SESSION, "session"),
            (O_CONNECTION, "connection"),
            (O_ORDER, "order"),
            (O_TREE, "tree"),
            (O_NAME, "name"),
        ):
            opens[column] = rows[name][places]
        opens[O_SUCCEEDED] = _worked(rows["status"][places])
        opens[O_DENIED] = _refused(rows, "open")[places]
        self._disks.add(opens)

    def _files_of(self, paired: Paired, rows: Rows, request: Ints, opened: dict[int, int]) -> Ints:
        """The file that each request's file id means, `NONE` if it is not known."""
        messages = paired.messages
        found = self._files.find(paired.scope[request], rows["file_hi"], rows["file_lo"], messages["order"][request])
        in_open = ((messages["flags"][request] & Flag.RELATED.value) != 0) | (
            messages["kind"][request] == Kind.OPEN.value
        )
        chained = places_of((rows["file_lo"] == ANY_FILE) & in_open)
        for place in chained.tolist():
            found[place] = opened.get(int(messages["message"][request[place]]), NONE)
        return found

    def _stop_waiting_for_opens(self, paired: Paired, session: Ints) -> None:
        """An open waits for no answer any more if a file id comes into use that only this answer can have given."""
        opens = paired.bodies["open_requests"]
        opens = opens.compress(~paired.ready[opens["row"]] & (opens["via"] != Via.CALL_NMPIPE.value))
        if not len(opens):
            return
        messages, row = paired.messages, opens["row"].astype(np.int64)
        of_open = paired.scope[row]
        request, scope, hi, lo = self._uses_of_ids(paired, session, np.unique(of_open))
        new = places_of(self._files.find(scope, hi, lo, messages["order"][request]) < 0)
        overdue: list[int] = []
        for place in new[np.argsort(messages["order"][request[new]], kind="stable")][:MAX_LATE].tolist():
            key = (int(scope[place]), int(hi[place]), int(lo[place]))
            before = row[(of_open == scope[place]) & (messages["order"][row] < messages["order"][request[place]])]
            if len(before) == 1 and key not in self._strays and key[0] not in self._unanswered:
                logged_in = self._in_force(session[before], messages["order"][before])[0] >= 0
                if logged_in or self._begins_in_captures(int(messages["connection"][before[0]])):
                    overdue.append(int(before[0]))
        if overdue:
            given_up = np.unique(overdue)
            self._pairing.give_up(given_up)
            ready = np.zeros(len(messages), dtype=bool)
            ready[given_up] = True
            alone = replace(paired, ready=ready)
            self._open_files(alone, session, self._trees_in_use(alone))

    def _uses_of_ids(self, paired: Paired, session: Ints, scopes: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Requests that use a file id of these scopes (sorted), and did not fail: their places, scopes, and the id's halves."""
        used = [paired.bodies[name] for name in ("data_requests", "close_requests")]
        request = np.concatenate([rows["row"] for rows in used]).astype(np.int64)
        hi, lo = (np.concatenate([rows[name] for rows in used]) for name in ("file_hi", "file_lo"))
        messages = paired.messages
        scope = paired.scope[request]
        answer = paired.answer[request]
        may = paired.ready[request] & (lo != ANY_FILE) & (session[request] >= 0)
        may &= (answer < 0) | _worked(messages["status"][answer])
        places = places_of(may & is_in(scope, scopes))
        return request[places], scope[places], hi[places], lo[places]

    def _infer_opens(self, paired: Paired, session: Ints) -> None:
        """An open whose answer was not captured succeeded if the file id that only the answer can have given is used.

        Only where there is no doubt which open it was: its session's login or its connection's beginning is in the
        captures, so no file of it was opened before them, and no other open of it is unanswered.
        """
        if not self._unanswered or len(self._strays) >= MAX_UNANSWERED:
            return
        messages = paired.messages
        request, scope, hi, lo = self._uses_of_ids(paired, session, np.array(sorted(self._unanswered)))
        opens = self._opens.rows
        for place in np.argsort(messages["order"][request], kind="stable").tolist():
            order = messages["order"][request[place : place + 1]]
            key = (int(scope[place]), int(hi[place]), int(lo[place]))
            one = slice(place, place + 1)
            if key in self._strays or self._files.find(scope[one], hi[one], lo[one], order)[0] >= 0:
                continue
            of_one = self._unanswered.get(key[0], [])
            waiting = [row for row in of_one if opens["order"][row] < order[0]]
            if (
                len(waiting) != 1
                or len(of_one) == MAX_UNANSWERED_OF_ONE  # there may be more of them
                or not (
                    self._begins_in_captures(int(messages["connection"][request[place]]))
                    or self._in_force(session[request[place : place + 1]], opens["order"][waiting])[0] >= 0
                )
            ):
                self._strays.add(key)
                continue
            row = waiting[0]
            opens["file_hi"][row], opens["file_lo"][row] = hi[place], lo[place]
            opens["inferred"][row] = opens["live"][row] = True
            self._add_files(opens.take(waiting), np.array(waiting))
            of_one.remove(row)
            if not of_one:
                del self._unanswered[key[0]]

    def _begins_in_captures(self, connection: int) -> bool:
        """Whether a connection is known to have been captured from its beginning; told when it is over."""
        is_over = self._facts.rows[connection, F_OVER_SINCE] != NEVER
        return bool(is_over and not self._connections.rows["midstream"][connection])

    def _move_data(self, paired: Paired, session: Ints, tree: Ints, opened: dict[int, int]) -> None:
        """Add the bytes that moved to the opens that they moved on, and follow the pipes among these.

        Bytes of requests that failed did not move.
        """
        requests, request_body, request, answer, answer_body = paired.exchanges("data")
        with_request = places_of(request_body >= 0)
        if not len(with_request):
            return
        request_body, request = request_body[with_request], request[with_request]
        answer, answer_body = answer[with_request], answer_body[with_request]
        messages, answers = paired.messages, paired.bodies["data_answers"]
        rows = requests.take(request_body)
        file = self._files_of(paired, rows, request, opened)
        moved = (answer < 0) | _worked(messages["status"][answer])
        stray = request[places_of((file < 0) & moved & (answer >= 0) & (session[request] >= 0))]
        if len(stray):
            np.add.at(self._sessions.rows[:, S_STRAY_DATA], session[stray], 1)
        self._find_strays(paired, session, tree, rows, request, answer_body, file)
        known = places_of(file >= 0)
        if not len(known):
            return
        files = self._files.rows
        row = nones(len(file))
        row[known] = files[file[known], H_OPEN]
        opens, kept = self._opens.rows, row >= 0
        wrote = places_of(kept & moved)
        np.add.at(opens["bytes_written"], row[wrote], rows["bytes"][wrote])
        has_answer = places_of(kept & moved & (answer_body >= 0))
        np.add.at(opens["bytes_read"], row[has_answer], answers["bytes"][answer_body[has_answer]])
        opens["sure"][row[kept & moved & (rows["way"] == Way.TRANSACT.value)]] = True
        early, early_file = self._overtaken(paired, opened, requests, request[known], file[known])
        nothing = nones(len(early))
        pieces = pieces_of(
            messages,
            session,
            joined(rows.take(known), early),
            np.concatenate([request[known], early["row"].astype(np.int64)]),
            np.concatenate([answer[known], nothing]),
            answers,
            np.concatenate([answer_body[known], nothing]),
            np.concatenate([file[known], early_file]),
            np.concatenate([moved[known], np.ones(len(early), dtype=bool)]),
        )
        for heard in self._files.pipes.follow(pieces, paired.arena):
            self._take_heard(heard)

    def _overtaken(
        self, paired: Paired, opened: dict[int, int], requests: Rows, request: Ints, file: Ints
    ) -> tuple[Rows, Ints]:
        """What was written to a pipe by requests that still wait for their answers, before something that does not.

        An answer may not be in the captures at all: a bind would else be known after the calls that need it. Returns the
        requests and their files. Their counts are added when they are worked off themselves.
        """
        waiting = requests.compress(~paired.ready[requests["row"]])
        places = places_of((waiting["way"] != Way.READ.value) & (waiting["payload_size"] > 0))
        if not len(places):
            return waiting[:0], np.empty(0, dtype=np.int64)
        order = paired.messages["order"]
        last = nones(len(self._files.rows))
        np.maximum.at(last, file, order[request])
        rows = waiting.take(places)
        asked = rows["row"].astype(np.int64)
        theirs = self._files_of(paired, rows, asked, opened)
        chosen = places_of((theirs >= 0) & (last[theirs] > order[asked]))
        self._pairing.take_payload(places[chosen])
        rows = rows.take(chosen)
        rows["way"] = Way.WRITE
        return rows, theirs[chosen]

    def _find_strays(
        self,
        paired: Paired,
        session: Ints,
        tree: Ints,
        rows: Rows,
        request: Ints,
        answer_body: Ints,
        file: Ints,
    ) -> None:
        """Follow pipes whose open was not captured, too: those through which a DCE/RPC PDU goes. Sets items of `file`."""
        messages, answers = paired.messages, paired.bodies["data_answers"]
        may = (file < 0) & (rows["file_lo"] != ANY_FILE)
        may &= one_of(self._kind_of(tree[request]), (TreeKind.PIPE.value, TreeKind.UNKNOWN.value))
        lost = places_of(may)
        if not len(lost):
            return
        seems = begin_pdus(paired.arena, rows["payload_at"][lost], rows["payload_size"][lost])
        told = places_of(answer_body[lost] >= 0)
        body = answer_body[lost[told]]
        seems[told] |= begin_pdus(paired.arena, answers["payload_at"][body], answers["payload_size"][body])
        first = lost[seems]
        if not len(first):
            return
        asked = request[first]
        scope = paired.scope[asked]
        order = messages["order"][asked]
        hi, lo = (rows[name][first].view(np.int64) for name in ("file_hi", "file_lo"))
        sequence = np.lexsort((order, lo, hi, scope))
        new = np.append(True, np.any(np.diff(np.stack([scope, hi, lo])[:, sequence]) != 0, axis=0))
        chosen = sequence[new]
        chosen = chosen[np.argsort(order[chosen], kind="stable")]
        files = np.full((len(chosen), H_WIDTH), NONE, dtype=np.int64)
        files[:, H_SCOPE], files[:, H_HI], files[:, H_LO] = scope[chosen], hi[chosen], lo[chosen]
        files[:, H_ORDER] = order[chosen] - 1
        files[:, H_CONNECTION] = messages["connection"][asked[chosen]]
        files[:, H_SESSION] = session[asked[chosen]]
        files[:, H_TREE] = tree[asked[chosen]]
        files[:, H_CLOSED] = 0
        self._files.add(files)
        lost_request = request[lost]
        file[lost] = self._files.find(
            paired.scope[lost_request], rows["file_hi"][lost], rows["file_lo"][lost], messages["order"][lost_request]
        )

    def _take_heard(self, heard: Heard) -> None:
        """Add the binds and calls that went through pipes, or count them."""
        if len(heard.binds):
            rows = self._heard_rows(heard.binds, BIND)
            for name, column in (
                ("transfer", rpc.O_TRANSFER),
                ("context", rpc.B_CONTEXT),
                ("alter", rpc.B_ALTER),
                ("secondary", rpc.O_NAME),
            ):
                rows[name] = heard.binds[:, column]
            told = places_of((rows["open"] >= 0) & (rows["secondary"] >= 0))
            self._opens.rows["secondary"][rows["open"][told]] = rows["secondary"][told]
            self._binds.add(rows if self._keep_all else rows.compress(~self._has_credentials(rows)))
        if len(heard.calls):
            rows = self._heard_rows(heard.calls, CALL)
            rows["protocol"] = CallProtocol.DCERPC
            for name, column in (
                ("function", rpc.O_OPNUM),
                ("name", rpc.O_NAME),
                ("server", rpc.O_SERVER),
                ("level", rpc.O_LEVEL),
            ):
                rows[name] = heard.calls[:, column]
            answered = (rows["answer_frame"] >= 0) | (rows["result"] == rpc.RESULT_SMB)
            rows["status"] = np.where(answered, np.where(rows["result"] == rpc.RESULT_SMB, rows["code"], 0), NONE)
            credentialed = self._has_credentials(rows)
            self._count_rpc(rows, credentialed)
            self._calls.add(rows if self._keep_all else rows.compress(~credentialed))

    def _note_forms(self) -> None:
        """What each pipe carries, and how it begins if that is no DCE/RPC."""
        row = self._files.rows[:, H_OPEN]
        kept = places_of(row >= 0)
        forms = self._files.pipes.forms(kept)
        opens = self._opens.rows
        for column, name in enumerate(("form", "first_bytes", "first_size")):
            opens[name][row[kept]] = forms[:, column]

    def _heard_rows(self, heard: Table, record: np.dtype[np.void]) -> Rows:
        """Rows of binds or calls with what both have."""
        rows = np.zeros(len(heard), dtype=record)
        for name, column in (
            ("session", rpc.O_SESSION),
            ("order", rpc.O_ORDER),
            ("capture_no", rpc.O_CAPTURE),
            ("frame", rpc.O_FRAME),
            ("answer_capture_no", rpc.O_ANSWER_CAPTURE),
            ("answer_frame", rpc.O_ANSWER_FRAME),
            ("place", rpc.O_PLACE),
            ("time_ns", rpc.O_TIME),
            ("interface", rpc.O_INTERFACE),
            ("auth_type", rpc.O_AUTH_TYPE),
            ("auth_level", rpc.O_AUTH_LEVEL),
            ("result", rpc.O_RESULT),
            ("code", rpc.O_CODE),
        ):
            rows[name] = heard[:, column]
        if "dos_status" in (record.names or ()):
            rows["dos_status"] = (rows["result"] == rpc.RESULT_SMB) & (rows["code"] >= DOS_STATUS)
        rows["code"][rows["code"] >= DOS_STATUS] -= DOS_STATUS
        file = self._files.rows[heard[:, rpc.O_PIPE]]
        for name, column in (("connection", H_CONNECTION), ("tree", H_TREE), ("open", H_OPEN), ("pipe", H_NAME)):
            rows[name] = file[:, column]
        sure = rows["open"][rows["open"] >= 0]
        self._opens.rows["sure"][sure] = True
        return rows

    def _count_rpc(self, rows: Rows, credentialed: Mask) -> None:
        """Count calls through pipes by sessions with credentials, and remember refusals of the others."""
        interface, operation, returns, _ = self._operations.look_up(rows["interface"], rows["function"])
        result = results(rows, returns)
        named = (rows["pipe"] >= 0) & (rows["capture_no"] >= 0)
        refused = places_of(named & ~credentialed & (result == CallResult.REFUSED.value))
        resources = rows["pipe"].astype(np.int64)
        if len(refused):
            self._uses.refused(self._used(rows, refused, resources, operation, interface))
        used = places_of(named & credentialed & (result != CallResult.UNANSWERED.value))
        counted = self._used(rows, used, resources, operation, interface)
        counted[U_SUCCEEDED] = result[used] == CallResult.WORKED.value
        self._uses.add(counted)

    def _close_files(self, paired: Paired, opened: dict[int, int]) -> None:
        closes = paired.bodies["close_requests"]
        closes = closes.compress(paired.ready[closes["row"]])
        request = closes["row"].astype(np.int64)
        if not len(request):
            return
        file = self._files_of(paired, closes, request, opened)
        known = places_of(file >= 0)
        files = self._files.rows
        files[file[known], H_CLOSED] = 1
        row = files[file[known], H_OPEN]
        kept = places_of(row >= 0)
        self._opens.rows["closed_ns"][row[kept]] = paired.messages["time_ns"][request[known[kept]]]

    def _note_calls(self, paired: Paired, session: Ints, tree: Ints) -> None:
        """Operations that need no open: RAP, DFS referrals, FSCTLs."""
        requests, request_body, request, answer, answer_body = paired.exchanges("call")
        with_request = places_of(request_body >= 0)
        if not len(with_request):
            return
        request_body, request = request_body[with_request], request[with_request]
        answer, answer_body = answer[with_request], answer_body[with_request]
        answers = paired.bodies["call_answers"]
        rows = self._exchange_rows(paired, session, request, answer, CALL)
        rows["tree"] = tree[request]
        for name in ("open", "pipe", "interface", "auth_type", "auth_level", "server", "level"):
            rows[name] = NONE
        for name in ("protocol", "function", "name"):
            rows[name] = requests[name][request_body]
        code = nones(len(rows))
        told = places_of((answer_body >= 0) & (rows["protocol"] == CallProtocol.RAP.value))
        code[told] = answers["code"][answer_body[told]]
        rows["code"] = code
        kind = self._kind_of(rows["tree"])
        on_files = (kind == TreeKind.DISK.value) | (kind == TreeKind.PRINT.value)
        is_use = ~on_files & ~is_housekeeping(rows)
        credentialed = self._count_uses(rows, *self._call_names(rows), is_use)
        self._calls.add(rows.compress((~credentialed | self._keep_all) & ~on_files))

    def _note_referrals(self, paired: Paired) -> None:
        """Which servers the answers to DFS referrals name, whoever asked; and what of these could not be read."""
        told = referral_answers(paired)
        if not len(told):
            return
        is_target = told["field"] < 0
        self._referrals.add(paired, told.compress(is_target), self._facts.rows[:, F_PAIR])
        faults = told.compress(~is_target)
        problems = np.zeros(len(faults), dtype=PROBLEM)
        for name in ("capture_no", "frame", "connection"):
            problems[name] = paired.messages[name][faults["row"]]
        is_smb2 = paired.messages["protocol"][faults["row"]] == Protocol.SMB2.value
        problems["layer"] = np.where(is_smb2, Layer.SMB2, Layer.SMB1)
        for name in ("field", "offset", "code"):
            problems[name] = faults[name]
        problems["detail"] = MISSING
        self._note_problems(problems)

    def _call_names(self, rows: Rows) -> tuple[Ints, str, Ints]:
        """What `_count_uses` wants of calls."""
        resources, operations = call_names(rows, self.texts, self._pipe_name)
        return resources, "call", operations

    def _pipe_name(self, name: int) -> int:
        return int(self._names.pipe(np.array([name]))[0])

    def _end_sessions(self, paired: Paired, session: Ints) -> None:
        """A LOGOFF ends the period in force; trees and files of SMB 2 sessions end with it."""
        messages = paired.messages
        logoff = places_of(
            (messages["kind"] == Kind.LOGOFF.value) & (messages["from_server"] == 0) & paired.ready & (session >= 0)
        )
        if len(logoff):
            attempt = self._in_force(session[logoff], messages["order"][logoff])
            known = attempt >= 0
            self._attempts.rows["ended_ns"][attempt[known]] = messages["time_ns"][logoff[known]]
            early = logoff[~known]
            self._early_logoffs.add(len(early))[:] = np.stack(
                [session[early], messages["order"][early], messages["time_ns"][early]], axis=1
            )

    def _end_late_logins(self) -> None:
        """What was logged off before it was known whether the login's answer is in the capture."""
        session, order, ended = self._early_logoffs.rows.T
        attempt = _in_force(self._attempts.rows, session, order)
        known = attempt >= 0
        self._attempts.rows["ended_ns"][attempt[known]] = ended[known]

    def _note_others(self, paired: Paired, session: Ints, tree: Ints) -> None:
        """Count what else succeeded on IPC$: something was done there, though it is not known what."""
        messages = paired.messages
        asked = (
            (messages["kind"] == Kind.OTHER.value)
            & (messages["from_server"] == 0)
            & paired.ready
            & (paired.answer >= 0)
        )
        at = places_of(asked & (session >= 0) & (tree >= 0))
        at = at[self._kind_of(tree[at]) == TreeKind.PIPE.value]
        at = at[_worked(messages["status"][paired.answer[at]])]
        np.add.at(self._sessions.rows[:, S_OTHERS], session[at], 1)

    # The end. #

    def _judge_unseen(self, known_sessions: Growing) -> None:
        """Sessions without a captured login get a row if their use proves them; claims without an answer a verdict."""
        sessions = known_sessions.rows
        self._adopt_ids(sessions)
        self._judge_unanswered(sessions)
        attempts = self._attempts.rows
        first_attempt = np.full(len(sessions), np.iinfo(np.int64).max)
        np.minimum.at(first_attempt, attempts["session"], attempts["order"])
        used_before = (sessions["first_order"] >= 0) & (sessions["first_order"] < first_attempt)
        proven_before = ((sessions["first_success"] >= 0) & (sessions["first_success"] < first_attempt)) | (
            (sessions["signs"] & np.uint64(Sign.HINT_ENCRYPTED | Sign.BIND_SUCCESS)) != 0
        )
        unseen = places_of(used_before & proven_before & (sessions["proof_capture_no"] >= 0))
        rows = _blank_attempts(len(unseen))
        known = sessions.take(unseen)
        rows["session"] = unseen
        rows["connection"] = known["connection"]
        rows["session_id"] = known["session_id"]
        rows["protocol"] = known["protocol"]
        rows["order"] = known["first_order"] - 1
        rows["answer_capture_no"] = known["proof_capture_no"]
        rows["answer_frame"] = known["proof_frame"]
        rows["place"] = known["proof_place"]
        rows["time_ns"] = known["first_ns"]
        rows["outcome"] = Outcome.NOT_CAPTURED
        rows["signs"] = known["signs"]
        bound = (known["signs"] & np.uint64(Sign.BIND_SUCCESS)) != 0
        rows["identity"] = np.where(bound, Identity.AUTHENTICATED, Identity.UNKNOWN)
        rows["confidence"] = np.where(bound, Confidence.STRONG, Confidence.NONE)
        self._find_elsewhere(rows)
        self._attempts.add(rows)
        self._judge_loginless(known_sessions)

    def _judge_loginless(self, known_sessions: Growing) -> None:
        """SMB 1 servers that protect shares and not users may be used without a login: by anybody. [MS-CIFS 3.2.4.2.4]"""
        connections, trees = self._connections.rows, self._trees.rows
        logged_in = np.zeros(len(connections), dtype=bool)
        logged_in[self._attempts.rows["connection"]] = True
        anybody = connections["share_level"] & ~logged_in
        connected = places_of(
            (trees["session"] < 0) & (trees["status"] == STATUS_SUCCESS) & anybody[trees["connection"]]
        )
        where, first = np.unique(trees["connection"][connected], return_index=True)
        if not len(where):
            return
        begins = trees[connected[first]]
        rows = _blank_attempts(len(where))
        for name in ("connection", "order", "place", "time_ns", "answer_capture_no", "answer_frame"):
            rows[name] = begins[name]
        rows["order"] -= 1
        rows["protocol"] = Protocol.SMB1
        rows["asked"] = who.Asked.ANONYMOUS
        rows["outcome"] = Outcome.ACCEPTED
        rows["mechanism"] = Mechanism.SHARE_LEVEL
        password = np.isin(where, trees["connection"][trees["password_size"] > 1])
        rows["signs"] = np.where(password, Sign.SMB1_SHARE_LEVEL | Sign.SMB1_TREE_PASSWORD, Sign.SMB1_SHARE_LEVEL)
        rows["identity"] = np.where(password, Identity.UNKNOWN, Identity.ANONYMOUS)
        rows["confidence"] = np.where(password, Confidence.NONE, Confidence.STRONG)
        new = np.zeros(len(rows), dtype=SESSION)
        for name in ("connection", "session_id", "protocol"):
            new[name] = rows[name]
        for name in ("first_order", "proof_capture_no", "first_success", "last_success", "first_reuse"):
            new[name] = NONE
        rows["session"] = known_sessions.add(new)
        self._attempts.add(rows)
        session_of = nones(len(connections))
        session_of[where] = rows["session"]
        for store in (self._trees, self._opens, self._calls, self._binds):
            things = store.rows
            mine = (things["session"] < 0) & (session_of[things["connection"]] >= 0)
            things["session"][mine] = session_of[things["connection"][mine]]

    def _adopt_ids(self, sessions: Rows) -> None:
        """The id of a login in one message is in its answer. Where that was not captured, the id that comes into use is it.

        Only the server gives ids, so the login succeeded. Only where there is no doubt: the client's side of the connection
        is there from its beginning and without a gap, with one such login, and one id of which no login is known; and
        that id is used together with a tree's, since clients were seen to invent one.
        """
        attempts, connections = self._attempts.rows, self._connections.rows
        whole = ~connections["midstream"] & (connections["missing_bytes"] == 0) & (connections["client_bytes"] > 0)
        orphans = places_of(
            (attempts["outcome"] == Outcome.UNANSWERED.value)
            & (attempts["session_id"] == 0)
            & (attempts["capture_no"] >= 0)
            & whole[attempts["connection"]]
        )
        orphans = orphans[np.bincount(attempts["connection"][orphans])[attempts["connection"][orphans]] == 1]
        if not len(orphans):
            return
        has_login = np.zeros(len(sessions), dtype=bool)
        has_login[attempts["session"]] = True
        unknown = places_of(~has_login & ~sessions["bound"] & (sessions["first_order"] >= 0))
        unknown = unknown[np.bincount(sessions["connection"][unknown])[sessions["connection"][unknown]] == 1]
        session_of = nones(len(connections))
        session_of[sessions["connection"][unknown]] = unknown
        session = session_of[attempts["connection"][orphans]]
        begun = attempts["order"][orphans]
        fits = (session >= 0) & (sessions["first_order"][session] > begun) & (sessions["first_reuse"][session] > begun)
        fits &= sessions["protocol"][session] == attempts["protocol"][orphans]
        orphans, session = orphans[fits], session[fits]
        attempts["session"][orphans] = session
        attempts["session_id"][orphans] = sessions["session_id"][session]
        attempts["signs"][orphans] |= np.uint64(Sign.INFERRED_HANDLE_REUSE)

    def _judge_unanswered(self, sessions: Rows) -> None:
        """A claim whose answer was not captured succeeded if what came after it did."""
        attempts = self._attempts.rows
        order = np.lexsort((attempts["order"], attempts["session"]))
        following = np.full(len(attempts), np.iinfo(np.int64).max)
        same = attempts["session"][order[1:]] == attempts["session"][order[:-1]]
        following[order[:-1][same]] = attempts["order"][order[1:][same]]
        open_ended = places_of(attempts["outcome"] == Outcome.UNANSWERED.value)
        of = sessions[attempts["session"][open_ended]]
        after, before = attempts["order"][open_ended], following[open_ended]

        def inside(name: str) -> Mask:
            found: Mask = (of[name] > after) & (of[name] < before)
            return found

        worked = inside("first_success") | inside("last_success")
        reused = inside("first_reuse")
        attempts["signs"][open_ended] |= np.where(worked, np.uint64(Sign.LATER_SUCCESS), np.uint64(0))
        attempts["signs"][open_ended] |= np.where(reused, np.uint64(Sign.INFERRED_HANDLE_REUSE), np.uint64(0))
        self._note_tree_passwords()
        who.judge(attempts, self._names)

    def _note_tree_passwords(self) -> None:
        """On a share-level server a password may come with the tree connect: then nobody knows who it was."""
        trees = self._trees.rows
        with_password = trees[trees["password_size"] > 1]
        attempts = self._attempts.rows
        attempt = _in_force(attempts, with_password["session"].astype(np.int64), with_password["order"])
        attempts["signs"][attempt[attempt >= 0]] |= np.uint64(Sign.SMB1_TREE_PASSWORD)

    def _find_elsewhere(self, rows: Rows) -> None:
        """The same id of the same client and server, set up on another connection: that identity.

        Some servers number the sessions of each connection from the start, so the id alone proves nothing.
        """
        attempts, connections = self._attempts.rows, self._connections.rows
        accepted = places_of(
            (attempts["outcome"] == Outcome.ACCEPTED.value) & (attempts["protocol"] == Protocol.SMB2.value)
        )
        pair = connections["pair"]
        theirs = mixed(pair[attempts["connection"][accepted]], attempts["session_id"][accepted])
        mine = mixed(pair[rows["connection"]], rows["session_id"])
        in_order = np.lexsort((attempts["order"][accepted], theirs))
        accepted, theirs = accepted[in_order], theirs[in_order]
        first, behind = (np.searchsorted(theirs, mine, side) for side in ("left", "right"))
        for place in places_of((first < behind) & (rows["protocol"] == Protocol.SMB2.value)).tolist():
            same = accepted[first[place] : behind[place]]
            at = int(np.searchsorted(attempts["order"][same], rows["order"][place]))
            # The last one before it, else the first after it; of a great many only the nearest are looked at.
            near = np.concatenate([same[max(0, at - MAX_NAMESAKES) : at][::-1], same[at : at + MAX_NAMESAKES]])
            # A later login on the same connection says nothing about who used the id before it.
            near = near[attempts["connection"][near] != rows["connection"][place]]
            if not len(near):
                continue
            other = attempts[near[0]]
            guid, other_guid = (
                connections["client_guid"][rows["connection"][place]],
                connections["client_guid"][other["connection"]],
            )
            if _tells(guid) and _tells(other_guid) and guid != other_guid:
                continue
            rows["signs"][place] |= np.uint64(Sign.SETUP_ELSEWHERE)
            if other["identity"] != Identity.UNKNOWN.value:
                rows["confidence"][place] = Confidence.STRONG
            for name in (
                "identity",
                "asked",
                "user",
                "domain",
                "workstation",
                "mechanism",
                "realm",
                "service",
                "etype",
            ):
                rows[name][place] = other[name]

    def _settle_opens(self, sessions: Rows) -> Rows:
        """The opens to keep: those that are no pipes go to the disk shares, those with credentials to the counts."""
        opens = self._opens.rows
        credentialed = self._had_credentials(opens, sessions)
        sure = opens["sure"].copy()
        self._note_disk(opens, places_of(~sure & ~credentialed))
        kept = sure
        if not self._keep_all:
            late = opens.compress(sure & credentialed)
            self._count(late, np.ones(len(late), dtype=bool), late["name"].astype(np.int64), "open")
            kept = sure & ~credentialed
        row = np.where(kept, np.cumsum(kept) - 1, NONE)
        for things in (self._calls.rows, self._binds.rows):
            known = things["open"] >= 0
            things["open"][known] = row[things["open"][known]]
        return opens.compress(kept)

    def _settle_calls(self, sessions: Rows) -> Rows:
        calls = self._calls.rows
        if self._keep_all:
            return calls
        credentialed = self._had_credentials(calls, sessions)
        late = calls.compress(credentialed)
        through_pipes = late["protocol"] == CallProtocol.DCERPC.value
        self._count_rpc(late.compress(through_pipes), np.ones(np.count_nonzero(through_pipes), dtype=bool))
        late = late.compress(~through_pipes)
        self._count(late, np.ones(len(late), dtype=bool), *self._call_names(late), ~is_housekeeping(late))
        return calls.compress(~credentialed)

    def _settle_disks(self, sessions: Rows) -> Rows:
        disks = self._disks.finish()
        return disks.compress(~self._had_credentials(disks, sessions))

    def _had_credentials(self, rows: Rows, sessions: Rows) -> Mask:
        """`_has_credentials`, now that all is known."""
        session = rows["session"].astype(np.int64)
        attempt = _whose(self._attempts.rows, sessions, rows)
        found = np.zeros(len(rows), dtype=bool)
        known = places_of(attempt >= 0)
        found[known] = IS_CREDENTIALED[self._attempts.rows["identity"][attempt[known]]]
        unseen = places_of((attempt < 0) & (session >= 0))
        found[unseen] = (sessions["signs"][session[unseen]] & np.uint64(Sign.BIND_SUCCESS)) != 0
        return found


def _is_open_to_all(attempts: Rows) -> Mask:
    """True for SMB 2 logins (`ATTEMPT`) whose keys may need no secret, and that may have succeeded."""
    succeeded = (attempts["outcome"] == Outcome.ACCEPTED.value) | (attempts["outcome"] == Outcome.UNANSWERED.value)
    anybody = (attempts["asked"] == who.Asked.ANONYMOUS.value) | (attempts["identity"] == Identity.GUEST.value)
    found: Mask = succeeded & anybody & (attempts["protocol"] == Protocol.SMB2.value) & (attempts["capture_no"] >= 0)
    return found


def _blank_attempts(count: int) -> Rows:
    """Attempts of which nothing is known yet."""
    rows = np.zeros(count, dtype=ATTEMPT)
    for name in (
        "user",
        "domain",
        "workstation",
        "build",
        "realm",
        "service",
        "native_os",
        "native_lanman",
        "server_name",
        "server_domain",
    ):
        rows[name] = MISSING
    for name in ("capture_no", "frame", "status", "session_flags", "ntlm_flags", "ended_ns"):
        rows[name] = NONE
    return rows


def _in_force(attempts: Rows, session: Ints, order: Ints) -> Ints:
    """The last attempt on each session before each place that may have succeeded; if there is none, the last one."""
    found = nones(len(session))
    everything = np.arange(len(attempts))
    for places in (everything[attempts["outcome"] != Outcome.REFUSED.value], everything):
        missing = places_of((found < 0) & (session >= 0))
        if len(missing):
            known = attempts["session"][places].astype(np.int64)
            at = as_of(session[missing], order[missing], known, attempts["order"][places])
            found[missing[at >= 0]] = places[at[at >= 0]]
    return found


def in_force(reduced: Reduced, rows: Rows) -> Ints:
    """For each tree, open, call ... the attempt whose identity it carries, `NONE` if its session is not known."""
    return _whose(reduced.attempts, reduced.sessions, rows)


def _whose(attempts: Rows, sessions: Rows, rows: Rows) -> Ints:
    """`_in_force`, but what came too late for that identity belongs to the refused login that ended it."""
    session = rows["session"].astype(np.int64)
    found = _in_force(attempts, session, rows["order"])
    doubtful = _may_be_too_late(rows)
    if len(doubtful):
        known = attempts["session"].astype(np.int64)
        before = as_of(session[doubtful], rows["order"][doubtful], known, attempts["order"])
        late = _is_too_late(rows.take(doubtful), attempts, before, sessions["last_success"][session[doubtful]])
        found[doubtful[late]] = before[late]
    return found


def _smb_status(rows: Rows) -> Ints:
    """The status of the SMB answer to each row's request, `NONE` where that was not captured; success if the table tells none."""
    names = rows.dtype.names or ()
    if "status" in names:
        return rows["status"].astype(np.int64)
    status = np.full(len(rows), STATUS_SUCCESS, dtype=np.int64)
    if "result" in names:
        status = np.where(rows["result"] == rpc.RESULT_SMB, rows["code"], status)
        status[rows["result"] == rpc.RESULT_NONE] = NONE
    return status


def _may_be_too_late(rows: Rows) -> Ints:
    """Places of requests that met no session, or whose answer was not captured."""
    status = _smb_status(rows)
    return places_of((one_of(status, NO_SUCH_SESSION) | (status < 0)) & (rows["session"] >= 0))


def _is_too_late(rows: Rows, attempts: Rows, before: Ints, last_success: Ints) -> Mask:
    """True for those of `_may_be_too_late` that were asked for after a refused login had ended the session.

    A login that fails on a session that is in use ends it, with its trees and files. [MS-SMB2 3.3.5.5.3] Who meets no
    session behind it has no identity. What was answered otherwise still met the one before: a refused login gives none.
    Where the answer was not captured, a session of SMB 2 is over if nothing on it succeeded any more; SMB 1 has no such rule.

    before: the last attempt on the session before each; last_success: place of the last success on the session.
    """
    late: Mask = before >= 0
    last = attempts.take(before[late])
    told = one_of(_smb_status(rows.compress(late)), NO_SUCH_SESSION)
    over = (last["protocol"] == Protocol.SMB2.value) & (last_success[late] < last["order"])
    late[late] = (last["outcome"] == Outcome.REFUSED.value) & (told | over)
    return late


def call_names(rows: Rows, texts: Texts, pipe_name: Callable[[int], int]) -> tuple[Ints, Ints]:
    """Codes of the resource that each call (`CALL`) uses, and of its operation's name."""
    called = list(zip(rows["protocol"].tolist(), rows["function"].tolist(), rows["name"].tolist(), strict=True))
    named: dict[tuple[int, int, int], tuple[int, int]] = {}
    for protocol, function, name in dict.fromkeys(called):
        if protocol == CallProtocol.RAP:
            operation = knowledge.rap_names().get(function, f"RAP function {function}")
            resource = RESOURCE_RAP
        elif protocol == CallProtocol.DFS:
            operation, resource = "GetDfsReferral", RESOURCE_DFS
        else:
            operation = knowledge.fsctl_names().get(function, f"FSCTL 0x{function:08x}")
            resource = texts.text(pipe_name(name)) or "IPC$"
        named[protocol, function, name] = (texts.code(resource), texts.code(operation))
    columns = np.array([named[call] for call in called], dtype=np.int64).reshape(len(called), 2)
    return columns[:, 0].copy(), columns[:, 1].copy()


def is_housekeeping(calls: Rows) -> Mask:
    """True for calls (`CALL`) that an SMB client makes on its own account."""
    is_fsctl: Mask = calls["protocol"] == CallProtocol.FSCTL.value
    return is_fsctl & is_in(calls["function"], _housekeeping())


@cache
def _housekeeping() -> Ints:
    return np.array(sorted(knowledge.housekeeping()), dtype=np.int64)


def _set_guids(table: Rows, rows: Ints, guids: Rows, places: Ints) -> None:
    """Set those of the GUIDs at `places` that are known."""
    known = places_of(guids["known"][places])
    rows, places = rows[known], places[known]
    table["known"][rows] = True
    for name in ("a", "b"):
        table[name][rows] = guids[name][places]


def _tells(guid: Rows) -> Mask:
    """True for GUIDs that tell machines apart: SMB 2.0.2 clients send zeros."""
    told: Mask = guid["known"] & ((guid["a"] != 0) | (guid["b"] != 0))
    return told


def _worked(status: npt.NDArray[np.generic]) -> Mask:
    found: Mask = (status == STATUS_SUCCESS) | (status == STATUS_BUFFER_OVERFLOW) | (status == DOS_MORE_DATA)
    return found


@cache
def _refusal_codes(rung: str, kind: str) -> tuple[int, ...]:
    return tuple(code for k, code in knowledge.refusals(rung) if k == kind)


def _refused(rows: Rows, rung: str) -> Mask:
    """True where the status says that this may not be done, on the rung of the way there that is meant."""
    status = rows["status"].astype(np.int64)
    dos = rows["dos_status"].copy()
    found = one_of(status, _refusal_codes(rung, "nt")) & ~dos
    if dos.any():
        found |= one_of(status, _refusal_codes(rung, "dos")) & dos
    return found


def _scope(
    protocol: npt.NDArray[np.generic], session: npt.NDArray[np.generic], connection: npt.NDArray[np.generic]
) -> Ints:
    """What tree and file ids belong to: an SMB 2 session, an SMB 1 connection. [MS-SMB2 3.3.1.9; MS-CIFS 2.2.3.1]"""
    return np.where(protocol == Protocol.SMB2.value, session.astype(np.int64) * 2, connection.astype(np.int64) * 2 + 1)


def _followed_by_related(messages: Columns) -> Mask:
    related = np.zeros(len(messages), dtype=bool)
    if len(messages) > 1:
        number = messages["message"]
        related[:-1] = ((messages["flags"][1:] & Flag.RELATED.value) != 0) & (number[1:] == number[:-1])
    return related
