"""NetBIOS name service and datagram service. [RFC 1002 4.2, 4.4; MS-BRWS 2.2]

Names are fifteen characters and a suffix that tells what the name stands for. Only those of the workstation service (00)
and the file server service (20) that are no group's name a machine.
"""

from __future__ import annotations

from enum import IntFlag

from analyzer.errors import DecodeError
from analyzer.names.sightings import Sighting, canonical, clean
from analyzer.wire.enums import Code

SUFFIX_WORKSTATION = 0x00
SUFFIX_SERVER = 0x20
MACHINE_SUFFIXES = (SUFFIX_WORKSTATION, SUFFIX_SERVER)
TYPE_NB = 0x20
TYPE_NBSTAT = 0x21
GROUP = 0x80  # of NAME_FLAGS in a node status answer
NAME_SERVICE_HEADER = 12
DATAGRAM_HEADER = 14
ENCODED_NAME = 34
OEM = "cp437"


class Announcement(Code):
    """Browser frames. [MS-BRWS 2.2]"""

    HOST_ANNOUNCEMENT = 0x01
    DOMAIN_ANNOUNCEMENT = 0x0C
    LOCAL_MASTER_ANNOUNCEMENT = 0x0F


class ServerType(IntFlag):
    """What a host announces to be, as far as it tells systems apart. [MS-BRWS 2.3.1]"""

    DOMAIN_CTRL = 0x00000008
    DOMAIN_BAKCTRL = 0x00000010
    NOVELL = 0x00000080
    PRINTQ_SERVER = 0x00000200
    SERVER_UNIX = 0x00000800
    WFW = 0x00002000
    SERVER_OSF = 0x00100000
    SERVER_VMS = 0x00200000
    WINDOWS = 0x00400000


def parse_name_service(payload: bytes, sender: str, first_ns: int, last_ns: int) -> list[Sighting]:
    """The machine names that a registration or an answer gives to addresses.

    Raises DecodeError if a name is not in the half-ASCII form; scapy raises what it likes.
    """
    from scapy.layers.netbios import (  # noqa: PLC0415
        NBNSNodeStatusResponse,
        NBNSQueryResponse,
        NBNSRegistrationRequest,
    )

    suffix = _suffix(payload, NAME_SERVICE_HEADER)
    body = payload[NAME_SERVICE_HEADER:]
    is_answer = bool(payload[2] & 0x80)

    def told(ip: str, name: bytes, source: str) -> list[Sighting]:
        text = clean(name, OEM)
        address = canonical(ip)
        if not text or text == "*" or address is None:
            return []
        return [Sighting(ip=address, source=source, name=text, first_ns=first_ns, last_ns=last_ns)]

    if not is_answer:
        registration = NBNSRegistrationRequest(body)
        if registration.G or suffix not in MACHINE_SUFFIXES:
            return []
        return told(registration.NB_ADDRESS, registration.QUESTION_NAME, "netbios.registration")
    kind = int.from_bytes(body[ENCODED_NAME : ENCODED_NAME + 2], "big")
    if kind == TYPE_NBSTAT:
        names = NBNSNodeStatusResponse(body).NODE_NAME
        mine = [n for n in names if n.SUFFIX in MACHINE_SUFFIXES and not n.NAME_FLAGS & GROUP]
        return [one for name in mine for one in told(sender, name.NETBIOS_NAME, "netbios.status")]
    if kind != TYPE_NB or suffix not in MACHINE_SUFFIXES:
        return []
    answer = NBNSQueryResponse(body)
    found = []
    for entry in answer.ADDR_ENTRY:
        if not entry.G:
            source = "netbios.registration" if sender == entry.NB_ADDRESS else "netbios.answer"
            found += told(entry.NB_ADDRESS, answer.RR_NAME, source)
    return found


def parse_datagram(payload: bytes, sender: str, first_ns: int, last_ns: int) -> list[Sighting]:
    """The sender's name in a NetBIOS datagram, and what it announces of itself if it is a browser's.

    Raises DecodeError if a name is not in the half-ASCII form; scapy raises what it likes.
    """
    from scapy.layers.netbios import NBTDatagram  # noqa: PLC0415
    from scapy.layers.smb import BRWS, BRWS_HostAnnouncement, SMB_Header  # noqa: PLC0415

    suffix = _suffix(payload, DATAGRAM_HEADER)
    datagram = NBTDatagram(payload)
    address = canonical(datagram.SourceIP)
    if address is None or address == "0.0.0.0":
        address = sender
    found = []
    name = clean(datagram.SourceName, OEM)
    if suffix in MACHINE_SUFFIXES and name:
        found.append(Sighting(ip=address, source="netbios.datagram", name=name, first_ns=first_ns, last_ns=last_ns))
    inside = payload[DATAGRAM_HEADER + 2 * ENCODED_NAME :]
    if not inside.startswith(b"\xffSMB"):
        return found
    message = SMB_Header(inside)
    transaction = message.payload
    if getattr(transaction, "Name", b"").upper() != b"\\MAILSLOT\\BROWSE":
        return found
    # Scapy keeps the mailslot's data in a list of what the buffer holds.
    data = next((value for field, value in transaction.Buffer if field == "Data"), None)
    if not isinstance(data, BRWS) or data.OpCode not in (
        Announcement.HOST_ANNOUNCEMENT,
        Announcement.LOCAL_MASTER_ANNOUNCEMENT,
    ):
        return found
    announced = data if isinstance(data, BRWS_HostAnnouncement) else BRWS_HostAnnouncement(bytes(data))
    name = clean(announced.ServerName, OEM)
    if name:
        found.append(
            Sighting(
                ip=address,
                source="browser",
                name=name,
                os_hint=_system(announced),
                first_ns=first_ns,
                last_ns=last_ns,
            )
        )
    return found


def _system(announced: object) -> str:
    """A host's version, roles and comment, in words."""
    major, minor = getattr(announced, "OSVersionMajor", 0), getattr(announced, "OSVersionMinor", 0)
    kind = ServerType(int(getattr(announced, "ServerType", 0)) & sum(ServerType))
    roles = [role.name.lower() for role in kind if role.name]
    comment = clean(getattr(announced, "Comment", b""), OEM)
    hint = f"announces version {major}.{minor}"
    if roles:
        hint += f" ({', '.join(roles)})"
    return f"{hint}, {comment!r}" if comment else hint


def _suffix(payload: bytes, at: int) -> int:
    """The sixteenth byte of an encoded name. Raises DecodeError if it is not one, or goes on with a scope."""
    letters = payload[at + 1 : at + 33]
    if len(letters) < 32 or payload[at] != 32 or not all(0x41 <= letter <= 0x50 for letter in letters):
        raise DecodeError("netbios", "name", at, "not 32 letters A to P")
    if payload[at + 33 : at + 34] != b"\0":
        raise DecodeError("netbios", "name", at + 33, "with a scope")
    return ((letters[30] - 0x41) << 4) | (letters[31] - 0x41)
