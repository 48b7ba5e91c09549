"""People's data in spellings that a reader still reads: beside other numbers, in colour, in URLs, in other digits."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from belljar.tracing.outbound import Outbound
from belljar.tracing.sanitizer import Sanitizer
from belljar.tracing.second_pass import SecondPass

FIRST = Sanitizer()
BOTH = Outbound(FIRST, SecondPass())
KEYED = Sanitizer(pseudonym_key=b"k" * 32)
GROUPED, BARE = "4111 1111 1111 1111", "4111111111111111"
ANSI = "\x1b[31m{}\x1b[0m"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"{GROUPED} 12/29 123", "[CARD] 12/29 123"),
        (f"{GROUPED} 2029", "[CARD] 2029"),
        (f"{GROUPED} 1229 1234", "[CARD] 1229 1234"),
        (f"1 {GROUPED} 2", "1 [CARD] 2"),
        (f"{GROUPED}-123", "[CARD]-123"),
        (f"{BARE} 12/29 123", "[CARD] 12/29 123"),
        (f"{GROUPED} 5500 0000 0000 0004", "[CARD] [CARD]"),
        ("3782 822463 10005 12/29 1234", "[CARD] 12/29 1234"),
        *((GROUPED.replace(" ", sign), "[CARD]") for sign in ("\t", "\n", " - ", ",", ", ", ":", " : ", "|", "_", "/")),
        ("411111 1111111111", "[CARD]"),
        ("４１１１ １１１１ １１１１ １１１１", "[CARD]"),
        ("٤١١١١١١١١١١١١١١١", "[CARD]"),
        (f"{BARE}.0", "[CARD].0"),
        (f"{BARE}.00 EUR", "[CARD].00 EUR"),
        *((f"{before}{BARE}", f"{before}[CARD]") for before in ("id_", "x", "-", "+", "$", "#", "No.", "%B", ";")),
        (f"%B{BARE}^DOE/JOHN^2912", "%B[CARD]^DOE/JOHN^2912"),
        ("card 41 11 11 11 11 11 11 11", "card [CARD]"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "[CARD]"),
    ],
)
def test_a_card_is_found_among_other_signs(text: str, masked: str) -> None:
    """F25: with expiry and code behind it, whatever groups it, in any script's digits, behind a letter or a sign."""
    assert FIRST.value(text).value == masked
    assert BARE not in json.dumps(BOTH.value({"a": json.dumps({"b": text})}))


@pytest.mark.parametrize(
    "text",
    [
        "8 bytes: 41 11 11 11 11 11 11 11",
        "5223 4354 2404 5320 8742 6020 8932",
        "[4111, 1111, 1111, 1111]",
        "4111\n1111\n1111\n1111\n2222\n",
        "36061598 56741844 426221 40286513",
        "0.4111111111111111",
        "5421.107345063468",
        "a3f4111111111111111",
        f"{BARE}a",
        f"12-{BARE}",
        "41111111-1111-1111-1111-111111111111",
        "9400 1643 4547 0674 9833 24",
        " ".join("411111111111111111111111"),
        "4006381333931",
    ],
)
def test_rows_bytes_and_decimals_are_no_cards(text: str) -> None:
    """F25: what has a card's check digit by chance, in places where cards are not."""
    assert BOTH.value(text) == text


def test_columns_of_numbers_stay() -> None:
    """F25: of 2000 drawn rows and columns of fours, hashes and clocks behind letters, 0.5 % are cards at most."""
    draw = random.Random(20261121)
    texts = list[str]()
    for _ in range(400):
        fours = [str(draw.randint(1000, 9999)) for _ in range(draw.randint(7, 12))]
        texts += (" ".join(fours), ",".join(fours), "\n".join(fours))
        texts += (f"{draw.getrandbits(160):040x}", f"x{draw.randint(15 * 10**17, 19 * 10**17)}")
    touched = [text for text in texts if FIRST.value(text).value != text]
    assert len(touched) <= 0.005 * len(texts), touched


@pytest.mark.parametrize("secret", [BARE, GROUPED, "ann@corp.com", "AKIAZ7VRSQ5TJN2XMPLQ", "DE89370400440532013000"])
@pytest.mark.parametrize(
    "colour",
    [
        ANSI,
        "\x1b[1;38;5;9m{}\x1b[m",
        "\\u001b[31m{}\\u001b[0m",
        "\\x1b[31m{}",
        "\\033[31m{}",
        "^[[31m{}^[[0m",
        "\\e[1m{}",
    ],
    ids=ascii,
)
def test_colour_hides_nothing(secret: str, colour: str) -> None:
    """F24, F25: the letter that ends an escape is no letter of what follows; in a word's middle, too."""
    painted = colour.format(secret)
    half = secret[:6] + colour.format(secret[6:12]) + secret[12:]
    for text in (painted, f"seen {painted} here", f"key{painted}", half):
        for value in (text, {"a": [text]}, json.dumps({"a": text})):
            out = json.dumps(FIRST.value(value).value)
            assert secret not in out
            assert secret[6:] not in out


def test_an_escape_alone_stays() -> None:
    """F25: nothing is masked because it is coloured."""
    text = "\x1b[31mFAILED\x1b[0m tests/test_x.py::test_y - 3 of 12, sed 's/^[[a-z]*/x/' \\e[0m"
    assert BOTH.value(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://x.com/?email=ann@corp.com", "https://x.com/?email=[EMAIL]"),
        ("https://x.com/?ann@corp.com", "https://x.com/?[EMAIL]"),
        ("GET /users/ann@corp.com HTTP/1.1", "GET /users/[EMAIL] HTTP/1.1"),
        ("a=1&email=ann@corp.com&b=2", "a=1&email=[EMAIL]&b=2"),
        ("'ann@corp.com'", "'[EMAIL]'"),
        ("name|ann@corp.com|x", "name|[EMAIL]|x"),
        ("to:ann@corp.com;bob@x.org", "to:[EMAIL];[EMAIL]"),
        ("bounce+ann=corp.com@list.org", "[EMAIL]"),
        ("SRS0=HHH=TT=corp.com=ann@list.org", "[EMAIL]"),
        ("örg@corp.com", "[EMAIL]"),
        ("ann＠corp.com", "[EMAIL]"),
        *((f"ann@corp.{land}", "[EMAIL]") for land in ("py", "sh", "zip", "mov", "md", "rs")),
        *((text, text) for text in ("icon@2x.png", "lib@1.2.3", "user@host:path.sh", "sprite@2x.zip", "tmpl@main.zip")),
        *((text, text) for text in ("pkg@v2.sh", "git@github.com:acme/w.git", "@scope/pkg@1.0.0.rs", "a@b.js")),
    ],
)
def test_of_a_text_only_the_address_is_masked(text: str, masked: str) -> None:
    """F25: not the URL around it, nor the parameter's name; lands that also end files by what stands before them."""
    assert FIRST.value(text).value == masked
    assert BOTH.value(text) == masked


@pytest.mark.parametrize(
    "spellings",
    [
        ["ann@corp.com", "/users/ann@corp.com", "?email=Ann@Corp.com", "x%3Dann%40corp.com", "'ann@corp.com'"],
        ["2001:db8::1", "2001:0db8:0:0:0:0:0:1", "2001:DB8::1"],
        ["DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "de89-3704-0044-0532-0130-00"],
        [
            BARE,
            GROUPED,
            GROUPED.replace(" ", "\t"),
            f"id_{BARE}",
            "４１１１ １１１１ １１１１ １１１１",
            ANSI.format(BARE),
        ],
        ["+447911123456", "+44 (0) 7911 123456", "0044 7911 123456"],
        ["123-45-6789", "ssn 123 45 6789", "SSN: 123456789"],
    ],
    ids=lambda spellings: spellings[0],
)
def test_equal_values_have_equal_pseudonyms(spellings: list[str]) -> None:
    """F25: in whatever spelling and place."""
    found = {text[text.index("[", text.count("\x1b")) :] for text in map(_shown, spellings)}
    assert len({text[: text.index("]")].strip("'") for text in found}) == 1, found


def _shown(text: str) -> str:
    return str(KEYED.value(text).value).replace("\x1b[31m", "").replace("\x1b[0m", "")


def test_unequal_values_have_unequal_pseudonyms() -> None:
    """F25: letters of a number count, and letters beyond ASCII."""
    ids = Outbound(Sanitizer(pseudonym_key=b"k" * 32), SecondPass(pseudonym_key=b"k" * 32))
    assert ids.value("jörg@corp.com") != ids.value("järg@corp.com")
    assert ids.value("RSSMRA85T10A562S") != ids.value("RSSMRB85T10A562T")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("ssn 123 45 6789 10", "ssn [SSN] 10"),
        ("ssn: 123 45 6789 4155552671", "ssn: [SSN] 4155552671"),
        ("ssn 123 - 45 - 6789", "ssn [SSN]"),
        ("rows 123 45 6789 10", "rows 123 45 6789 10"),
        ("iban de89370400440532013000", "iban [IBAN]"),
        ("IBANDE89370400440532013000", "IBAN[IBAN]"),
        ("DE89.3704.0044.0532.0130.00", "[IBAN]"),
        ("DE89-3704-0044-0532-0130-00", "[IBAN]"),
        ("SN08SN0100152000048500003035", "[IBAN]"),
        ("MA64011519000001205000534921", "[IBAN]"),
        ("HN88CABF00000000000250005469", "[IBAN]"),
        ("de88370400440532013000", "de88370400440532013000"),
        ("DE89 3704 0044 0532 0130 01", "DE89 3704 0044 0532 0130 01"),
        ("dns 8.8.8.8", "dns [IP]"),
        ("python client 10.2.3.4", "python client [IP]"),
        ("node 10.2.3.4", "node [IP]"),
        ("python 3.11.0.1", "python 3.11.0.1"),
        ("Python version 3.11.0.1", "Python version 3.11.0.1"),
        ("mobile 12.5.1.1", "mobile 12.5.1.1"),
        ("415/555-2671", "[PHONE]"),
        ("415 - 555 - 2671", "[PHONE]"),
        ("call 4155552671", "call [PHONE]"),
        ("cell 415-555-2671", "cell [PHONE]"),
        ("mobile 612345678", "mobile [PHONE]"),
        ("order 4155552671", "order 4155552671"),
        ("200 404 5000", "200 404 5000"),
        ("ratio 415/555 2671", "ratio 415/555 2671"),
        ("phone model 12345678", "phone model 12345678"),
        ("cell 1234567", "cell 1234567"),
        ("call 12345678 failed", "call 12345678 failed"),
    ],
)
def test_the_word_beside_it_says_what_a_number_is(text: str, masked: str) -> None:
    """F25: what its word and form say is a person's, and the numbers that are something else's."""
    value: Any = {"a": [text]}
    assert BOTH.value(value) == {"a": [masked]}


def test_an_iban_with_a_slip_is_masked_whole_or_not_at_all() -> None:
    """F25: its half is no telephone number."""
    assert BOTH.value({"iban": "DE89 3704 0044 0532 0130 01"})["iban"] in ("DE89 3704 0044 0532 0130 01", "[IBAN]")


@pytest.mark.parametrize(("value", "masked"), [(4111111111111111.0, True), (1234567890123456.0, False), (0.1, False)])
def test_a_card_that_became_a_float(value: float, masked: bool) -> None:
    """F25: a parser of numbers makes a float of a card as easily as of anything else."""
    assert (Sanitizer().value({"n": value}).value != {"n": value}) is masked


def test_cells_are_not_telephones() -> None:
    """A field called cell holds a cell's number more often than a person's."""
    assert Sanitizer().value({"cell": 12345678}).value == {"cell": 12345678}
