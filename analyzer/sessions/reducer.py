"""Batches to sessions and what was done in them, window by window.

`feed` takes a batch, pairs its messages with those that wait, and works off what is complete: negotiations, logins,
bindings, tree connects, opens, data, calls. What it keeps between windows are rows (`state`) and, of these, the live
ones: trees and files that may still be used, until their connection is over. `finish` decides what only the whole can
tell: sessions whose login was not captured, claims whose answer was not.

Which tree, file and identity a request means is looked up as of its place among the client's requests. Uses of sessions
that are proven to have credentials are counted and dropped, unless all rows are to be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from analyzer import knowledge
from analyzer.records import (
    ANY_FILE,
    PROBLEM,
    Batch,
    CallProtocol,
    Flag,
    Kind,
    Mechanism,
    Protocol,
    Rows,
    TreeKind,
    Way,
)
from analyzer.sessions import identity as who
from analyzer.sessions.identity import ATTEMPT, CREDENTIALED, Confidence, Identity, Outcome, Sign
from analyzer.sessions.joins import NONE, Growing, Ints, as_of, mixed
from analyzer.sessions.numbering import PairNumbers, SessionNumbers
from analyzer.sessions.pairing import Paired, Pairing
from analyzer.sessions.setups import LEG, join_legs, make_attempts, read_legs
from analyzer.sessions.state import CALL, CHANNEL, CONNECTION, DISK, OPEN, SESSION, TREE
from analyzer.sessions.uses import USED, UseCounter
from analyzer.wire.texts import MISSING, Texts

Mask = npt.NDArray[np.bool_]

STATUS_SUCCESS = 0
STATUS_BUFFER_OVERFLOW = 0x80000005
DOS_MORE_DATA = 0x00EA0001  # ERRDOS/ERRmoredata
NO_TREE = (0, 0xFFFF, 0xFFFFFFFF)
MAX_PROBLEMS = 10_000
PIPE_PREFIX = "\\pipe\\"
RESOURCE_RAP = "rap"
RESOURCE_DFS = "dfs"


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
    channels: Rows
    disks: Rows
    uses: Rows
    problems: Rows
    counts: dict[str, int]


class Reducer:
    """See the module. One for each site."""

    def __init__(self, texts: Texts, *, keep_all: bool = False) -> None:
        self.texts = texts
        self._keep_all = keep_all
        self._pairing = Pairing()
        self._numbers = SessionNumbers()
        self._legs: Rows = np.empty(0, dtype=LEG)
        self._connections = Growing(CONNECTION)
        self._pairs = PairNumbers()
        self._sessions = Growing(SESSION)
        self._attempts = Growing(ATTEMPT)
        self._trees = Growing(TREE)
        self._opens = Growing(OPEN)
        self._calls = Growing(CALL)
        self._channels = Growing(CHANNEL)
        self._disks: dict[tuple[int, int], Rows] = {}
        self._uses = UseCounter()
        self._problems: list[Rows] = []
        self._problem_count = 0
        self._names: dict[int, tuple[int, bool]] = {}
        self._shares: dict[int, int] = {}
        self._ipc = texts.code("IPC$")
        self._known_pipes = {texts.code(name) for name in knowledge.pipe_names()}
        self._live_attempts: Ints = np.empty(0, dtype=np.int64)
        self._over_before: Mask = np.empty(0, dtype=bool)

    def feed(self, batch: Batch) -> None:
        """Take in a window."""
        self._note_connections(batch)
        self._note_problems(batch.problems)
        self._work(self._pairing.feed(batch))
        if len(batch.ended):
            self._forget_ended()

    def finish(self) -> Reduced:
        """Decide what is left. The reducer is of no more use afterwards."""
        self._connections.rows["over"] = True
        self._work(self._pairing.finish())
        self._judge_unseen()
        opens = self._settle_opens()
        calls = self._settle_calls()
        return Reduced(
            texts=self.texts,
            connections=self._connections.rows,
            attempts=self._attempts.rows,
            sessions=self._sessions.rows,
            trees=self._trees.rows,
            opens=opens,
            calls=calls,
            channels=self._channels.rows,
            disks=self._settle_disks(),
            uses=self._uses.finish(),
            problems=np.concatenate([np.empty(0, dtype=PROBLEM), *self._problems]),
            counts={"messages_let_go": self._pairing.let_go, "problems": self._problem_count},
        )

    # Connections. #

    def _note_connections(self, batch: Batch) -> None:
        for rows, is_end in ((batch.begun, False), (batch.ended, True)):
            if not len(rows):
                continue
            self._room_for(int(rows["connection"].max()))
            table = self._connections.rows
            where = rows["connection"]
            for name in rows.dtype.names or ():
                table[name][where] = rows[name]
            if is_end:
                table["over"][where] = True
            else:
                table["begun"][where] = True
                table["pair"][where] = self._pairs.number(
                    rows["client_hi"], rows["client_lo"], rows["server_hi"], rows["server_lo"]
                )
        for row in batch.names:
            table = self._connections.rows[row["connection"] : row["connection"] + 1]
            table["calling"] = row["calling"]
            table["called"] = row["called"]

    def _room_for(self, connection: int) -> None:
        missing = connection + 1 - len(self._connections)
        if missing > 0:
            new = np.zeros(missing, dtype=CONNECTION)
            for name in ("dialect", "calling", "called"):
                new[name] = MISSING
            self._connections.add(new)

    def _forget_ended(self) -> None:
        over = self._connections.rows["over"]
        self._over_before = over.copy()
        self._numbers.forget(over)
        self._live_attempts = self._live_attempts[~self._is_gone(self._attempts.rows[self._live_attempts], over)]
        for store in (self._trees, self._opens):
            rows = store.rows
            live = np.flatnonzero(rows["live"])
            rows["live"][live[self._is_gone(rows[live], over)]] = False

    def _forgotten(self, connections: Rows) -> Mask:
        """True for connections that were over before this window."""
        found = connections < len(self._over_before)
        found[found] = self._over_before[connections[found]]
        return found

    def _is_gone(self, rows: Rows, over: Mask) -> Mask:
        """True for what no later message can mean: its connection is over, and its session had no other."""
        gone: Mask = over[rows["connection"]] & ~np.isin(rows["session"], self._channels.rows["session"])
        return gone

    def _note_problems(self, problems: Rows) -> None:
        room = MAX_PROBLEMS - self._problem_count
        self._problem_count += len(problems)
        if room > 0 and len(problems):
            self._problems.append(problems[:room])

    # A window. #

    def _work(self, paired: Paired) -> None:
        self._note_negotiations(paired)
        self._log_in(paired)
        session = self._number(paired)
        self._note_proofs(paired, session)
        self._connect_trees(paired, session)
        tree = self._trees_in_use(paired, session)
        opened = self._open_files(paired, session, tree)
        self._move_data(paired, session, opened)
        self._close_files(paired, session, opened)
        self._note_calls(paired, session, tree)
        self._end_sessions(paired, session)
        self._note_others(paired, session, tree)

    def _note_negotiations(self, paired: Paired) -> None:
        """The last answer decides: a multi-protocol negotiation has two. [MS-SMB2 3.3.5.3]"""
        requests, request_body, request, answer, answer_body = paired.exchanges("negotiate")
        answers = paired.bodies["negotiate_answers"]
        table = self._connections.rows
        connection_of = paired.messages["connection"]
        asked = request_body >= 0
        guids = requests["client_guid"][request_body[asked]]
        table["client_guid"][connection_of[request[asked][guids["known"]]]] = guids[guids["known"]]
        told = np.flatnonzero(answer_body >= 0)
        told = told[np.argsort(paired.messages["order"][answer[told]])]
        order = paired.messages["order"][answer[told]]
        told = told[order >= table["dialect_order"][connection_of[answer[told]]]]
        bodies = answers[answer_body[told]]
        dialects = bodies["dialect"].copy()
        for place in np.flatnonzero((dialects == MISSING) & (request_body[told] >= 0)).tolist():
            offered = (self.texts.text(int(requests["dialects"][request_body[told[place]]])) or "").split("|")
            index = int(bodies["dialect_index"][place])
            dialects[place] = self.texts.code(offered[index]) if index < len(offered) else MISSING
        connection = connection_of[answer[told]]
        table["dialect"][connection] = dialects
        table["dialect_order"][connection] = paired.messages["order"][answer[told]]
        for name in ("signing_required", "share_level"):
            table[name][connection] = bodies[name]
        known = bodies["server_guid"]["known"]
        table["server_guid"][connection[known]] = bodies["server_guid"][known]

    def _log_in(self, paired: Paired) -> None:
        """Join the legs of logins, and add the attempts that are complete; bindings add channels."""
        legs, starts, self._legs = join_legs(self._legs, read_legs(paired), self._connections.rows["over"])
        attempts = make_attempts(legs, starts, self._connections.rows["share_level"], self.texts)
        bindings = attempts[attempts["binding"]]
        attempts = attempts[~attempts["binding"]]
        numbers, new, values = self._numbers.number(attempts["connection"], attempts["session_id"])
        self._add_sessions(attempts[new], len(values))
        # Attempts that were given no session id stand each for themselves.
        alone = np.flatnonzero(numbers < 0)
        numbers[alone] = np.arange(self._numbers.count, self._numbers.count + len(alone))
        self._numbers.count += len(alone)
        self._add_sessions(attempts[alone], len(alone))
        attempts["session"] = numbers
        who.judge(attempts, self.texts)
        self._live_attempts = np.concatenate([self._live_attempts, self._attempts.add(attempts)])
        if len(bindings):
            sessions = self._sessions.rows
            open_sessions = np.flatnonzero(~self._forgotten(sessions["connection"]) & ~sessions["bound"])
            for binding in bindings:
                self._bind(binding, open_sessions)

    def _add_sessions(self, of: Rows, count: int) -> None:
        """Add the sessions that rows with connection, session id and protocol speak of."""
        new = np.zeros(count, dtype=SESSION)
        for name in ("connection", "session_id", "protocol"):
            new[name] = of[name]
        for name in ("first_order", "proof_capture_no", "first_success", "last_success", "first_reuse"):
            new[name] = NONE
        self._sessions.add(new)

    def _bind(self, binding: Rows, among: Ints) -> None:
        """A second connection takes part in one of the sessions `among`. [MS-SMB2 3.3.5.5.2]"""
        connection, session_id = int(binding["connection"]), int(binding["session_id"])
        connections, sessions = self._connections.rows, self._sessions.rows
        here = connections[connection]
        number = NONE
        if binding["status"] == STATUS_SUCCESS or binding["status"] < 0:
            for candidate in among[sessions["session_id"][among] == np.uint64(session_id)].tolist():
                there = connections[sessions["connection"][candidate]]
                same_server = (there["server_hi"] == here["server_hi"] and there["server_lo"] == here["server_lo"]) or (
                    _tells(here["server_guid"]) and there["server_guid"] == here["server_guid"]
                )
                if same_server and sessions["connection"][candidate] != connection:
                    number = candidate
            if number == NONE:
                number = len(sessions)
                self._numbers.count += 1
                self._add_sessions(binding.reshape(1), 1)
                known = self._sessions.rows[number : number + 1]
                known["bound"] = True
                known["first_order"] = binding["order"]
                known["first_ns"] = binding["time_ns"]
                known["proof_capture_no"] = binding["answer_capture_no"]
                known["proof_frame"] = binding["answer_frame"]
                known["signs"] = Sign.BIND_SUCCESS if binding["status"] == STATUS_SUCCESS else 0
            self._numbers.alias(connection, session_id, number)
        row = np.zeros(1, dtype=CHANNEL)
        row["session"] = number
        for name in ("connection", "order", "capture_no", "frame", "status"):
            row[name] = binding[name]
        self._channels.add(row)

    def _number(self, paired: Paired) -> Ints:
        """For each message the number of its session.

        In an SMB 1 chain later elements use ids that its first elements made: the answer has them.
        """
        messages = paired.messages
        chained = ((messages["flags"] & Flag.CHAINED) != 0) & (paired.answer >= 0)
        for name in ("session_id", "tree_id"):
            messages[name][chained] = messages[name][paired.answer[chained]]
        numbers, new, values = self._numbers.number(messages["connection"], messages["session_id"])
        self._add_sessions(messages[new], len(values))
        return numbers

    def _note_proofs(self, paired: Paired, session: Ints) -> None:
        """What each session's messages show, for those whose login was not captured.

        An answer has the place of its request: it may have been captured before that.
        """
        messages = paired.messages
        order = messages["order"].copy()
        asked = np.flatnonzero(paired.answer >= 0)
        order[paired.answer[asked]] = order[asked]
        rows = self._sessions.rows
        connections = self._connections.rows
        kind = messages["kind"]
        inside = (session >= 0) & (kind != Kind.SETUP) & (kind != Kind.NEGOTIATE) & paired.ready
        encrypted = inside & (kind == Kind.ENCRYPTED)
        good = inside & messages["from_server"] & _worked(messages["status"]) & ~encrypted
        np.add.at(connections["encrypted"], messages["connection"][encrypted], 1)
        for chosen, name in ((inside, "first_order"), (good, "first_success")):
            _keep_least(rows[name], session[chosen], order[chosen])
        np.maximum.at(rows["last_success"], session[good], order[good])
        reuse = inside & ~messages["from_server"] & ~np.isin(messages["tree_id"], NO_TREE)
        _keep_least(rows["first_reuse"], session[reuse], order[reuse])
        at = np.flatnonzero(inside)
        first = at[np.unique(session[at], return_index=True)[1]]
        unknown = first[rows["first_ns"][session[first]] == 0]
        rows["first_ns"][session[unknown]] = messages["time_ns"][unknown]
        proof = np.flatnonzero(good | encrypted)
        proof = proof[np.unique(session[proof], return_index=True)[1]]
        proof = proof[rows["proof_capture_no"][session[proof]] < 0]
        for name in ("capture_no", "frame", "place"):
            rows[f"proof_{name}"][session[proof]] = messages[name][proof]
        signed = inside & ((messages["flags"] & Flag.SIGNED) != 0)
        is_311 = connections["dialect"][messages["connection"]] == self.texts.code("3.1.1")
        plain_tree = good & (kind == Kind.TREE_CONNECT) & ~signed & is_311
        for chosen, sign in (
            (signed, Sign.HINT_SIGNED),
            (encrypted, Sign.HINT_ENCRYPTED),
            (plain_tree, Sign.HINT_UNSIGNED_311),
        ):
            rows["signs"][session[chosen]] |= np.uint64(sign)

    def _has_credentials(self, rows: Rows) -> Mask:
        """True where the identity in force at each row's place is proven to have credentials, as far as is known."""
        session = rows["session"].astype(np.int64)
        attempt = _in_force(self._attempts.rows, self._live_attempts, session, rows["order"])
        identities = np.append(self._attempts.rows["identity"], np.uint8(Identity.UNKNOWN))[attempt]
        bound = np.append((self._sessions.rows["signs"] & np.uint64(Sign.BIND_SUCCESS)) != 0, False)[session]
        found: Mask = np.isin(identities, CREDENTIALED) | ((attempt < 0) & bound)
        return found

    def _exchange_rows(
        self, paired: Paired, session: Ints, request: Ints, answer: Ints, record: np.dtype[np.void]
    ) -> Rows:
        """Rows of a kind of thing with what all of them have: whose, where, and the answer's status."""
        messages = paired.messages
        rows = np.zeros(len(request), dtype=record)
        asked, answered = request >= 0, answer >= 0
        any_message = np.where(asked, request, answer)
        rows["session"] = session[any_message]
        for name in ("connection", "order", "place", "time_ns"):
            rows[name] = messages[name][any_message]
        rows["capture_no"] = rows["frame"] = rows["answer_capture_no"] = rows["answer_frame"] = NONE
        for name in ("capture_no", "frame"):
            rows[name][asked] = messages[name][request[asked]]
            rows[f"answer_{name}"][answered] = messages[name][answer[answered]]
        rows["status"] = NONE
        rows["status"][answered] = messages["status"][answer[answered]]
        rows["dos_status"][answered] = (messages["flags"][answer[answered]] & Flag.DOS_STATUS) != 0
        return rows

    def _connect_trees(self, paired: Paired, session: Ints) -> None:
        requests, request_body, request, answer, answer_body = paired.exchanges("tree")
        failed = paired.failed(Kind.TREE_CONNECT)
        if len(failed):
            request = np.concatenate([request, np.full(len(failed), NONE)])
            request_body = np.concatenate([request_body, np.full(len(failed), NONE)])
            answer = np.concatenate([answer, failed])
            answer_body = np.concatenate([answer_body, np.full(len(failed), NONE)])
        messages, answers = paired.messages, paired.bodies["tree_answers"]
        rows = self._exchange_rows(paired, session, request, answer, TREE)
        if not len(rows):
            return
        asked = request_body >= 0
        rows["path"] = MISSING
        rows["path"][asked] = requests["path"][request_body[asked]]
        rows["password_size"][asked] = requests["password_size"][request_body[asked]]
        success = rows["status"] == STATUS_SUCCESS
        told = answer_body >= 0
        rows["kind"][told] = np.minimum(answers["kind"][answer_body[told]], TreeKind.PRINT)
        shares = [self._share_of(path) for path in rows["path"].tolist()]
        is_ipc = np.array([share == self._ipc for share in shares], dtype=bool)
        rows["kind"] = np.where((rows["kind"] == TreeKind.UNKNOWN) & is_ipc, TreeKind.PIPE, rows["kind"])
        rows["tree_id"] = NONE
        rows["tree_id"][success] = messages["tree_id"][answer[success]]
        protocol = messages["protocol"][np.where(request >= 0, request, answer)]
        rows["scope"] = _scope(protocol, rows["session"], rows["connection"])
        rows["live"] = success
        self._trees.add(rows[np.argsort(rows["order"], kind="stable")])
        self._count_uses(rows, np.array(shares, dtype=np.int64), "tree_connect")

    def _share_of(self, path: int) -> int:
        """The code of the share that a path names, in upper case."""
        if path not in self._shares:
            text = self.texts.text(path)
            self._shares[path] = MISSING if text is None else self.texts.code(text.rpartition("\\")[2].upper())
        return self._shares[path]

    def _count_uses(
        self, rows: Rows, resources: Ints, rung: str, operations: Ints | None = None, which: Mask | None = None
    ) -> Mask:
        """Count answered uses by sessions with credentials, and remember anonymous refusals.

        which: those that count as uses at all. Returns which rows are credentialed.
        """
        credentialed = self._has_credentials(rows)
        named = resources >= 0 if which is None else which & (resources >= 0)
        operations = np.full(len(rows), MISSING, dtype=np.int64) if operations is None else operations
        refused = named & ~credentialed & _refused(rows, rung)
        self._uses.refused(self._used(rows[refused], resources[refused], operations[refused]))
        used = named & credentialed & (rows["status"] >= 0)
        self._uses.add(self._used(rows[used], resources[used], operations[used]))
        return credentialed

    def _trees_in_use(self, paired: Paired, session: Ints) -> Ints:
        messages = paired.messages
        trees = self._trees.rows
        live = np.flatnonzero(trees["live"])
        scope = _scope(messages["protocol"], session, messages["connection"])
        wanted = np.flatnonzero((messages["tree_id"] != NO_TREE[-1]) & ~messages["from_server"] & paired.ready)
        found = np.full(len(messages), NONE, dtype=np.int64)
        at = as_of(
            _tree_key(scope[wanted], messages["tree_id"][wanted]),
            messages["order"][wanted],
            _tree_key(trees["scope"][live], trees["tree_id"][live]),
            trees["order"][live],
        )
        found[wanted[at >= 0]] = live[at[at >= 0]]
        return found

    def _used(self, rows: Rows, resources: Ints, operations: Ints) -> Rows:
        connections = self._connections.rows[rows["connection"]]
        used = np.zeros(len(rows), dtype=USED)
        used["pair"] = connections["pair"]
        used["connection"] = rows["connection"]
        guid = connections["client_guid"]
        used["guid"] = np.where(_tells(guid), mixed(guid["a"], guid["b"]), 0)
        used["resource"] = resources
        used["interface"] = MISSING
        used["operation"] = operations
        used["time_ns"] = rows["time_ns"]
        used["succeeded"] = _worked(rows["status"])
        used["capture_no"] = rows["capture_no"]
        used["frame"] = rows["frame"]
        return used

    def _open_files(self, paired: Paired, session: Ints, tree: Ints) -> dict[int, int]:
        """Add the opens; returns, for opens in compounds, which row a message's file is."""
        requests, request_body, request, answer, answer_body = paired.exchanges("open")
        if not len(request):
            return {}
        messages, answers = paired.messages, paired.bodies["open_answers"]
        rows = self._exchange_rows(paired, session, request, answer, OPEN)
        any_message = np.where(request >= 0, request, answer)
        rows["tree"] = tree[any_message]
        asked, told = request_body >= 0, answer_body >= 0
        rows["name"] = MISSING
        for name in ("name", "via", "access_mask"):
            rows[name][asked] = requests[name][request_body[asked]]
        is_pipe = np.zeros(len(rows), dtype=bool)
        is_pipe[told] = answers["is_pipe"][answer_body[told]]
        for name in ("file_hi", "file_lo"):
            rows[name][told] = answers[name][answer_body[told]]
        rows["scope"] = _scope(messages["protocol"][any_message], rows["session"], rows["connection"])
        rows["closed_ns"] = NONE
        kind = np.append(self._trees.rows["kind"], np.uint8(TreeKind.UNKNOWN))[rows["tree"]]
        names = [self._pipe_name(int(name)) for name in rows["name"].tolist()]
        prefixed = np.array([prefix for _, prefix in names], dtype=bool)
        known = np.array([code in self._known_pipes for code, _ in names], dtype=bool)
        rows["name"] = np.where(kind == TreeKind.DISK, rows["name"], [code for code, _ in names])
        unknown = kind == TreeKind.UNKNOWN
        rows["sure"] = (kind == TreeKind.PIPE) | (unknown & (is_pipe | prefixed | known))
        may_be = rows["sure"] | unknown
        rows["live"] = told & may_be
        credentialed = self._count_uses(rows, rows["name"].astype(np.int64), "open", which=rows["sure"])
        kept = may_be & (~credentialed | self._keep_all)
        on_disk = np.flatnonzero(~may_be & ~credentialed)
        self._note_disk(rows[on_disk])
        order = np.flatnonzero(kept)[np.argsort(rows["order"][kept], kind="stable")]
        places = self._opens.add(rows[order])
        in_compound = (messages["flags"][any_message[order]] & Flag.RELATED) != 0
        followed = _followed_by_related(messages)[any_message[order]]
        chosen = np.flatnonzero(in_compound | followed)
        return dict(zip(messages["message"][any_message[order[chosen]]].tolist(), places[chosen].tolist(), strict=True))

    def _pipe_name(self, name: int) -> tuple[int, bool]:
        """The code of a pipe's name as the tables write it, and whether the client wrote the prefix `\\PIPE\\`."""
        found = self._names.get(name)
        if found is None:
            text = self.texts.text(name)
            bare, prefixed = bare_pipe_name(text or "")
            found = self._names[name] = (MISSING if text is None else self.texts.code(bare), prefixed)
        return found

    def _note_disk(self, rows: Rows) -> None:
        """Count opens on disk shares by session and tree, with a few names."""
        if not len(rows):
            return
        group = mixed(rows["session"], rows["tree"])
        order = np.lexsort((rows["order"], group))
        rows, group = rows[order], group[order]
        begins = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
        succeeded = np.add.reduceat(_worked(rows["status"]).astype(np.int64), begins)
        denied = np.add.reduceat(_refused(rows, "open").astype(np.int64), begins)
        for place, (begin, end) in enumerate(pairwise([*begins.tolist(), len(rows)])):
            key = (int(rows["session"][begin]), int(rows["tree"][begin]))
            if key not in self._disks:
                self._disks[key] = np.zeros(1, dtype=DISK)
                self._disks[key]["samples"] = MISSING
                for name in ("session", "connection", "order", "tree"):
                    self._disks[key][name] = rows[name][begin]
            disk = self._disks[key]
            disk["opens"] += end - begin
            disk["succeeded"] += succeeded[place]
            disk["denied"] += denied[place]
            samples = [name for name in disk["samples"][0].tolist() if name >= 0]
            new = [
                name for name in dict.fromkeys(rows["name"][begin:end].tolist()) if name >= 0 and name not in samples
            ]
            samples = [*samples, *new][:5]
            disk["samples"][0, : len(samples)] = samples

    def _files(self, paired: Paired, session: Ints, rows: Rows, request: Ints, opened: dict[int, int]) -> Ints:
        """The row of the open that each request's file id means, `NONE` if it is not known or not kept."""
        messages = paired.messages
        opens = self._opens.rows
        live = np.flatnonzero(opens["live"])
        scope = _scope(messages["protocol"][request], session[request], messages["connection"][request])
        at = as_of(
            mixed(scope, rows["file_hi"], rows["file_lo"]),
            messages["order"][request],
            mixed(opens["scope"][live], opens["file_hi"][live], opens["file_lo"][live]),
            opens["order"][live],
        )
        found = np.where(at >= 0, live[at] if len(live) else NONE, NONE)
        chained = np.flatnonzero((rows["file_lo"] == ANY_FILE) & ((messages["flags"][request] & Flag.RELATED) != 0))
        for place in chained.tolist():
            found[place] = opened.get(int(messages["message"][request[place]]), NONE)
        return found

    def _move_data(self, paired: Paired, session: Ints, opened: dict[int, int]) -> None:
        """Add the bytes that moved to the opens that they moved on. Bytes of requests that failed did not move."""
        requests, request_body, request, answer, answer_body = paired.exchanges("data")
        with_request = np.flatnonzero(request_body >= 0)
        if not len(with_request):
            return
        request_body, request = request_body[with_request], request[with_request]
        answer, answer_body = answer[with_request], answer_body[with_request]
        messages, answers = paired.messages, paired.bodies["data_answers"]
        rows = requests[request_body]
        file = self._files(paired, session, rows, request, opened)
        status = np.where(answer >= 0, messages["status"][answer], STATUS_SUCCESS)
        moved = _worked(status)
        opens = self._opens.rows
        known = file >= 0
        wrote = known & moved
        np.add.at(opens["bytes_written"], file[wrote], rows["bytes"][wrote])
        has_answer = known & moved & (answer_body >= 0)
        np.add.at(opens["bytes_read"], file[has_answer], answers["bytes"][answer_body[has_answer]])
        opens["sure"][file[known & moved & (rows["way"] == Way.TRANSACT)]] = True
        stray = ~known & moved & (answer >= 0) & (session[request] >= 0)
        np.add.at(self._sessions.rows["stray_data"], session[request][stray], 1)

    def _close_files(self, paired: Paired, session: Ints, opened: dict[int, int]) -> None:
        closes = paired.bodies["close_requests"]
        closes = closes[paired.ready[closes["row"]]]
        request = closes["row"].astype(np.int64)
        if not len(request):
            return
        file = self._files(paired, session, closes, request, opened)
        known = file >= 0
        opens = self._opens.rows
        opens["closed_ns"][file[known]] = paired.messages["time_ns"][request[known]]

    def _note_calls(self, paired: Paired, session: Ints, tree: Ints) -> None:
        """Operations that need no open: RAP, DFS referrals, FSCTLs."""
        requests, request_body, request, answer, answer_body = paired.exchanges("call")
        with_request = np.flatnonzero(request_body >= 0)
        if not len(with_request):
            return
        request_body, request = request_body[with_request], request[with_request]
        answer, answer_body = answer[with_request], answer_body[with_request]
        answers = paired.bodies["call_answers"]
        rows = self._exchange_rows(paired, session, request, answer, CALL)
        rows["tree"] = tree[request]
        for name in ("protocol", "function", "name"):
            rows[name] = requests[name][request_body]
        rows["code"] = NONE
        told = answer_body >= 0
        rows["code"][told] = answers["code"][answer_body[told]]
        rows["code"] = np.where(rows["protocol"] == CallProtocol.RAP, rows["code"], NONE)
        kind = np.append(self._trees.rows["kind"], np.uint8(TreeKind.UNKNOWN))[rows["tree"]]
        on_files = (kind == TreeKind.DISK) | (kind == TreeKind.PRINT)
        is_use = ~on_files & ~is_housekeeping(rows)
        credentialed = self._count_uses(rows, *self._call_names(rows), is_use)
        self._calls.add(rows[(~credentialed | self._keep_all) & ~on_files])

    def _call_names(self, rows: Rows) -> tuple[Ints, str, Ints]:
        """What `_count_uses` wants of calls."""
        resources, operations = call_names(rows, self.texts, lambda name: self._pipe_name(name)[0])
        return resources, "call", operations

    def _end_sessions(self, paired: Paired, session: Ints) -> None:
        """A LOGOFF ends the period in force; trees and files of SMB 2 sessions end with it."""
        messages = paired.messages
        logoff = np.flatnonzero(
            (messages["kind"] == Kind.LOGOFF) & ~messages["from_server"] & paired.ready & (session >= 0)
        )
        if len(logoff):
            attempt = _in_force(self._attempts.rows, self._live_attempts, session[logoff], messages["order"][logoff])
            known = attempt >= 0
            self._attempts.rows["ended_ns"][attempt[known]] = messages["time_ns"][logoff[known]]

    def _note_others(self, paired: Paired, session: Ints, tree: Ints) -> None:
        """Count what else succeeded on IPC$: something was done there, though it is not known what."""
        messages = paired.messages
        kind = np.append(self._trees.rows["kind"], np.uint8(TreeKind.UNKNOWN))[tree]
        asked = (messages["kind"] == Kind.OTHER) & ~messages["from_server"] & paired.ready & (paired.answer >= 0)
        at = np.flatnonzero(asked & (session >= 0) & (kind == TreeKind.PIPE))
        at = at[_worked(messages["status"][paired.answer[at]])]
        np.add.at(self._sessions.rows["others"], session[at], 1)

    # The end. #

    def _judge_unseen(self) -> None:
        """Sessions without a captured login get a row if their use proves them; claims without an answer a verdict."""
        sessions = self._sessions.rows
        self._judge_unanswered()
        attempts = self._attempts.rows
        first_attempt = np.full(len(sessions), np.iinfo(np.int64).max)
        np.minimum.at(first_attempt, attempts["session"], attempts["order"])
        used_before = (sessions["first_order"] >= 0) & (sessions["first_order"] < first_attempt)
        proven_before = ((sessions["first_success"] >= 0) & (sessions["first_success"] < first_attempt)) | (
            (sessions["signs"] & np.uint64(Sign.HINT_ENCRYPTED | Sign.BIND_SUCCESS)) != 0
        )
        unseen = np.flatnonzero(used_before & proven_before & (sessions["proof_capture_no"] >= 0))
        rows = _blank_attempts(len(unseen))
        known = sessions[unseen]
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
        self._judge_loginless()
        self._live_attempts = np.arange(len(self._attempts))

    def _judge_loginless(self) -> None:
        """SMB 1 servers that protect shares and not users may be used without a login: by anybody. [MS-CIFS 3.2.4.2.4]"""
        connections, trees = self._connections.rows, self._trees.rows
        logged_in = np.zeros(len(connections), dtype=bool)
        logged_in[self._attempts.rows["connection"]] = True
        anybody = connections["share_level"] & ~logged_in
        connected = np.flatnonzero(
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
        rows["session"] = np.arange(len(self._sessions), len(self._sessions) + len(where))
        password = np.isin(where, trees["connection"][trees["password_size"] > 1])
        rows["signs"] = np.where(password, Sign.SMB1_SHARE_LEVEL | Sign.SMB1_TREE_PASSWORD, Sign.SMB1_SHARE_LEVEL)
        rows["identity"] = np.where(password, Identity.UNKNOWN, Identity.ANONYMOUS)
        rows["confidence"] = np.where(password, Confidence.NONE, Confidence.STRONG)
        self._add_sessions(rows, len(rows))
        self._attempts.add(rows)
        session_of = np.full(len(connections), NONE, dtype=np.int64)
        session_of[where] = rows["session"]
        for store in (self._trees, self._opens, self._calls):
            things = store.rows
            mine = (things["session"] < 0) & (session_of[things["connection"]] >= 0)
            things["session"][mine] = session_of[things["connection"][mine]]

    def _judge_unanswered(self) -> None:
        """A claim whose answer was not captured succeeded if what came after it did."""
        attempts, sessions = self._attempts.rows, self._sessions.rows
        order = np.lexsort((attempts["order"], attempts["session"]))
        following = np.full(len(attempts), np.iinfo(np.int64).max)
        same = attempts["session"][order[1:]] == attempts["session"][order[:-1]]
        following[order[:-1][same]] = attempts["order"][order[1:][same]]
        open_ended = np.flatnonzero(attempts["outcome"] == Outcome.UNANSWERED)
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
        who.judge(attempts, self.texts)

    def _note_tree_passwords(self) -> None:
        """On a share-level server a password may come with the tree connect: then nobody knows who it was."""
        trees = self._trees.rows
        with_password = trees[trees["password_size"] > 1]
        attempts = self._attempts.rows
        everything = np.arange(len(attempts))
        attempt = _in_force(attempts, everything, with_password["session"].astype(np.int64), with_password["order"])
        attempts["signs"][attempt[attempt >= 0]] |= np.uint64(Sign.SMB1_TREE_PASSWORD)

    def _find_elsewhere(self, rows: Rows) -> None:
        """The same id of the same client and server, set up on another connection: that identity.

        Some servers number the sessions of each connection from the start, so the id alone proves nothing.
        """
        attempts, connections = self._attempts.rows, self._connections.rows
        accepted = np.flatnonzero((attempts["outcome"] == Outcome.ACCEPTED) & (attempts["protocol"] == Protocol.SMB2))
        pair = connections["pair"]
        theirs = mixed(pair[attempts["connection"][accepted]], attempts["session_id"][accepted])
        mine = mixed(pair[rows["connection"]], rows["session_id"])
        for place in np.flatnonzero(np.isin(mine, theirs) & (rows["protocol"] == Protocol.SMB2)).tolist():
            # A later login on the same connection says nothing about who used the id before it.
            same = accepted[(theirs == mine[place]) & (attempts["connection"][accepted] != rows["connection"][place])]
            if not len(same):
                continue
            before = same[attempts["order"][same] < rows["order"][place]]
            other = attempts[before[-1] if len(before) else same[0]]
            guid, other_guid = (
                connections["client_guid"][rows["connection"][place]],
                connections["client_guid"][other["connection"]],
            )
            if _tells(guid) and _tells(other_guid) and guid != other_guid:
                continue
            rows["signs"][place] |= np.uint64(Sign.SETUP_ELSEWHERE)
            if other["identity"] != Identity.UNKNOWN:
                rows["confidence"][place] = Confidence.STRONG
            for name in ("identity", "asked", "user", "domain", "workstation", "mechanism"):
                rows[name][place] = other[name]

    def _settle_opens(self) -> Rows:
        """The opens to keep: those that are no pipes go to the disk shares, those with credentials to the counts."""
        opens = self._opens.rows
        credentialed = self._has_credentials(opens)
        self._note_disk(opens[~opens["sure"] & ~credentialed])
        if self._keep_all:
            return opens[opens["sure"]]
        late = opens[opens["sure"] & credentialed]
        self._count_uses(late, late["name"].astype(np.int64), "open")
        return opens[opens["sure"] & ~credentialed]

    def _settle_calls(self) -> Rows:
        calls = self._calls.rows
        if self._keep_all:
            return calls
        credentialed = self._has_credentials(calls)
        late = calls[credentialed]
        self._count_uses(late, *self._call_names(late), ~is_housekeeping(late))
        return calls[~credentialed]

    def _settle_disks(self) -> Rows:
        if not self._disks:
            return np.empty(0, dtype=DISK)
        disks = np.concatenate(list(self._disks.values()))
        return disks[~self._has_credentials(disks)]


def _blank_attempts(count: int) -> Rows:
    """Attempts of which nothing is known yet."""
    rows = np.zeros(count, dtype=ATTEMPT)
    for name in (
        "user",
        "domain",
        "workstation",
        "build",
        "native_os",
        "native_lanman",
        "server_name",
        "server_domain",
    ):
        rows[name] = MISSING
    for name in ("capture_no", "frame", "status", "session_flags", "ntlm_flags", "ended_ns"):
        rows[name] = NONE
    return rows


def _in_force(attempts: Rows, among: Ints, session: Ints, order: Ints) -> Ints:
    """The last attempt on each session before each place that may have succeeded; if there is none, the last one."""
    found = np.full(len(session), NONE, dtype=np.int64)
    for places in (among[attempts["outcome"][among] != Outcome.REFUSED], among):
        missing = np.flatnonzero((found < 0) & (session >= 0))
        if len(missing):
            known = attempts["session"][places].astype(np.int64)
            at = as_of(session[missing], order[missing], known, attempts["order"][places])
            found[missing[at >= 0]] = places[at[at >= 0]]
    return found


def in_force(reduced: Reduced, rows: Rows) -> Ints:
    """For each tree, open, call ... the attempt whose identity it carries, `NONE` if its session is not known."""
    everything = np.arange(len(reduced.attempts))
    return _in_force(reduced.attempts, everything, rows["session"].astype(np.int64), rows["order"])


def call_names(rows: Rows, texts: Texts, pipe_name: Callable[[int], int]) -> tuple[Ints, Ints]:
    """Codes of the resource that each call (`CALL`) uses, and of its operation's name."""
    resources, operations = [], []
    columns = (rows["protocol"].tolist(), rows["function"].tolist(), rows["name"].tolist())
    for protocol, function, name in zip(*columns, strict=True):
        if protocol == CallProtocol.RAP:
            operation = knowledge.rap_names().get(function, f"RAP function {function}")
            resource = RESOURCE_RAP
        elif protocol == CallProtocol.DFS:
            operation, resource = "GetDfsReferral", RESOURCE_DFS
        else:
            operation = knowledge.fsctl_names().get(function, f"FSCTL 0x{function:08x}")
            resource = texts.text(pipe_name(name)) or "IPC$"
        resources.append(texts.code(resource))
        operations.append(texts.code(operation))
    return np.array(resources, dtype=np.int64), np.array(operations, dtype=np.int64)


def is_housekeeping(calls: Rows) -> Mask:
    """True for calls (`CALL`) that an SMB client makes on its own account."""
    is_fsctl: Mask = calls["protocol"] == CallProtocol.FSCTL
    return is_fsctl & np.isin(calls["function"], list(knowledge.housekeeping()))


def bare_pipe_name(text: str) -> tuple[str, bool]:
    """A pipe's name as the tables write it, and whether the client wrote the prefix `\\PIPE\\`."""
    lower = "\\" + text.lower().rstrip("\0").lstrip("\\")
    prefixed = lower.startswith(PIPE_PREFIX)
    return (lower.removeprefix(PIPE_PREFIX) if prefixed else lower).lstrip("\\"), prefixed


def _tells(guid: Rows) -> Mask:
    """True for GUIDs that tell machines apart: SMB 2.0.2 clients send zeros."""
    told: Mask = guid["known"] & ((guid["a"] != 0) | (guid["b"] != 0))
    return told


def _keep_least(column: npt.NDArray[np.int64], places: Ints, values: Ints) -> None:
    """Set each item of a column to the least of its own value and those for its place; below 0 it has none."""
    least = np.full(len(column), np.iinfo(np.int64).max)
    np.minimum.at(least, places, values)
    touched = np.unique(places)
    column[touched] = np.where(column[touched] < 0, least[touched], np.minimum(column[touched], least[touched]))


def _worked(status: npt.NDArray[np.generic]) -> Mask:
    found: Mask = (status == STATUS_SUCCESS) | (status == STATUS_BUFFER_OVERFLOW) | (status == DOS_MORE_DATA)
    return found


def _refused(rows: Rows, rung: str) -> Mask:
    codes = {kind: [code for k, code in knowledge.refusals(rung) if k == kind] for kind in ("nt", "dos")}
    return np.where(rows["dos_status"], np.isin(rows["status"], codes["dos"]), np.isin(rows["status"], codes["nt"]))


def _scope(protocol: Rows, session: Rows, connection: Rows) -> Ints:
    """What tree and file ids belong to: an SMB 2 session, an SMB 1 connection. [MS-SMB2 3.3.1.9; MS-CIFS 2.2.3.1]"""
    return np.where(protocol == Protocol.SMB2, session.astype(np.int64) * 2, connection.astype(np.int64) * 2 + 1)


def _tree_key(scope: Ints, tree_id: npt.NDArray[np.generic]) -> Ints:
    return (scope << 32) | (tree_id.astype(np.int64) & 0xFFFFFFFF)


def _followed_by_related(messages: Rows) -> Mask:
    related = np.zeros(len(messages), dtype=bool)
    if len(messages) > 1:
        related[:-1] = ((messages["flags"][1:] & Flag.RELATED) != 0) & (
            messages["message"][1:] == messages["message"][:-1]
        )
    return related
