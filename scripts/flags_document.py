#!/usr/bin/env python3
"""Writes docs/flags.md from the programs' own help.

    flags_document.py RETNETD RETNET            writes it
    flags_document.py --check RETNETD RETNET    fails, and says how to mend it, if it is not up to date
"""

import difflib
import os
import pathlib
import re
import subprocess
import sys

DOCUMENT = pathlib.Path(__file__).resolve().parent.parent / "docs" / "flags.md"

HEAD = """# Flags

<!-- scripts/flags_document.py wrote this page from the help texts of the programs. Change those, not this. -->

All flags of the server `retnetd` and of the client `retnet`, as `--help` prints them. A flag with several names means
the same under each of them. A value comes after the flag (`--threads 2`) or after an equals sign (`--threads=2`).

A wrong value ends a program with exit status 2 and a message that names the flag, the value and the bound.

## Configuration of the server
Every flag of `retnetd` may be given in three ways. What stands first wins, flag by flag:

1. on the command line: `--max-queue 256`;
2. in the environment: `RETNET_MAX_QUEUE=256`. The tables name each variable. A list has commas between its values;
3. in the file of `--config FILE` or `RETNET_CONFIG`: `max-queue = 256`. The file is TOML or INI without sections.
   [retnetd.example.toml](retnetd.example.toml) is one to begin with. Keys are the flags without their dashes. Text
   with spaces or commas needs quotes, a list is `["one", "another"]`, and a flag that takes no value is `true` or
   `false`.

An empty value is no value, and the default holds. Of a flag's names the first has a variable, and all are keys. A key
that is unknown, or set twice, ends the server with status 2; the message names the file, the key and the nearest one.
A variable `RETNET_…` that no flag has gives a warning in the log, since it may be another program's.

`retnetd --check-config` with the flags, variables and file of a server checks all that can be checked without loading
the model: bounds, addresses, what flags need of each other, the files of tokens, certificates and the snapshot key. It
does not open addresses, stores or devices. Then it prints what would run as a configuration file, in which a comment
says where each value comes from. Defaults are comments. Secrets are paths, and the password of a Redis URL is printed
as `***`: replace it before the output is used. The exit status is 0, or that of the error.

## Exit status
| exit status | `retnetd` | `retnet` |
|---|---|---|
| 0 | it drained after SIGTERM or Ctrl-C, or `--check-config` found nothing wrong | the call succeeded |
| 1 | it could not start, or failed | the server refused the call |
| 2 | wrong usage | wrong usage |
| 3 | the device of `--device` is not there | |
| 4 | it drained, and sessions that should be in `--snapshot-store` are lost; the log says how many | the server cannot be reached |
| 5 | | the answer came and could not be written |

`retnet` ends by SIGINT when Ctrl-C cancels its call. A second signal ends `retnetd` at once. At SIGHUP
`retnetd` reads again what it can reload, says so in its log, and goes on serving.
"""

# What other servers call it: our flag, vLLM's name, llama.cpp's name, what differs. A name that the help has as well is
# set in bold; "!" before it says that it means something else there.
OTHER_NAMES = {
    "retnetd": [
        ("--model", "--model", "-m, --model", "a folder in the Hugging Face layout; llama.cpp takes a GGUF file"),
        ("--listen", "--host, --port", "--host, --port", "gRPC, not HTTP"),
        ("--metrics-listen", "on the same port", "--metrics", "an address of its own"),
        ("--log-level", "VLLM_LOGGING_LEVEL", "-lv, --verbosity", "a word; llama.cpp takes a number"),
        ("--threads", "", "-t, --threads", ""),
        ("--gpu-memory-fraction", "--gpu-memory-utilization", "", "a share of the free memory; vLLM: of all memory"),
        ("--state-type", "--mamba-ssm-cache-dtype", "-ctk, -ctv", "the state here is what a KV cache is there"),
        ("--no-cuda-graphs", "--enforce-eager", "", ""),
        ("--max-sequences", "--max-num-seqs", "-np, --parallel", ""),
        ("--max-context-length", "--max-model-len", "-c, --ctx-size", "for one sequence; llama.cpp's is for all slots"),
        ("--max-step-rows", "--max-num-batched-tokens", "-b, --batch-size", ""),
        ("--host-state-bytes", "--kv-offloading-size", "-cram, --cache-ram", "in bytes; vLLM: GiB, llama.cpp: MiB"),
        ("--snapshot-store", "--kv-transfer-config", "--slot-save-path", "the server itself saves and loads"),
        ("--no-prefix-cache", "--no-enable-prefix-caching", "--no-cache-prompt", ""),
        ("--speculate", "--speculative-config", "--spec-type", "`ngram` alone; there is no draft model"),
        ("--max-draft-tokens", "num_speculative_tokens", "--spec-draft-n-max", "a request may set it, too"),
    ],
    "retnet generate": [
        ("--file", "", "-f, --file", ""),
        ("--max-tokens", "max_tokens", "!-n, --predict", "`-n` is the number of answers here, as OpenAI's `n`"),
        ("-n", "n", "", ""),
        ("--temperature", "temperature", "--temp", ""),
        ("--repetition-penalty", "repetition_penalty", "--repeat-penalty", "over the whole prompt and answer"),
        ("--seed", "seed", "-s, --seed", "no negative numbers; leave it out for a random one"),
        ("--logit-bias", "logit_bias", "-l, --logit-bias", "`ID=BIAS`; llama.cpp: `ID+BIAS` or `ID-BIAS`"),
    ],
}

OLD_NAMES = """## Old names
Flags of release 0.1 that have a better name since. They work for one more release. The server logs a line when one is
used; the help does not show them.

| old | now |
|---|---|
| `--max-sessions` | `--max-sequences`: it never was about sessions |
| `--snapshot-at-rest` | `--snapshot-dtype` |
"""


def help_of(command: list[str]) -> str:
    """What COMMAND --help prints, whatever the environment sets."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RETNET_")}
    return subprocess.run([*command, "--help"], env=environment, check=True, capture_output=True, text=True).stdout


def parse(text: str) -> tuple[str, dict[str, list[tuple[str, str]]]]:
    """The description, and by section what stands there: names with value, and the text about them."""
    description = text.split("\nUsage:")[0].strip()
    sections: dict[str, list[tuple[str, str]]] = {}
    items: list[tuple[str, str]] = []
    for line in text.splitlines():
        if re.fullmatch(r"\S.*:", line):
            items = sections.setdefault(line[:-1], [])
        elif match := re.fullmatch(r"  (\S+) {2,}(\S.*)", line):
            items.append((match[1], match[2]))  # a command
        elif match := re.fullmatch(r"  (\S.*)", line):
            items.append((match[1], ""))
        elif match := re.fullmatch(r" {6}(\S.*)", line):
            items[-1] = (items[-1][0], f"{items[-1][1]} {match[1]}".strip())
    return description, sections


def cells(names: str, text: str) -> str:
    """A row of a table: the option, its default, what it means."""
    match = re.fullmatch(r"(.*?)(?: \[([^\[\]]*)\])?", text)
    default, facts = "", []
    for fact in (match[2] or "").split("; "):
        if fact.startswith("default: "):
            default = fact.removeprefix("default: ")
        elif fact == "required":
            default = "required"
        elif fact.startswith("environment: "):
            facts.append(f"environment: `{fact.removeprefix('environment: ')}`")
        elif fact:
            facts.append(fact)
    meaning = match[1] + (f" ({'; '.join(facts)})" if facts else "")
    first, comma, last = names.rpartition(", ")
    last, _, value = last.partition(" ")
    flags = ", ".join(f"`{option}`" for option in (first + comma + last).split(", "))
    return " | ".join(re.sub(r"([|*<])", r"\\\1", part) for part in (f"{flags} {value}".strip(), default, meaning))


def table(items: list[tuple[str, str]], head: str) -> str:
    rows = [f"| {cells(names, text)} |" for names, text in items]
    return "\n".join([f"| {head} | default | meaning |", "|---|---|---|", *rows])


def flags_in(sections: dict[str, list[tuple[str, str]]]) -> set[str]:
    names = " ".join(names for items in sections.values() for names, _ in items)
    return set(re.findall(r"(?<!\S)--?[\w-]+", names))


def marked(name: str, ours: set[str]) -> str:
    if " " in name:
        return name  # words, not a name
    return f"**`{name}`**" if name in ours else f"`{name.removeprefix('!')}`"


def other_names(program: str, sections: dict[str, list[tuple[str, str]]]) -> str:
    """The table of what vLLM and llama.cpp call it; in bold what works here, too."""
    ours = flags_in(sections)
    vllm = "vLLM" if program == "retnetd" else "field in vLLM's API"
    lines = [f"| `{program}` | {vllm} | llama.cpp | what differs |", "|---|---|---|---|"]
    for flag, *theirs, difference in OTHER_NAMES[program]:
        if flag not in ours:
            sys.exit(f"flags_document.py: {program} has no {flag}; mend OTHER_NAMES")
        shown = []
        for names in theirs:
            parts = [name for name in names.split(", ") if name]
            shown.append(", ".join(marked(name, ours) for name in parts))
        lines.append(f"| `{flag}` | {shown[0]} | {shown[1]} | {difference} |")
    return "\n".join(lines)


def chapter(command: list[str], title: str, depth: int) -> list[str]:
    """The tables of a program or command, then those of its commands."""
    description, sections = parse(help_of(command))
    if depth == 2:
        description = description.replace(title, f"`{title}`", 1)
    lines = [f"{'#' * depth} {title}", description, ""]
    commands = sections.pop("Commands", [])
    sections["Options"] = [item for item in sections["Options"] if item[0] not in ("-h, --help", "--version")]
    for section, items in sections.items():
        if not items:
            continue
        head = "argument" if section == "Arguments" else "flag"
        if section not in ("Arguments", "Options"):
            lines += [f"**{section}**", ""]
        lines += [table(items, head), ""]
    if title == "retnetd":
        lines += [OLD_NAMES.replace("## ", "### "), "### What vLLM and llama.cpp call it"]
        lines += ["Names in bold work here, too.", "", other_names(title, sections), ""]
    if title == "retnet generate":
        lines += [other_names(title, sections), ""]
    if title == "retnet bench":
        lines += ["Flags that `vllm bench serve` has as well have its names.", ""]
    for name, _ in commands:
        lines += chapter([*command, name], f"{title} {name}", depth + 1)
    return lines


def main() -> int:
    arguments = sys.argv[1:]
    check = arguments[:1] == ["--check"]
    if len(arguments) != 2 + check:
        print(__doc__, file=sys.stderr)
        return 2
    retnetd, retnet = arguments[check:]
    lines = [HEAD, *chapter([retnetd], "retnetd", 2), *chapter([retnet], "retnet", 2)]
    text = "\n".join(lines).rstrip() + "\n"
    if not check:
        DOCUMENT.write_text(text)
        return 0
    there = DOCUMENT.read_text()
    if there == text:
        return 0
    print("".join(difflib.unified_diff(there.splitlines(True), text.splitlines(True), "docs/flags.md", "the help")))
    print("docs/flags.md is not what the help says. Write it: scripts/flags_document.py build/retnetd build/retnet")
    return 1


if __name__ == "__main__":
    sys.exit(main())
