"""Turns the books into tales: one clean text a tale, title first, paragraphs by blank lines.

The books come one paragraph a line. What surrounds the tales (prefaces, tables of contents,
notes) is cut off, because a model that has read it answers a fairy tale with a bibliography.
"""

import dataclasses
import pathlib
import re


@dataclasses.dataclass(frozen=True)
class Book:
    """One Project Gutenberg book and the lines between which its tales lie."""

    number: int
    first_line: str  # the first tale's title, as it stands in the book
    stop_line: str | None = None  # the line after the last tale; None: the book's end


BOOKS = (
    Book(11, "CHAPTER I. Down the Rabbit-Hole"),
    Book(1597, "THE EMPEROR'S NEW CLOTHES"),
    Book(7439, "TOM TIT TOT", stop_line="OYEZ-OYEZ-OYEZ"),
    Book(2591, "THE GOLDEN BIRD", stop_line="*****"),
    Book(503, "THE BRONZE RING"),
    Book(3282, "What the Rose did to the Cypress [1]"),
    Book(2435, "Lovely Ilonka"),
    Book(7277, "THE BLUE BIRD"),
    Book(6746, "Donkey Skin"),
    Book(3454, "The Shifty Lad"),
    Book(3027, "The Story of the Hero Makoma From the Senna (Oral Tradition)"),
    Book(5615, "The Cat's Elopement"),
    Book(540, "THE TWELVE DANCING PRINCESSES"),
    Book(641, "A TALE OF THE TONTLAWALD"),
    Book(55, "1. The Cyclone"),
    Book(640, "THE CAT AND THE MOUSE IN PARTNERSHIP"),
)

SMALL_WORDS = frozenset(
    "a an and as at by for from how in into is it of on or out that the their to up was what "
    "when which who with".split()
)
CHAPTER = re.compile(r"^((CHAPTER )?[IVXL]+\.|\d+\.) (?=[A-Z])")
REFERENCE = re.compile(r"\s*(\(\d+\)|\[\d+\]|\[\*\]|\*+$)")
NOTE = re.compile(r"^(\(\d+\)|\[\*\]|\[Footnote|Footnotes:|\* |Translated from )")
APART = re.compile(r"^(\([^()]{1,90}\)\.?|\[[^\[\]]{1,300}\]?|[\s*.]+|(CHAPTER )?[IVXL]+\.?)$")
SOURCE = re.compile(
    r"^(From the \w+|Sicilianische Mahrchen.?|Bibliotheque des .*|by Andrew Lang|THE END|CHORUS\.)$"
)


def letters(text: str) -> str:
    """The words alone, lower case: titles and tables of contents differ in all the rest."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def contents_of(lines: list[str]) -> str:
    """The table of contents, which the books hold as one line after the word CONTENTS."""
    for index, line in enumerate(lines[:120]):
        if line.strip(" :").lower() == "contents":
            return f" {letters(lines[index + 1])} "
    return " "


def is_title(line: str, contents: str) -> bool:
    """Whether a line heads a tale: it is listed in the contents, or is set as titles are."""
    if NOTE.match(line) or APART.match(line) or SOURCE.match(line):
        return False
    if CHAPTER.match(line):
        return len(line) <= 80
    if len(line) > 80 or not line[0].isalpha() or line[-1] in ",;:-":
        return False
    bare = letters(REFERENCE.sub("", line))
    if len(bare) >= 4 and line[0].isupper() and f" {bare} " in contents:
        return True
    if line[-1] in ".!?'\"])" or len(line) > 60:
        return False
    words = [word for word in re.findall(r"[A-Za-z']+", line) if word not in SMALL_WORDS]
    return len(words) >= 2 and all(word[0].isupper() for word in words)


def title_text(line: str) -> str:
    """One spelling for all titles, so that a title is a usable prompt."""
    line = CHAPTER.sub("", REFERENCE.sub("", line))
    line = re.sub(r"\s*[(\[].*$", "", line).rstrip(". ")
    words = line.split()
    spelled = []
    for index, word in enumerate(words):
        lower = word.lower()
        small = index > 0 and words[index - 1][-1] != "." and lower.strip(",;") in SMALL_WORDS
        parts = (part[:1].upper() + part[1:] for part in lower.split("-"))
        spelled.append(lower if small else "-".join(parts))
    return " ".join(spelled)


def tales_of(book: Book, text: str) -> list[str]:
    """The tales of one book, in order."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    contents = contents_of(lines)
    start = lines.index(book.first_line)
    stop = lines.index(book.stop_line) if book.stop_line else len(lines)
    tales: list[list[str]] = []
    for index, line in enumerate(lines[start:stop]):
        if index == 0 or is_title(line, contents):
            tales.append([title_text(line)])
        elif not (NOTE.match(line) or APART.match(line) or SOURCE.match(line)):
            tales[-1].append(re.sub(r"\s+", " ", REFERENCE.sub("", line)).strip())
    # A title with next to nothing below it was a subtitle or a verse.
    return ["\n\n".join(tale) for tale in tales if sum(map(len, tale[1:])) >= 200]


def read_tales(folder: pathlib.Path) -> list[str]:
    """All tales of all books, in the fixed order of BOOKS."""
    tales = []
    for book in BOOKS:
        text = (folder / f"pg{book.number}.txt").read_text(encoding="utf-8")
        tales += tales_of(book, text)
    return tales


def split_tales(tales: list[str]) -> tuple[list[str], list[str]]:
    """(training, held-out): every tenth tale is held out whole, so none leaks into training."""
    training = [tale for index, tale in enumerate(tales) if index % 10 != 9]
    return training, tales[9::10]
