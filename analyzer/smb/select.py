"""The compiled way from segments to selected messages, and the choice of which messages matter.

A file server's capture is nearly all file data. So every message is looked at only as far as its first 64 bytes, and
what is kept is decided there: negotiations, session setups, tree connects and opens whole; the traffic of pipes; of a
tree whose kind is not known (its connect was not captured) the first 4 KB of each message; nothing of file data. To
know pipes from files the selector remembers the kind of each tree from the answer to its connect.

`follow` is the loop that joins the rooms: find the connection, put the stream in order, frame, select.
"""

from __future__ import annotations

from analyzer.capture.packets import (
    T_FILE,
    T_FLAGS,
    T_FRAME,
    T_HAVE,
    T_SEQ,
    T_SIZE,
    T_TIME,
    TCP_RST,
    TCP_SYN,
)
from analyzer.compiled import Bytes, Ints, Table, entry, kernel
from analyzer.transport.flows import (
    BLOCK,
    D_BYTES,
    D_FILE,
    D_FRAME,
    D_HAVE,
    D_HEAD,
    D_LEFT,
    D_NEED,
    D_NEXT,
    D_PHASE,
    D_POSITION,
    D_QUEUE,
    D_RAW,
    D_SIZE,
    D_STRAYS,
    D_TAIL,
    D_TIME,
    D_UNPARSED,
    D_WIDTH,
    F_CONNECTION,
    F_DIRECTIONS,
    F_LAST_TIME,
    F_NEXT,
    F_STATE,
    F_TREES,
    FS_CLIENT_DATA,
    FS_CLIENT_FIN,
    FS_IN_USE,
    FS_REPLACED,
    FS_RESET,
    FS_SERVER_DATA,
    FS_SERVER_FIN,
    FS_SYN_ACK,
    G_ARENA,
    G_FLOWS_USED,
    G_FREE_FLOW,
    G_FREE_TREE,
    G_GIVEN_UP,
    G_MESSAGES,
    G_NUMBER,
    G_ROWS_DROPPED,
    G_SEALED_WHOLE,
    G_TREES_FORGOTTEN,
    NOT_STORED,
    PHASE_BODY,
    PHASE_HEAD,
    PHASE_LOST,
    PHASE_SKIP,
    PHASE_START,
    PIECE_ACK,
    PIECE_AT,
    PIECE_BLOCK,
    PIECE_FILE,
    PIECE_FRAME,
    PIECE_GAP,
    PIECE_HAVE,
    PIECE_TIME,
    TREE_ID,
    TREE_KIND,
    TREE_NEXT,
    TREE_SESSION,
    Memory,
    acknowledged,
    find_flow,
    free_blocks,
    known_flow,
    note_segment,
    take_block,
    unlink,
)
from analyzer.transport.messages import (
    ARENA_SPARE,
    M_BODY,
    M_COMMAND,
    M_CONNECTION,
    M_END,
    M_FILE,
    M_FLAGS,
    M_FRAME,
    M_FROM_SERVER,
    M_HEADER,
    M_MESSAGE,
    M_PLACE,
    M_POSITION,
    M_PROTOCOL,
    M_SIZE,
    M_TIME,
    MF_CUT,
    MF_MORE,
    PROBLEM_COMPOUND,
    PROBLEM_CUT,
    PROBLEM_GAP,
    PROBLEM_GIVEN_UP,
    PROBLEM_NOT_SMB,
    PROTOCOL_COMPRESSED,
    PROTOCOL_ENCRYPTED,
    PROTOCOL_NETBIOS,
    PROTOCOL_PROBLEM,
    PROTOCOL_SMB1,
    PROTOCOL_SMB2,
)
from analyzer.transport.netbios import HEADER_SIZE, packet_size, seek_message
from analyzer.transport.streams import arrange, release_first, release_ready
from analyzer.wire.loads import byte, copy_bytes, le16, le32, le64

KEEP_WHOLE = 0x11000
"""The most that is kept of one message: the 64 KB that a security blob or an RPC fragment can take, and its headers."""
KEEP_UNKNOWN = 4096
KEEP_HEADER = 128
HEAD = 64
"""Bytes of a message that are looked at before its fate is decided."""

ROOM_BYTES = 512 * 1024
ROOM_ROWS = 16_384
"""What one segment may need at most in arena and table: `follow` stops before it could run out."""
MAX_COMPOUND = 512
MAX_CHAIN = 16

KIND_UNKNOWN = 0
KIND_DISK = 1  # the values of SMB2 ShareType [MS-SMB2 2.2.10]
KIND_PIPE = 2
KIND_PRINT = 3

SMB2_TREE_CONNECT = 3
SMB2_TREE_DISCONNECT = 4
SMB2_CREATE = 5
SMB2_CLOSE = 6
SMB2_READ = 8
SMB2_WRITE = 9
SMB2_LOCK = 10
SMB2_IOCTL = 11
SMB2_CANCEL = 12
SMB2_ECHO = 13
SMB2_OPLOCK_BREAK = 18
SMB2_FLAGS_ASYNC = 2
SMB2_FLAGS_RELATED = 4
STATUS_PENDING = 0x103

SMB1_CLOSE = 0x04
SMB1_READ = 0x0A
SMB1_WRITE = 0x0B
SMB1_LOCK_AND_READ = 0x13
SMB1_WRITE_AND_UNLOCK = 0x14
SMB1_READ_RAW = 0x1A
SMB1_READ_MPX = 0x1B
SMB1_WRITE_RAW = 0x1D
SMB1_WRITE_MPX = 0x1E
SMB1_WRITE_AND_CLOSE = 0x2C
SMB1_LOCKING = 0x24
SMB1_TRANSACTION = 0x25
SMB1_TRANSACTION_SECONDARY = 0x26
SMB1_ECHO = 0x2B
SMB1_OPEN_ANDX = 0x2D
SMB1_READ_ANDX = 0x2E
SMB1_WRITE_ANDX = 0x2F
SMB1_TRANSACTION2 = 0x32
SMB1_TRANSACTION2_SECONDARY = 0x33
SMB1_TREE_CONNECT = 0x70
SMB1_NEGOTIATE = 0x72
SMB1_SESSION_SETUP = 0x73
SMB1_LOGOFF = 0x74
SMB1_TREE_CONNECT_ANDX = 0x75
SMB1_NT_TRANSACT = 0xA0
SMB1_NT_TRANSACT_SECONDARY = 0xA1
SMB1_NT_CREATE = 0xA2
SMB1_NT_CANCEL = 0xA4
NO_ANDX = 0xFF

MAX_RAW = 65_535
"""Bytes of raw data at most: both requests count them in 16 bits."""
MAX_TREES = 256
"""Trees whose kind is remembered for one connection; beyond that the one that was not used for longest is forgotten."""


@entry
def follow(m: Memory, buf: Bytes, segments: Table, first: int, n: int) -> int:
    """Take the segments `first` to `n` - 1, in order; returns the row to go on with, `n` when done.

    Less than `n`: the window is full and must be emptied, or (`G_FREE_FLOW` is -1) there is no room for a connection.
    """
    full = 1 - has_room(m)
    for row in range(first, n):
        if full:
            return row
        found = known_flow(m.flows, m.buckets, segments, row)
        if found < 0 or segments[row, T_FLAGS] & TCP_SYN:
            found = find_flow(m, buf, segments, row, found)
            if found == -2:
                return row
        if found >= 0:
            f = found // 2
            d = found % 2
            note_segment(m.flows, segments, row, f, d)
            if segments[row, T_SIZE] == 0 or pass_over(m.flows, segments, row, f, d):
                continue
            pieces = arrange(m, buf, segments, row, f, d)
            if pieces > 0:
                read_pieces(m, buf, f, d, pieces)
                full = 1 - has_room(m)
    return n


@kernel
def pass_over(flows: Table, segments: Table, row: int, f: int, d: int) -> int:
    """The quick way for file data: 1 if the segment is in order and lies wholly inside a message that is passed over."""
    base = F_DIRECTIONS + d * D_WIDTH
    size = segments[row, T_SIZE]
    if (
        flows[f, base + D_PHASE] != PHASE_SKIP
        or segments[row, T_SEQ] != flows[f, base + D_NEXT]
        or size >= flows[f, base + D_LEFT]
        or size != segments[row, T_HAVE]
        or flows[f, base + D_QUEUE] >= 0
        or segments[row, T_FLAGS] & (TCP_SYN | TCP_RST)
    ):
        return 0
    note_frame(flows, f, base, segments[row, T_FILE], segments[row, T_FRAME], segments[row, T_TIME])
    flows[f, base + D_STRAYS] = 0
    flows[f, base + D_NEXT] = (segments[row, T_SEQ] + size) & 0xFFFFFFFF
    flows[f, base + D_BYTES] += size
    flows[f, base + D_LEFT] -= size
    flows[f, base + D_POSITION] += size
    return 1


@kernel
def has_room(m: Memory) -> int:
    """1 if the window can take what one segment may bring."""
    return (
        1
        if m.arena.shape[0] - ARENA_SPARE - m.state[G_ARENA] >= ROOM_BYTES
        and m.messages.shape[0] - m.state[G_MESSAGES] >= ROOM_ROWS
        else 0
    )


@entry
def sweep(m: Memory, first: int, now: int, linger: int, even_open: int, ended: Ints) -> int:
    """Finish connections that are over: read past their holes, and write their rows' numbers into `ended`.

    A connection is over when both sides closed it, it was reset, replaced or never answered (or whatever its state if
    `even_open`), and more than `linger` nanoseconds went by (below 0: whatever the clock says). Goes through the rows
    from `first` on; returns the row to go on with, and stops where the window or `ended` (first item: how many) is full.
    """
    for f in range(first, m.flows.shape[0]):
        state = m.flows[f, F_STATE]
        if not state & FS_IN_USE:
            continue
        over = (
            state & (FS_RESET | FS_REPLACED)
            or (state & FS_CLIENT_FIN and state & FS_SERVER_FIN)
            or not state & (FS_SYN_ACK | FS_CLIENT_DATA | FS_SERVER_DATA)
        )
        if not (over or even_open) or (linger >= 0 and now - m.flows[f, F_LAST_TIME] <= linger):
            continue
        for d in range(2):
            base = F_DIRECTIONS + d * D_WIDTH
            while m.flows[f, base + D_QUEUE] >= 0:
                if not has_room(m):
                    return f
                pieces = release_first(m, f, base, 0)
                pieces = release_ready(m, f, base, pieces)
                # Pieces of parked segments lie in blocks: the buffer that `read_pieces` is given is not looked at.
                read_pieces(m, m.blocks, f, d, pieces)
        if ended[0] + 1 >= ended.shape[0] or not has_room(m):
            return f
        for d in range(2):
            base = F_DIRECTIONS + d * D_WIDTH
            # On a connection that was closed the rest of the message was lost; else the capture ended before it.
            if m.flows[f, base + D_HAVE] > 0 and state & (FS_RESET | FS_CLIENT_FIN | FS_SERVER_FIN):
                note_problem(m, f, d, PROBLEM_CUT, m.flows[f, base + D_LEFT])
                cut_message(m, f, d)
            drop_message(m, f, base)
        ended[0] += 1
        ended[ended[0]] = f
        if not state & FS_REPLACED:
            unlink(m, f)
        while m.flows[f, F_TREES] >= 0:
            forget_tree(m, f, -1, m.flows[f, F_TREES])
        m.flows[f, F_STATE] = m.flows[f, F_STATE] & ~FS_IN_USE
    return m.flows.shape[0]


@entry
def release(m: Memory, ended: Ints) -> int:
    """Give the rows in `ended` back, once their connections have been written down."""
    for i in range(1, ended[0] + 1):
        m.flows[ended[i], F_NEXT] = m.state[G_FREE_FLOW]
        m.state[G_FREE_FLOW] = ended[i]
    m.state[G_FLOWS_USED] -= ended[0]
    ended[0] = 0
    return 0


@kernel
def read_pieces(m: Memory, buf: Bytes, f: int, d: int, count: int) -> None:
    """Frame the pieces of a stream, then give their blocks back."""
    for piece in range(count):
        file = m.pieces[piece, PIECE_FILE]
        frame = m.pieces[piece, PIECE_FRAME]
        time = m.pieces[piece, PIECE_TIME]
        have = m.pieces[piece, PIECE_HAVE]
        heard = -1
        if d and have > 0:
            heard = acknowledged(m.flows, f, m.pieces[piece, PIECE_ACK])
        block = m.pieces[piece, PIECE_BLOCK]
        if block >= 0:
            at = block * BLOCK + m.pieces[piece, PIECE_AT]
            read_stream(m, m.blocks, at, at + have, f, d, file, frame, time, heard)
            free_blocks(m, block)
        elif block == NOT_STORED:
            pass_unseen(m, have, f, d, file, frame, time)
        elif have > 0:
            at = m.pieces[piece, PIECE_AT]
            read_stream(m, buf, at, at + have, f, d, file, frame, time, heard)
        if m.pieces[piece, PIECE_GAP] > 0:
            pass_gap(m, m.pieces[piece, PIECE_GAP], f, d)


@kernel
def read_stream(
    m: Memory, src: Bytes, at: int, end: int, f: int, d: int, file: int, frame: int, time: int, heard: int
) -> None:
    """Take the next bytes of a direction, `src[at:end]`, all captured and in order."""
    base = F_DIRECTIONS + d * D_WIDTH
    note_frame(m.flows, f, base, file, frame, time)
    m.flows[f, base + D_BYTES] += end - at
    while at < end:
        phase = m.flows[f, base + D_PHASE]
        begin = at
        if phase == PHASE_SKIP:
            at += min(m.flows[f, base + D_LEFT], end - at)
            m.flows[f, base + D_LEFT] -= at - begin
            m.flows[f, base + D_POSITION] += at - begin
            if m.flows[f, base + D_LEFT] == 0:
                finish_message(m, f, d, heard)
        elif phase == PHASE_LOST:
            at = seek_message(src, begin, end, d)
            if at < 0:
                at = end
            else:
                m.flows[f, base + D_PHASE] = PHASE_START
            m.flows[f, base + D_UNPARSED] += at - begin
            m.flows[f, base + D_POSITION] += at - begin
        else:
            if phase == PHASE_START and m.flows[f, base + D_HAVE] == 0:
                at += take_whole(m, src, at, end, f, d, heard)
                if at != begin or m.flows[f, base + D_PHASE] == PHASE_LOST:
                    continue
                m.flows[f, base + D_NEED] = HEADER_SIZE
                m.flows[f, base + D_LEFT] = HEADER_SIZE
            step = min(m.flows[f, base + D_NEED] - m.flows[f, base + D_HAVE], end - at)
            if not append(m, src, at, step, f, base):
                at = give_up_message(m, src, at, end, f, d)
                continue
            at += step
            m.flows[f, base + D_LEFT] -= step
            m.flows[f, base + D_POSITION] += step
            if m.flows[f, base + D_HAVE] == m.flows[f, base + D_NEED]:
                decide(m, f, d, heard)


@kernel
def pass_unseen(m: Memory, size: int, f: int, d: int, file: int, frame: int, time: int) -> None:
    """Go past bytes that were not stored, since they lie in the midst of a message that is passed over."""
    base = F_DIRECTIONS + d * D_WIDTH
    if m.flows[f, base + D_PHASE] != PHASE_SKIP or size >= m.flows[f, base + D_LEFT]:
        pass_gap(m, size, f, d)  # never so, since nothing before them can have ended the message
        return
    note_frame(m.flows, f, base, file, frame, time)
    m.flows[f, base + D_BYTES] += size
    m.flows[f, base + D_LEFT] -= size
    m.flows[f, base + D_POSITION] += size


@kernel
def note_frame(flows: Table, f: int, base: int, file: int, frame: int, time: int) -> None:
    """A message can be read once it, and all that stands before it in its stream, has come: by the latest packet so far.

    So the messages of a stream keep their order by frame, even if their packets came in another one. Between files,
    which may overlap, time decides.
    """
    if frame > flows[f, base + D_FRAME] if file == flows[f, base + D_FILE] else time >= flows[f, base + D_TIME]:
        flows[f, base + D_FILE] = file
        flows[f, base + D_FRAME] = frame
        flows[f, base + D_TIME] = time


@kernel
def take_whole(m: Memory, src: Bytes, at: int, end: int, f: int, d: int, heard: int) -> int:
    """The quick way: a message that begins at `at` and whose head is here. Returns the bytes taken, 0 if not so."""
    base = F_DIRECTIONS + d * D_WIDTH
    if end - at < HEADER_SIZE + 4:
        return 0
    size = packet_size(src, at)
    if byte(src, at) != 0:
        return 0 if size > 0 else lose(m, f, d)
    if byte(src, at + 4) < 0xFC or le32(src, at + 4) >> 8 != 0x424D53 or size < HEADER_SIZE + 16:
        if size == HEADER_SIZE:
            m.flows[f, base + D_RAW] = 0  # which is how a server refuses READ_RAW
            m.flows[f, base + D_POSITION] += HEADER_SIZE
            return HEADER_SIZE
        return pass_raw(m, f, base, size, end - at) if is_raw(m, f, base, size) else lose(m, f, d)
    if end - at < HEADER_SIZE + min(size - HEADER_SIZE, HEAD):
        return 0
    keep = wanted(m, src, at + HEADER_SIZE, size - HEADER_SIZE, f, d)
    taken = min(size, end - at)
    if keep > 0:
        if taken < size:
            return 0
        m.flows[f, base + D_POSITION] += size
        position = m.flows[f, base + D_POSITION] if d == 0 else heard
        place = m.state[G_ARENA]
        copy_bytes(m.arena, place, src, at + HEADER_SIZE, keep)
        m.state[G_ARENA] += keep
        note_message(m, place, keep, size - HEADER_SIZE, f, d, position, 0)
        return size
    m.flows[f, base + D_POSITION] += taken
    if taken < size:
        m.flows[f, base + D_LEFT] = size - taken
        m.flows[f, base + D_PHASE] = PHASE_SKIP
    return taken


@kernel
def is_raw(m: Memory, f: int, base: int, size: int) -> int:
    """1 if a message without an SMB header is the data that READ_RAW or WRITE_RAW announced. [MS-CIFS 2.2.4.22, 2.2.4.25]"""
    return 1 if m.flows[f, base + D_RAW] and HEADER_SIZE < size <= HEADER_SIZE + MAX_RAW else 0


@kernel
def pass_raw(m: Memory, f: int, base: int, size: int, there: int) -> int:
    """Go past such a message, of which so many bytes are there; returns the bytes taken."""
    taken = min(size, there)
    m.flows[f, base + D_RAW] = 0
    m.flows[f, base + D_POSITION] += taken
    if taken < size:
        m.flows[f, base + D_LEFT] = size - taken
        m.flows[f, base + D_PHASE] = PHASE_SKIP
    return taken


@kernel
def note_raw(m: Memory, f: int, command: int) -> None:
    """A client's message tells whether raw data follows: from the server after READ_RAW, from the client after WRITE_RAW.

    The client asks for nothing else meanwhile. [MS-CIFS 2.2.4.22, 2.2.4.25]
    """
    if command == SMB1_READ_RAW:
        m.flows[f, F_DIRECTIONS + D_WIDTH + D_RAW] = 1
    m.flows[f, F_DIRECTIONS + D_RAW] = 1 if command == SMB1_WRITE_RAW else 0


@kernel
def lose(m: Memory, f: int, d: int) -> int:
    """Something else stands where a message should begin: look for the next one. Returns 0, the bytes taken."""
    base = F_DIRECTIONS + d * D_WIDTH
    note_problem(m, f, d, PROBLEM_NOT_SMB, 0)
    m.flows[f, base + D_PHASE] = PHASE_LOST
    return 0  # `seek_message` asks for all that `take_whole` does, so it does not stop at the same place again


@kernel
def append(m: Memory, src: Bytes, at: int, size: int, f: int, base: int) -> int:
    """Store bytes of the current message in its blocks; 0 if there is no block left."""
    while size > 0:
        used = m.flows[f, base + D_HAVE] % BLOCK
        if used == 0:
            block = take_block(m)
            if block < 0:
                return 0
            if m.flows[f, base + D_HAVE] == 0:
                m.flows[f, base + D_HEAD] = block
            else:
                m.block_next[m.flows[f, base + D_TAIL]] = block
            m.flows[f, base + D_TAIL] = block
        step = min(size, BLOCK - used)
        place = m.flows[f, base + D_TAIL] * BLOCK + used
        copy_bytes(m.blocks, place, src, at, step)
        m.flows[f, base + D_HAVE] += step
        at += step
        size -= step
    return 1


@kernel
def decide(m: Memory, f: int, d: int, heard: int) -> None:
    """The bytes that were waited for are there: go on with the head, the wanted part, or the rest of the message."""
    base = F_DIRECTIONS + d * D_WIDTH
    place = m.flows[f, base + D_HEAD] * BLOCK
    phase = m.flows[f, base + D_PHASE]
    if phase == PHASE_START:
        size = packet_size(m.blocks, place)
        if size < 0:
            drop_message(m, f, base)
            lose(m, f, d)
            return
        m.flows[f, base + D_SIZE] = size
        m.flows[f, base + D_LEFT] = size - HEADER_SIZE
        m.flows[f, base + D_NEED] = min(size, HEADER_SIZE + HEAD)
        m.flows[f, base + D_PHASE] = PHASE_HEAD
        if size == HEADER_SIZE:
            if byte(m.blocks, place) == 0:
                m.flows[f, base + D_RAW] = 0
            finish_message(m, f, d, heard)
        return
    size = m.flows[f, base + D_SIZE]
    if phase == PHASE_HEAD:
        if byte(m.blocks, place) != 0:
            keep = size - HEADER_SIZE
        elif byte(m.blocks, place + 4) < 0xFC or le32(m.blocks, place + 4) >> 8 != 0x424D53 or size < HEADER_SIZE + 16:
            if not is_raw(m, f, base, size):
                drop_message(m, f, base)
                lose(m, f, d)
                return
            m.flows[f, base + D_RAW] = 0
            keep = 0
        else:
            keep = wanted(m, m.blocks, place + HEADER_SIZE, size - HEADER_SIZE, f, d)
        if keep == 0:
            drop_message(m, f, base)
            m.flows[f, base + D_PHASE] = PHASE_SKIP
        elif HEADER_SIZE + keep > m.flows[f, base + D_HAVE]:
            m.flows[f, base + D_NEED] = HEADER_SIZE + keep
            m.flows[f, base + D_PHASE] = PHASE_BODY
            return
        else:
            m.flows[f, base + D_PHASE] = PHASE_SKIP
    else:
        m.flows[f, base + D_PHASE] = PHASE_SKIP
    if m.flows[f, base + D_LEFT] == 0:
        finish_message(m, f, d, heard)


@kernel
def finish_message(m: Memory, f: int, d: int, heard: int) -> None:
    """The last byte of a message went by: write down what is stored of it."""
    base = F_DIRECTIONS + d * D_WIDTH
    have = m.flows[f, base + D_HAVE]
    if have > HEADER_SIZE or (have > 0 and byte(m.blocks, m.flows[f, base + D_HEAD] * BLOCK) != 0):
        position = m.flows[f, base + D_POSITION] if d == 0 else heard
        write_message(m, f, d, position, 0)
    drop_message(m, f, base)
    m.flows[f, base + D_PHASE] = PHASE_START


@kernel
def write_message(m: Memory, f: int, d: int, position: int, flags: int) -> None:
    """Copy what is stored of a message into the arena and make its rows."""
    base = F_DIRECTIONS + d * D_WIDTH
    have = m.flows[f, base + D_HAVE]
    head = m.flows[f, base + D_HEAD]
    place = m.state[G_ARENA]
    netbios = byte(m.blocks, head * BLOCK) != 0
    skip = 0 if netbios else HEADER_SIZE
    block = head
    left = have
    to = place
    while block >= 0 and left > 0:
        step = min(BLOCK, left)
        copy_bytes(m.arena, to, m.blocks, block * BLOCK + skip, step - skip)
        to += step - skip
        left -= step
        skip = 0
        block = m.block_next[block]
    m.state[G_ARENA] = to
    if netbios:
        add_row(m, f, d, PROTOCOL_NETBIOS, byte(m.arena, place), place, place, to, have, 0, position, flags)
        m.state[G_NUMBER] += 1
    else:
        note_message(m, place, to - place, m.flows[f, base + D_SIZE] - HEADER_SIZE, f, d, position, flags)


@kernel
def drop_message(m: Memory, f: int, base: int) -> None:
    """Forget what is stored of the current message."""
    if m.flows[f, base + D_HAVE] > 0:
        free_blocks(m, m.flows[f, base + D_HEAD])
    m.flows[f, base + D_HEAD] = -1
    m.flows[f, base + D_HAVE] = 0


@kernel
def give_up_message(m: Memory, src: Bytes, at: int, end: int, f: int, d: int) -> int:
    """There is no block left to store a message in: pass over it. Returns where in `src[at:end]` to go on."""
    base = F_DIRECTIONS + d * D_WIDTH
    have = m.flows[f, base + D_HAVE]
    m.state[G_GIVEN_UP] += have
    note_problem(m, f, d, PROBLEM_GIVEN_UP, have)
    drop_message(m, f, base)
    if m.flows[f, base + D_PHASE] == PHASE_START:  # then nothing of it is stored
        size = packet_size(src, at) if end - at >= HEADER_SIZE else -1
        if size < 0:
            m.flows[f, base + D_PHASE] = PHASE_LOST
            m.flows[f, base + D_UNPARSED] += end - at
            m.flows[f, base + D_POSITION] += end - at
            return end
        m.flows[f, base + D_LEFT] = size
    m.flows[f, base + D_PHASE] = PHASE_SKIP
    return at


@kernel
def pass_gap(m: Memory, size: int, f: int, d: int) -> None:
    """`size` bytes of a direction are missing. Inside a message whose size is known the stream stays in step."""
    base = F_DIRECTIONS + d * D_WIDTH
    phase = m.flows[f, base + D_PHASE]
    m.flows[f, base + D_POSITION] += size
    if phase == PHASE_LOST:
        return
    if phase == PHASE_START:
        note_problem(m, f, d, PROBLEM_GAP, size)
        drop_message(m, f, base)
        m.flows[f, base + D_PHASE] = PHASE_LOST
        return
    if phase != PHASE_SKIP:
        note_problem(m, f, d, PROBLEM_CUT, size)
        left = m.flows[f, base + D_LEFT]
        cut_message(m, f, d)
        m.flows[f, base + D_LEFT] = left
        m.flows[f, base + D_PHASE] = PHASE_SKIP
    if size <= m.flows[f, base + D_LEFT]:
        m.flows[f, base + D_LEFT] -= size
        if m.flows[f, base + D_LEFT] == 0:
            finish_message(m, f, d, -1)
        return
    if m.flows[f, base + D_HAVE] > 0:  # all that was wanted is there; only its end was lost
        write_message(m, f, d, m.flows[f, base + D_POSITION] if d == 0 else -1, 0)
    drop_message(m, f, base)
    note_problem(m, f, d, PROBLEM_GAP, size)
    m.flows[f, base + D_PHASE] = PHASE_LOST


@kernel
def cut_message(m: Memory, f: int, d: int) -> None:
    """Write down the part of a message that is there, marked as cut unless all that is wanted of it is there."""
    base = F_DIRECTIONS + d * D_WIDTH
    phase = m.flows[f, base + D_PHASE]
    if phase in (PHASE_HEAD, PHASE_BODY, PHASE_SKIP) and m.flows[f, base + D_HAVE] > HEADER_SIZE + 32:
        position = m.flows[f, base + D_POSITION] if d == 0 else -1
        write_message(m, f, d, position, 0 if phase == PHASE_SKIP else MF_CUT)
    drop_message(m, f, base)


# Rows. #


@kernel
def add_row(
    m: Memory,
    f: int,
    d: int,
    protocol: int,
    command: int,
    header: int,
    body: int,
    end: int,
    size: int,
    place: int,
    position: int,
    flags: int,
) -> None:
    """Append a row to the table of messages, if one is left."""
    n = m.state[G_MESSAGES]
    if n >= m.messages.shape[0]:
        m.state[G_ROWS_DROPPED] += 1
        return
    base = F_DIRECTIONS + d * D_WIDTH
    m.messages[n, M_CONNECTION] = m.flows[f, F_CONNECTION]
    m.messages[n, M_FROM_SERVER] = d
    m.messages[n, M_FILE] = m.flows[f, base + D_FILE]
    m.messages[n, M_FRAME] = m.flows[f, base + D_FRAME]
    m.messages[n, M_TIME] = m.flows[f, base + D_TIME]
    m.messages[n, M_PROTOCOL] = protocol
    m.messages[n, M_COMMAND] = command
    m.messages[n, M_HEADER] = header
    m.messages[n, M_BODY] = body
    m.messages[n, M_END] = end
    m.messages[n, M_SIZE] = size
    m.messages[n, M_PLACE] = place
    m.messages[n, M_POSITION] = position
    m.messages[n, M_FLAGS] = flags
    m.messages[n, M_MESSAGE] = m.state[G_NUMBER]
    m.state[G_MESSAGES] += 1


@kernel
def note_problem(m: Memory, f: int, d: int, problem: int, size: int) -> None:
    """Append a row that is no message."""
    add_row(m, f, d, PROTOCOL_PROBLEM, problem, 0, 0, 0, size, 0, -1, 0)


@kernel
def note_message(m: Memory, place: int, have: int, size: int, f: int, d: int, position: int, flags: int) -> None:
    """Make the rows of a message that lies in the arena, `have` of its `size` bytes."""
    m.state[G_NUMBER] += 1
    first = byte(m.arena, place)
    if first == 0xFE:
        note_smb2(m, place, have, size, f, d, position, flags)
    elif first == 0xFF:
        note_smb1(m, place, have, size, f, d, position, flags)
    else:
        protocol = PROTOCOL_ENCRYPTED if first == 0xFD else PROTOCOL_COMPRESSED
        add_row(m, f, d, protocol, 0, place, place, place + have, size, 0, position, flags)


@kernel
def note_smb2(m: Memory, place: int, have: int, size: int, f: int, d: int, position: int, flags: int) -> None:
    """A row for each PDU of a compound. [MS-SMB2 3.2.4.1.4]"""
    at = place
    end = place + have
    session = 0
    tree = 0
    for link in range(MAX_COMPOUND):
        following = le32(m.arena, at + 20) if at + 64 <= end else 0
        if following != 0 and (following < 64 or at + following > place + size):
            note_problem(m, f, d, PROBLEM_COMPOUND, following)
            following = 0
        length = following if following else place + size - at
        cut = flags if at + length > end else 0
        if at + 64 > end:
            if not flags & MF_CUT:  # of a message that was cut this was told when it was
                note_problem(m, f, d, PROBLEM_CUT, length)
            return
        if not (le32(m.arena, at + 16) & SMB2_FLAGS_RELATED and le32(m.arena, at + 36) == 0xFFFFFFFF):
            session = le64(m.arena, at + 40)
            tree = le32(m.arena, at + 36)
        if wanted_smb2(m, m.arena, at, f, d, session, tree) > 0:
            more = MF_MORE if following else 0
            stop = min(end, at + length)
            command = le16(m.arena, at + 12)
            add_row(m, f, d, PROTOCOL_SMB2, command, at, at + 64, stop, length, link, position, cut | more)
            if command == SMB2_TREE_CONNECT and d and le32(m.arena, at + 8) == 0 and at + 68 <= end:
                kind = byte(m.arena, at + 66)
                remember_tree(m, f, session, tree, kind)
        if following == 0:
            return
        at += following
    note_problem(m, f, d, PROBLEM_COMPOUND, size)


@kernel
def note_smb1(m: Memory, place: int, have: int, size: int, f: int, d: int, position: int, flags: int) -> None:
    """A row for each element of an AndX chain. [MS-CIFS 2.2.3.4]"""
    end = place + have
    if have < 35:
        if not flags & MF_CUT:
            note_problem(m, f, d, PROBLEM_CUT, size)
        return
    command = byte(m.arena, place + 4)
    at = place + 32
    for link in range(MAX_CHAIN):
        following = NO_ANDX
        offset = 0
        if is_andx(command) and byte(m.arena, at) >= 2 and at + 5 <= end:
            following = byte(m.arena, at + 1)
            offset = le16(m.arena, at + 3)
        begins_inside = place + offset < at + 3 + 2 * byte(m.arena, at)
        if following != NO_ANDX and (begins_inside or place + offset + 3 > end):
            if begins_inside or offset + 3 > size:
                note_problem(m, f, d, PROBLEM_COMPOUND, offset)
            following = NO_ANDX
        more = MF_MORE if following != NO_ANDX else 0
        add_row(m, f, d, PROTOCOL_SMB1, command, place, at, end, size, link, position, flags | more)
        if d and command == SMB1_TREE_CONNECT_ANDX and byte(m.arena, at) >= 2:
            service = at + 3 + 2 * byte(m.arena, at)
            if service + 3 <= end:
                remember_tree(m, f, -1, le16(m.arena, place + 24), kind_of_service(m.arena, service))
        if following == NO_ANDX:
            return
        command = following
        at = place + offset
    note_problem(m, f, d, PROBLEM_COMPOUND, size)


@kernel
def kind_of_service(b: Bytes, at: int) -> int:
    """The kind of a tree from the service string of its answer. [MS-CIFS 2.2.4.55.2]"""
    if byte(b, at) == 0x49 and byte(b, at + 1) == 0x50 and byte(b, at + 2) == 0x43:  # IPC
        return KIND_PIPE
    if byte(b, at) == 0x41 and byte(b, at + 1) == 0x3A:  # A:
        return KIND_DISK
    if byte(b, at) == 0x4C and byte(b, at + 1) == 0x50 and byte(b, at + 2) == 0x54:  # LPT1:
        return KIND_PRINT
    return KIND_UNKNOWN


# The choice. #


@kernel
def wanted(m: Memory, b: Bytes, at: int, size: int, f: int, d: int) -> int:
    """How many bytes of a message to keep, 0 for none. Its first 64 bytes (or all of it) are at `at`."""
    first = byte(b, at)
    if first == 0xFE:
        if size < 64:
            return 0
        if le32(b, at + 20) != 0:
            return min(size, KEEP_WHOLE)
        return min(size, wanted_smb2(m, b, at, f, d, le64(b, at + 40), le32(b, at + 36)))
    if first == 0xFF:
        if size < 35:
            return 0
        if d == 0:
            note_raw(m, f, byte(b, at + 4))
        return min(size, wanted_smb1(m, b, at, size, f))
    if first == 0xFD:
        return min(size, KEEP_WHOLE if m.state[G_SEALED_WHOLE] else HEAD)
    return min(size, KEEP_UNKNOWN)


@kernel
def wanted_smb2(m: Memory, b: Bytes, at: int, f: int, d: int, session: int, tree: int) -> int:
    """How many bytes of an SMB 2 PDU to keep. session, tree: its own, or those it inherits from the chain."""
    command = le16(b, at + 12)
    if d and le32(b, at + 8) == STATUS_PENDING:
        return 0
    if command <= SMB2_TREE_DISCONNECT:
        return KEEP_WHOLE
    if command == SMB2_CREATE:
        return KEEP_UNKNOWN
    if command in (SMB2_LOCK, SMB2_CANCEL, SMB2_ECHO, SMB2_OPLOCK_BREAK):
        return 0
    kind = KIND_UNKNOWN
    if not le32(b, at + 16) & SMB2_FLAGS_ASYNC:  # an asynchronous answer has no tree id
        kind = tree_kind(m, f, session, tree)
    if kind in (KIND_DISK, KIND_PRINT):
        return 0
    if command in (SMB2_CLOSE, SMB2_READ, SMB2_WRITE, SMB2_IOCTL):
        return KEEP_WHOLE if kind == KIND_PIPE else KEEP_UNKNOWN
    return KEEP_HEADER


@kernel
def wanted_smb1(m: Memory, b: Bytes, at: int, size: int, f: int) -> int:
    """How many bytes of an SMB 1 message to keep."""
    command = byte(b, at + 4)
    if SMB1_TREE_CONNECT <= command <= SMB1_TREE_CONNECT_ANDX:
        return KEEP_WHOLE
    if command in (SMB1_TRANSACTION, SMB1_TRANSACTION_SECONDARY):
        return KEEP_WHOLE
    if command in (SMB1_NT_CREATE, SMB1_OPEN_ANDX, 0x02, 0x03, 0x0F):
        return KEEP_UNKNOWN
    if command in (SMB1_ECHO, SMB1_LOCKING, SMB1_NT_CANCEL):
        return 0
    if is_andx(command) and byte(b, at + 32) >= 2 and size >= 37 and byte(b, at + 33) != NO_ANDX:
        return KEEP_UNKNOWN
    kind = tree_kind(m, f, -1, le16(b, at + 24))
    if kind in (KIND_DISK, KIND_PRINT):
        return 0
    if command in (SMB1_READ_ANDX, SMB1_WRITE_ANDX, SMB1_READ, SMB1_WRITE):
        return KEEP_WHOLE if kind == KIND_PIPE else KEEP_UNKNOWN
    if kind == KIND_PIPE and command in (
        SMB1_LOCK_AND_READ,
        SMB1_WRITE_AND_UNLOCK,
        SMB1_READ_MPX,
        SMB1_WRITE_RAW,
        SMB1_WRITE_MPX,
        SMB1_WRITE_AND_CLOSE,
    ):
        return KEEP_WHOLE
    if command in (
        SMB1_NT_TRANSACT,
        SMB1_NT_TRANSACT_SECONDARY,
        SMB1_TRANSACTION2,
        SMB1_TRANSACTION2_SECONDARY,
    ):
        # On IPC$ the answers to DFS referrals come so, which may be long.
        return KEEP_WHOLE if kind == KIND_PIPE and command == SMB1_TRANSACTION2 else KEEP_UNKNOWN
    return KEEP_HEADER


@kernel
def is_andx(command: int) -> int:
    """1 for the SMB 1 commands whose words begin with the link to the next one. [MS-CIFS 2.2.3.4]"""
    if command in (SMB1_LOCKING, SMB1_OPEN_ANDX, SMB1_READ_ANDX, SMB1_WRITE_ANDX, SMB1_NT_CREATE):
        return 1
    return 1 if command in (SMB1_SESSION_SETUP, SMB1_LOGOFF, SMB1_TREE_CONNECT_ANDX) else 0


# Trees. #


@kernel
def tree_kind(m: Memory, f: int, session: int, tree: int) -> int:
    """The kind of a tree of connection `f`, moved to the front of its list; `KIND_UNKNOWN` if none was remembered.

    session: the SMB 2 session id, since tree ids belong to it; -1 for SMB 1, where they belong to the connection.
    """
    before = -1
    at = m.flows[f, F_TREES]
    while at >= 0:
        if m.trees[at, TREE_ID] == tree and m.trees[at, TREE_SESSION] == session:
            if before >= 0:
                m.trees[before, TREE_NEXT] = m.trees[at, TREE_NEXT]
                m.trees[at, TREE_NEXT] = m.flows[f, F_TREES]
                m.flows[f, F_TREES] = at
            return m.trees[at, TREE_KIND]
        before = at
        at = m.trees[at, TREE_NEXT]
    return KIND_UNKNOWN


@kernel
def remember_tree(m: Memory, f: int, session: int, tree: int, kind: int) -> None:
    """Note the kind of a tree that has been connected."""
    count = 0
    before = -1
    last = -1
    at = m.flows[f, F_TREES]
    while at >= 0:
        if m.trees[at, TREE_ID] == tree and m.trees[at, TREE_SESSION] == session:
            m.trees[at, TREE_KIND] = kind
            return
        count += 1
        before = last
        last = at
        at = m.trees[at, TREE_NEXT]
    if count >= MAX_TREES:
        forget_tree(m, f, before, last)
        m.state[G_TREES_FORGOTTEN] += 1
    at = m.state[G_FREE_TREE]
    if at < 0:
        m.state[G_TREES_FORGOTTEN] += 1
        return
    m.state[G_FREE_TREE] = m.trees[at, TREE_NEXT]
    m.trees[at, TREE_SESSION] = session
    m.trees[at, TREE_ID] = tree
    m.trees[at, TREE_KIND] = kind
    m.trees[at, TREE_NEXT] = m.flows[f, F_TREES]
    m.flows[f, F_TREES] = at


@kernel
def forget_tree(m: Memory, f: int, before: int, at: int) -> None:
    """Give a tree's row back; `before`: the row that links to it, -1 if it is the first."""
    if before < 0:
        m.flows[f, F_TREES] = m.trees[at, TREE_NEXT]
    else:
        m.trees[before, TREE_NEXT] = m.trees[at, TREE_NEXT]
    m.trees[at, TREE_NEXT] = m.state[G_FREE_TREE]
    m.state[G_FREE_TREE] = at
