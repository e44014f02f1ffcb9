"""The two tables that packets travel in, one row a packet: their columns, and the walker's state.

Kernels index them by these numbers. All values are 64-bit integers; places are offsets into the buffer that the rows
were read from, valid until it is filled again.
"""

from __future__ import annotations

# Packets, as a walk over the container leaves them. #

P_FRAME = 0  # the packet's number in its file, from 1, as Wireshark counts
P_TIME = 1  # nanoseconds since 1970-01-01 UTC
P_DATA = 2  # where the packet begins in the buffer
P_HAVE = 3  # bytes captured
P_SIZE = 4  # bytes on the wire
P_LINK = 5  # link type (LINKTYPE_ registry)
P_PLACE = 6  # where its record begins, in bytes from the start of the (decompressed) file
P_WIDTH = 7

# TCP segments, as the link layers leave them. #

T_FILE = 0  # capture_no of the file
T_FRAME = 1
T_TIME = 2
T_PLACE = 3
T_SRC_HI = 4  # address, as a 128-bit number in two signed halves; IPv4 as ::ffff:a.b.c.d
T_SRC_LO = 5
T_DST_HI = 6
T_DST_LO = 7
T_SRC_PORT = 8
T_DST_PORT = 9
T_SEQ = 10
T_ACK = 11
T_FLAGS = 12  # the TCP flags, and TF_HANDSHAKE
T_DATA = 13  # where the payload begins in the buffer
T_HAVE = 14  # payload bytes captured
T_SIZE = 15  # payload bytes on the wire
T_MARK = 16  # IP identification << 20 | words of the TCP header << 16 | window: tells repetitions from copies
T_WIDTH = 17

TCP_FIN = 0x01
TCP_SYN = 0x02
TCP_RST = 0x04
TCP_ACK = 0x10
TF_HANDSHAKE = 0x1000  # set by `pick`: the connection's SYN went by before its first payload told that it is SMB ...
TF_FROM_SERVER = 0x2000  # ... and this segment goes against the SYN's direction

# The state of a walk over one file. #

W_POS = 0  # in: first unread byte of the buffer; out: likewise
W_STOP = 1  # out: why the walk stopped, one of STOP_
W_FRAME = 2  # packets met so far in this file
W_BASE = 3  # file offset of the buffer's first byte
W_NEED = 4  # out: bytes that the next record takes (STOP_MORE), or that its header claims (STOP_BAD), or its interface
W_BIG = 5  # byte order of the file or section
W_NANO = 6  # pcap: fractions are nanoseconds
W_LINK = 7  # pcap: link type
W_BYTES = 8  # captured bytes so far
W_FIRST = 9  # time of the earliest packet
W_LAST = 10  # time of the latest packet
W_CUT = 11  # packets of which not all was captured
W_SNAPLEN = 12  # pcapng: snap length of interface 0, for simple packet blocks
W_INTERFACES = 13  # pcapng: interfaces of the section so far
W_BACKWARDS = 14  # packets with no believable time
W_HEADER = 15  # pcap: bytes of a record's header
W_LENGTHS = 16  # pcap: in which order a record has its two lengths, one of LENGTHS_
W_NOTES = 17  # pcapng: rows of the table of notes
W_DROPS = 18  # pcapng: packets lost before others, by the word of their blocks
W_DROPS_TOLD = 19  # pcapng: blocks that say how many
W_WIDTH = 20

LENGTHS_USUAL = 0  # captured, then original
LENGTHS_SWAPPED = 1
LENGTHS_BY_SIZE = 2  # the smaller one is the captured length

STOP_MORE = 0  # the buffer ends before the next record does
STOP_FULL = 1  # the packet table is full
STOP_BAD = 2  # the next record is impossible
STOP_BLOCK = 3  # pcapng: a block that is not a packet begins here
STOP_NO_INTERFACE = 4  # pcapng: the next packet is of an interface that was not described

MAX_PACKET = 262_144
"""The largest packet that a capture may hold: libpcap's and Wireshark's limit too."""

# What a capture tool noted about packets, one row a note. #

N_FRAME = 0
N_KIND = 1  # one of NOTE_
N_PROCESS = 2  # process id, or (NOTE_BLOCK) the number of its process information block in the section
N_DIRECTION = 3  # which way the packet went at the capturing machine, one of DIRECTION_
N_WIDTH = 4

NOTE_COMMENT = 1  # the process that was running: "PID=" of Windows trace conversion
NOTE_PROCESS = 2  # the process that the packet belongs to: epb_processid_threadid
NOTE_BLOCK = 3  # likewise, by its process information block (macOS)

DIRECTION_UNKNOWN = 0
DIRECTION_IN = 1
DIRECTION_OUT = 2

# What the link layers counted, over all files. #

C_TCP = 0
C_UDP = 1
C_FRAGMENTS = 2  # IP fragments
C_OTHER_IP = 3
C_NOT_IP = 4
C_UNKNOWN_LINK = 5
C_BAD = 6  # a header that contradicts itself or was cut off
C_SMB = 7  # segments that belong to SMB connections
C_DATAGRAMS = 8  # UDP datagrams of ports on which hosts are named
C_DUPLICATES = 9  # packets that had been captured before; not among C_SMB
C_INCOMPLETE = 10  # fragmented packets of which a part never came
C_FRAGMENTS_GIVEN_UP = 11  # fragments that contradict themselves, or for which there was no room
C_TOO_DEEP = 12  # more headers or tunnels in each other than are followed
C_WIDTH = 13

# Where `peel` stands in a packet: an array of `L_WIDTH` numbers. #

L_KIND = 0  # what begins at L_AT: an EtherType, or one of KIND_; negative: -1 - the counter under which it ends here
L_AT = 1  # in the buffer
L_END = 2  # where the captured bytes of this layer end
L_PAST = 3  # where it ended on the wire
L_DEPTH = 4  # IP headers so far
L_SRC_HI = 5  # addresses of the innermost of them
L_SRC_LO = 6
L_DST_HI = 7
L_DST_LO = 8
L_ID = 9  # and its identification, 0 if it has none
L_OFFSET = 10  # of a fragment: its place in the packet,
L_MORE = 11  # whether others follow it,
L_NEXT = 12  # and the protocol that the packet carries
L_TIME = 13  # of the captured packet
L_ROOM = 14  # the buffer is free up to here, for fragments put together,
L_USED = 15  # and used up to here
L_ROW = 16  # out: the first packet that was not looked at
L_WIDTH = 17

KIND_PROTO = 0x10000  # + an IP protocol number
KIND_ETHERNET = 0x20000
KIND_LLC = 0x20001
KIND_PPP = 0x20002
KIND_FRAGMENT = 0x20003
KIND_COOKED = 0x20004
KIND_COOKED2 = 0x20005
KIND_CISCO = 0x20006
KIND_PKTAP = 0x20007
KIND_WIRELESS = 0x20008
KIND_RADIOTAP = 0x20009
KIND_LOOPBACK = 0x2000A
