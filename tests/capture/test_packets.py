"""The columns of the tables that packets travel in."""

from __future__ import annotations

import pytest

from analyzer.capture import packets


@pytest.mark.parametrize("prefix", ["P_", "T_", "W_", "C_"])
def test_columns_do_not_share_a_place(prefix: str) -> None:
    columns = {name: value for name, value in vars(packets).items() if name.startswith(prefix)}
    width = columns.pop(prefix + "WIDTH")
    assert len(set(columns.values())) == len(columns)
    assert set(columns.values()) <= set(range(width))


def test_the_flags_of_tcp() -> None:
    """[RFC 9293 3.1]; those that are added lie above the byte that they are added to."""
    assert (packets.TCP_FIN, packets.TCP_SYN, packets.TCP_RST, packets.TCP_ACK) == (1, 2, 4, 16)
    assert packets.TF_HANDSHAKE > 0xFF
    assert packets.TF_FROM_SERVER > 0xFF
    assert packets.TF_HANDSHAKE & packets.TF_FROM_SERVER == 0
