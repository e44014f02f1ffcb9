"""The pool of texts."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.compiled import Bytes, Form, Ints, compiled_kernels, plain_kernels
from analyzer.wire import texts as pool
from analyzer.wire.texts import LONGEST, MISSING, U_ENTRIES, U_LONG, Encoding, Texts


def test_codes_count_up_and_repeat() -> None:
    texts = Texts()
    assert [texts.code(text) for text in ("", "user", "", "domain", "user")] == [0, 1, 0, 2, 1]
    assert [texts.text(code) for code in (0, 1, 2)] == ["", "user", "domain"]


def test_empty_is_not_missing() -> None:
    texts = Texts()
    assert texts.text(texts.code("")) == ""
    assert texts.text(MISSING) is None


def test_the_same_bytes_in_another_encoding_are_another_text() -> None:
    texts = Texts()
    data = bytes.fromhex("6100 6200")
    assert texts.text(texts.decode(data, "utf-16-le")) == "ab"
    assert texts.text(texts.decode(data, "cp437")) == "a\0b\0"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (bytes.fromhex("3dd8 00de"), "\N{GRINNING FACE}"),  # a pair of surrogates
        (bytes.fromhex("00d8 6100"), "\ufffda"),  # a lone one
        (bytes.fromhex("6100 62"), "a\ufffd"),  # half a character
    ],
)
def test_what_cannot_be_decoded_is_marked(data: bytes, text: str) -> None:
    texts = Texts()
    assert texts.text(texts.decode(data, "utf-16-le")) == text


def test_slices_of_an_arena() -> None:
    texts = Texts()
    arena = np.frombuffer(b"--a\0b\0--", np.uint8)
    codes = texts.slices(arena, np.array([2, 4, 2, 0]), np.array([4, 2, 0, -1]), "utf-16-le")
    assert [texts.text(code) for code in codes.tolist()] == ["ab", "b", "", None]


@given(st.lists(st.text(max_size=8)))
def test_every_text_is_found_again(written: list[str]) -> None:
    texts = Texts()
    codes = [texts.code(text) for text in written]
    assert [texts.text(code) for code in codes] == written
    assert sorted(set(codes)) == list(range(len(set(written))))


@given(st.binary(max_size=20), st.sampled_from(["utf-16-le", "cp437"]))
def test_any_bytes_become_a_text_that_can_be_written_again(data: bytes, encoding: str) -> None:
    texts = Texts()
    text = texts.text(texts.decode(data, encoding))
    assert text is not None
    text.encode("utf-8")  # no lone surrogates


# The hash table behind `slices`. #

FORMS = {"plain": plain_kernels, "compiled": compiled_kernels}
ENCODINGS: tuple[Encoding, ...] = ("utf-16-le", "cp437", "utf-8", bytes.hex)


def arena_of(parts: list[bytes]) -> tuple[Bytes, Ints, Ints]:
    """Parts one behind the other, and where they are."""
    sizes = np.array([len(part) for part in parts], dtype=np.int64)
    arena = np.frombuffer(bytearray(b"".join(parts) + b"\x5a" * 8), dtype=np.uint8)
    return arena, np.cumsum(sizes) - sizes, sizes


def always(form: Form) -> Form:
    """This form of the kernels, used for everything: the pool takes a plain form as a reason to do without kernels."""
    kernels = copy.copy(form())
    kernels.compiled = True
    return lambda: kernels


def read(texts: Texts, parts: list[bytes], encoding: Encoding) -> list[str | None]:
    return [texts.text(code) for code in texts.slices(*arena_of(parts), encoding).tolist()]


def decoded(data: bytes, encoding: Encoding) -> str:
    return data.decode(encoding, "replace") if isinstance(encoding, str) else encoding(data)


@pytest.fixture(params=list(FORMS))
def texts(request: pytest.FixtureRequest) -> Texts:
    """A pool that uses its kernels, in either form."""
    return Texts(always(FORMS[request.param]))


def test_two_threads_give_each_text_one_code(texts: Texts) -> None:
    words = [f"word {number}" for number in range(3000)]
    data = "".join(words).encode("utf-16-le")
    sizes = np.array([2 * len(word) for word in words], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    arena = np.frombuffer(bytearray(data), np.uint8)

    def all_of_them(_: int) -> list[int]:
        codes = texts.slices(arena, starts, sizes, "utf-16-le").tolist()
        assert [texts.text(code) for code in codes] == words
        assert [texts.code(word) for word in words] == codes
        return codes

    with ThreadPoolExecutor(2) as both:
        one, other = both.map(all_of_them, range(2))
    assert one == other
    assert len(set(texts.values)) == len(texts.values) == len(words)


MANY = [b"", b"a", b"a\0", b"a\0b", b"a\0b\0", b"\0", b"\0\0", b"\0\0\0", b"abcd", b"abce", b"abcd\0", b"\xff" * 9] * 2


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_many_texts(texts: Texts, encoding: Encoding) -> None:
    assert read(texts, MANY, encoding) == [decoded(part, encoding) for part in MANY]
    assert texts._known.used[U_ENTRIES] == len(set(MANY))


def test_encodings_are_told_apart(texts: Texts) -> None:
    for _ in range(2):
        for encoding in ENCODINGS:
            assert read(texts, MANY, encoding) == [decoded(part, encoding) for part in MANY]


def test_each_is_decoded_once(texts: Texts) -> None:
    asked = []

    def spelled(data: bytes) -> str:
        asked.append(data)
        return data.hex()

    for _ in range(3):
        read(texts, MANY, spelled)
    assert sorted(asked) == sorted(set(MANY))


def test_missing_ones(texts: Texts) -> None:
    arena, starts, sizes = arena_of(MANY)
    sizes[::2] = -1
    codes = texts.slices(arena, starts, sizes, "cp437")
    assert (codes[::2] == MISSING).all()
    assert [texts.text(code) for code in codes[1::2]] == [part.decode("cp437") for part in MANY[1::2]]
    assert (texts.slices(arena, starts, np.full(len(starts), -7), "cp437") == MISSING).all()


def test_a_text_ends_with_its_arena(texts: Texts) -> None:
    arena = np.frombuffer(bytearray(b"abcdef"), np.uint8)
    starts = np.array([0, 1, 4, 5, 6, 6, 3, 3, 0])
    sizes = np.array([6, 5, 9, 600, 0, 9, 2, 0, 7])
    found = [texts.text(code) for code in texts.slices(arena, starts, sizes, "cp437")]
    assert found == ["abcdef", "bcdef", "ef", "f", "", "", "de", "", "abcdef"]


def test_all_texts_collide(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash that is always 0: only the bytes tell them apart."""
    monkeypatch.setattr(texts, "_known", texts._known._replace(keys=np.zeros_like(texts._known.keys)))
    parts = [bytes([value, value // 2]) for value in range(200)] + MANY
    for encoding in ("cp437", "utf-16-le"):
        assert read(texts, parts, encoding) == [part.decode(encoding, "replace") for part in parts]
    assert not texts._known.entries[:, 0].any()


def test_texts_of_any_size(texts: Texts) -> None:
    """Those that are longer than the kernel takes, and those that just fit."""
    parts = [b"x" * size for size in (1, 3, 4, 5, 127, LONGEST - 1, LONGEST, LONGEST + 1, 3 * LONGEST, 100_000)] * 2
    assert read(texts, parts, "cp437") == [part.decode() for part in parts]
    assert texts._known.used[U_ENTRIES] == 7
    assert texts._known.used[U_LONG] == 0


def test_the_table_grows(texts: Texts) -> None:
    parts = [str(number).encode() for number in range(5000)]
    for _ in range(2):
        assert read(texts, parts, "cp437") == [part.decode() for part in parts]
    known = texts._known
    assert known.used[U_ENTRIES] == 5000
    assert len(known.entries) == 8192  # doubled, and no more than that
    assert len(known.slots) == 2 * len(known.entries)
    assert len(texts.values) == 5000


def test_the_store_grows(texts: Texts) -> None:
    parts = [bytes([65 + number % 26]) * (LONGEST - number) for number in range(300)]
    assert read(texts, parts, "cp437") == [part.decode() for part in parts]
    assert len(texts._known.entries) == 1024
    assert len(texts._known.store) == 1 << 17


@pytest.mark.parametrize(("name", "limit"), [("MOST_TEXTS", 1000), ("MOST_BYTES", 20_000)])
def test_the_table_is_bounded(texts: Texts, monkeypatch: pytest.MonkeyPatch, name: str, limit: int) -> None:
    """What was forgotten is decoded again and has the code that it had."""
    monkeypatch.setattr(pool, name, limit)
    parts = [f"{number:0100}".encode() for number in range(3000)]
    first = texts.slices(*arena_of(parts), "cp437")
    again = texts.slices(*arena_of(parts), "cp437")
    assert first.tolist() == again.tolist() == list(range(3000))
    assert len(texts._known.entries) <= 1024
    assert len(texts._known.store) <= 1 << 18


def test_hashes_differ_between_pools() -> None:
    one, other = (Texts(always(plain_kernels)) for _ in range(2))
    for texts in (one, other):
        read(texts, MANY, "cp437")
    assert one._known.entries[:, 0].tolist() != other._known.entries[:, 0].tolist()


def test_begun_plain_and_gone_on_compiled() -> None:
    texts = Texts()
    codes = []
    for form in (plain_kernels, always(plain_kernels), always(compiled_kernels), always(plain_kernels)):
        texts.form = form
        codes.append(texts.slices(*arena_of(MANY), "cp437").tolist())
    assert all(found == codes[0] for found in codes)
    assert texts._known.used[U_ENTRIES] == len(set(MANY))


@given(
    parts=st.lists(st.binary(max_size=12), min_size=8, max_size=60),
    encoding=st.sampled_from(ENCODINGS),
    longer=st.binary(min_size=13, max_size=700),
)
def test_both_forms_find_the_same(parts: list[bytes], encoding: Encoding, longer: bytes) -> None:
    parts = [*parts, longer, *parts[:3], longer]
    wanted = [decoded(part, encoding) for part in parts]
    keys = Texts()._known.keys
    tables = []
    for form in FORMS.values():
        texts = Texts(always(form))
        texts._known = texts._known._replace(keys=keys)
        assert read(texts, parts, encoding) == wanted
        assert read(texts, parts, encoding) == wanted
        tables.append([column.tolist() for column in texts._known])
    assert tables[0] == tables[1]
