"""Checks the include rule: server -> engine -> models -> kernels, and who may see which library."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# The folders whose headers a folder's files may include, besides its own.
FOLDERS = {
    "kernels": [],
    "models": ["kernels"],
    "engine": ["models"],
    "server": ["engine", "models", "proto"],
}

# Where a library may be seen: a pattern of its headers, and a pattern of the files.
LIBRARIES = [
    ("gRPC and protobuf", r"(grpc|grpcpp|google/protobuf)/|.*\.pb\.h", r"server/"),
    ("SentencePiece", r"sentencepiece", r"models/tokenizer\.cc"),
    ("Highway and intrinsics", r"hwy/|.*intrin\.h|simde/", r"kernels/cpu/.*(\.cc|-inl\.h)"),
    ("xxHash", r"xxhash", r"engine/(chunk_keys|snapshot|disk_store)\.cc|models/fingerprint\.cc"),
    ("zstd", r"zstd", r"engine/snapshot\.cc"),
    ("hiredis", r"hiredis", r"engine/redis_store\.cc"),
    ("CUDA", r"cuda|cublas|nv_|cooperative_groups", r"kernels/cuda/|models/retnet_cuda\.cc"),
    ("spdlog", r"spdlog/", r"server/"),
    ("CLI11", r"CLI/", r"server/"),
    ("GoogleTest", r"(gtest|gmock|benchmark)/", r"tests/"),
]

# Knows nothing of any folder: everybody may include it.
ANYBODY = {"kernels/status_macros.h"}

# Narrower than the folders: a file pattern and the only headers of another folder that it may include.
ONLY = [
    ("engine/", "models/", r"models/model\.h"),
    ("models/(?!retnet_cpu|retnet_cuda|load)", "kernels/", r"kernels/\w+\.h"),
    ("server/", "models/", r"models/(free_memory|generation_config|load|model|tokenizer|utf8)\.h"),
]

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.MULTILINE)


def violations(path: str, text: str) -> list[str]:
    """The includes of one file that break a rule, as messages."""
    folder = path.split("/")[0]
    found = []
    for header in INCLUDE.findall(text):
        if header in ANYBODY:
            continue
        target = header.split("/")[0]
        if folder in FOLDERS and target in FOLDERS and target != folder:
            if target not in FOLDERS[folder]:
                found.append(f"{path}: includes {header}, which is upward or too far down")
            for files, headers, allowed in ONLY:
                if re.match(files, path) and header.startswith(headers):
                    if not re.fullmatch(allowed, header):
                        found.append(f"{path}: of {headers} it may include only {allowed}, not {header}")
        if folder in FOLDERS:
            for name, headers, files in LIBRARIES:
                if re.match(headers, header) and not re.match(files, path):
                    found.append(f"{path}: {name} is not to be seen here: {header}")
    return found


def self_test() -> None:
    """The rules catch what they are for."""
    bad = [
        ("kernels/a.h", '#include "models/model.h"'),
        ("models/a.cc", '#include "engine/engine.h"'),
        ("engine/a.cc", '#include "models/config.h"'),
        ("engine/a.cc", '#include "kernels/kernels.h"'),
        ("engine/a.h", "#include <grpcpp/grpcpp.h>"),
        ("models/config.cc", "#include <sentencepiece_processor.h>"),
        ("models/retnet.h", "#include <hwy/highway.h>"),
        ("models/retnet.h", '#include "kernels/cpu/cpu_kernels.h"'),
        ("models/retnet.h", "#include <cuda_runtime.h>"),
    ]
    for path, text in bad:
        assert violations(path, text), (path, text)
    assert not violations("server/main.cc", '#include "engine/engine.h"\n#include <grpcpp/grpcpp.h>')


def main() -> int:
    self_test()
    files = [p for f in FOLDERS for p in sorted((ROOT / f).rglob("*")) if p.suffix in (".h", ".cc", ".cu", ".cuh")]
    found = [v for p in files for v in violations(p.relative_to(ROOT).as_posix(), p.read_text())]
    print("\n".join(found) or f"{len(files)} files keep the include rule")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
