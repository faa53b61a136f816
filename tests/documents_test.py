"""Checks the documents (*.md): links and anchors lead somewhere, files and names that they mention exist, and lines of
text are at most 120 columns wide."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WIDTH = 120
FOLDERS = ("client", "cmake", "docker", "docs", "engine", "kernels", "models", "proto", "scripts", "server", "tests")
SOURCES = {".h", ".cc", ".cu", ".cuh", ".proto", ".py", ".sh", ".cmake", ".txt", ".json"}

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`")
FILE = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./-]*\w")
# A type, a function or a member: SlotPool, Engine::Submit.
NAME = re.compile(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*(?:::~?\w+)*")


def blocks(text: str) -> list[tuple[int, str, str]]:
    """(line number, kind, line) with kind one of text, table, code. Code is fenced, or indented by four after a line
    that is empty, a heading or code itself."""
    found = []
    fenced = False
    before = ""
    kind = "text"
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            kind = "code"
        elif fenced:
            kind = "code"
        elif line.startswith("    ") and (kind == "code" or not before.strip() or before.startswith("#")):
            kind = "code"
        else:
            kind = "table" if line.lstrip().startswith("|") else "text"
        found.append((number, kind, line))
        before = line
    return found


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found: set[str] = set()
    for _, kind, line in blocks(text):
        heading = re.match(r"#+ +(.*?) *#*$", line)
        if kind != "text" or not heading:
            continue
        words = LINK.sub(lambda link: link.group(0).split("]")[0][1:], heading.group(1))
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        numbered = slug
        repeats = 0
        while numbered in found:
            repeats += 1
            numbered = f"{slug}-{repeats}"
        found.add(numbered)
    return found


def link_fault(root: pathlib.Path, path: pathlib.Path, target: str) -> str | None:
    """What is wrong with a link of the document `path`."""
    if re.match(r"[a-z]+:", target):
        return None
    name, _, anchor = target.partition("#")
    file = (path.parent / name).resolve() if name else path.resolve()
    if not file.is_relative_to(root.resolve()):
        return f"the link {target} leaves the repository"
    if not file.exists():
        return f"the link {target} leads to no file"
    if anchor and (file.suffix != ".md" or anchor not in anchors(file.read_text())):
        return f"the link {target} leads to no heading"
    return None


def faults(root: pathlib.Path, path: pathlib.Path, names: list[set[str]]) -> list[str]:
    """What is wrong with one document, as messages. `names`: the words of each source."""
    found = []
    for number, kind, line in blocks(path.read_text()):
        where = f"{path.relative_to(root)}:{number}"
        if kind == "code":
            continue
        if kind == "text" and len(line) > WIDTH and " " in line.strip():
            found.append(f"{where}: {len(line)} columns; {WIDTH} are allowed")
        prose = CODE.sub("", line)
        faulty = [link_fault(root, path, target) for target in LINK.findall(prose)]
        found += [f"{where}: {fault}" for fault in faulty if fault]
        for code in CODE.findall(line):
            first = code.split()[0] if code.split() else ""
            if FILE.fullmatch(first) and not (root / first).exists():
                found.append(f"{where}: there is no {first}")
            if NAME.fullmatch(code) and not any(set(re.findall(r"\w+", code)) <= words for words in names):
                found.append(f"{where}: no source has the name {code}")
    return found


def metric_faults(root: pathlib.Path) -> list[str]:
    """Series that the server gives and docs/metrics.md does not name, or the reverse."""
    series = r"\b(?:retnet_|vllm:)\w+"
    given = set(re.findall(f'"({series})"', (root / "server/ops/metrics.cc").read_text()))
    named = set(re.findall(series, (root / "docs/metrics.md").read_text()))
    return [f"docs/metrics.md does not name {name}" for name in sorted(given - named)] + [
        f"docs/metrics.md names {name}, which the server does not give" for name in sorted(named - given)
    ]


def documents(root: pathlib.Path) -> list[pathlib.Path]:
    """The project's documents: what builds and tools have made does not count."""
    skipped = re.compile(r"build|\.|venv|_")
    return [p for p in sorted(root.rglob("*.md")) if not any(skipped.match(f) for f in p.relative_to(root).parts[:-1])]


def source_names(root: pathlib.Path) -> list[set[str]]:
    """The words of each of the project's sources: a member is in one file with its class."""
    found: list[set[str]] = []
    files = [p for folder in FOLDERS for p in (root / folder).rglob("*")]
    for file in files + [root / "CMakeLists.txt"]:
        if file.is_file() and (file.suffix in SOURCES or file.name.startswith("Dockerfile")):
            found.append(set(re.findall(r"\w+", file.read_text(errors="replace"))))
    return found


def self_test() -> None:
    """The rules catch what they are for, and let pass what is right."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "engine").mkdir()
        (root / "engine/a.h").write_text("class Engine { void Submit(); };")
        (root / "engine/b.h").write_text("void Stop();")
        (root / "other.md").write_text("# A `b`, c\n\n## Same\n\n## Same\n")
        page = root / "page.md"

        def check(text: str) -> list[str]:
            page.write_text(text)
            return faults(root, page, source_names(root))

        for bad in ("[a](missing.md)", "[a](other.md#none)", "[a](#none)", "[a](../outside)", "`engine/c.h`",
                    "`Engine::Go`", "`Motor`", "word " * 30, "`Engine::Stop`", "| `engine/c.h` |"):
            assert check(f"# Page\n\n{bad}\n"), bad
        for good in ("[a](other.md#a-b-c)", "[a](other.md#same-1)", "[a](#page)", "[a](https://example.org/x#y)",
                     "`engine/a.h`", "`engine/`", "`Engine::Submit`", "| " + "cell " * 40, "    " + "code " * 40,
                     "```\n" + "code " * 40 + "\n[a](missing.md)\n```", "`[a](missing.md)`"):
            assert not check(f"# Page\n\n{good}\n"), good


def main() -> int:
    self_test()
    names = source_names(ROOT)
    files = documents(ROOT)
    found = [fault for path in files for fault in faults(ROOT, path, names)] + metric_faults(ROOT)
    print("\n".join(found) or f"{len(files)} documents keep the rules")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
