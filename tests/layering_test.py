"""Checks the include rule: server -> engine -> models -> kernels, client -> proto alone, the arrows between the
folders inside of them, and who may see which library."""

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
    "client": ["proto"],
}

# The arrows inside a folder: files, and the headers of other rooms of the same folder that they may include. A room
# is one folder. The first row that matches a file counts; a file without a row may include its own room alone.
ROOMS = [
    (r"engine/(engine|executor|inbox|options)\.", r"engine/(scheduling|sessions|snapshots|states)/"),
    (r"engine/request\.h", r"engine/states/token_history\.h"),
    (r"engine/sessions/", r"engine/((options|session|session_key|store_event)\.h|(scheduling|snapshots|states)/)"),
    (r"engine/scheduling/", r"engine/((options|request)\.h|states/)"),
    (r"engine/states/", r"engine/options\.h"),
    (r"engine/snapshots/", r"engine/((session|session_key|stats)\.h|states/(byte_vector|token_history)\.h)"),
    (r"models/tokenizers/", r"models/(json_reader|tokenizer|utf8)\.h"),
    (r"server/[^/]+$", r"server/(calls|identity|ops|text|wire)/"),
    (r"server/calls/", r"server/(identity|ops|text|wire)/"),
    (r"server/identity/", r"server/ops/(file_descriptor|logging)\.h"),
    (r"server/wire/", r"server/text/"),
    (r"kernels/cuda/[^/]+$", r"kernels/(cuda/(matmul|retention|runtime|sampling)/|[^/]+$)"),
    (r"kernels/cuda/matmul/", r"kernels/(cuda/(runtime/|retention/gate\.cuh)|[^/]+$)"),
    (r"kernels/cuda/\w+/", r"kernels/(cuda/runtime/|[^/]+$)"),
    (r"kernels/(cpu|reference)/", r"kernels/[^/]+$"),
    (r"client/main\.cc", r"client/bench/bench\.h"),
    (r"client/bench/bench\.(h|cc)", r"client/(bench/report/report\.h|[^/]+$)"),
    (r"client/bench/report/", r"client/([^/]+$|bench/(run|table|timeline)\.h)"),
    (r"client/bench/", r"client/[^/]+$"),
]

# Where a library may be seen: a pattern of its headers, and a pattern of the files.
LIBRARIES = [
    ("gRPC and protobuf", r"(grpc|grpcpp|google/protobuf)/|.*\.pb\.h", r"(server|client)/"),
    ("SentencePiece", r"sentencepiece_", r"models/tokenizers/sentencepiece_tokenizer\.cc"),
    ("ICU", r"unicode/", r"models/tokenizers/characters\.cc"),
    ("Highway and intrinsics", r"hwy/|.*intrin\.h|simde/", r"kernels/cpu/.*(\.cc|-inl\.h)"),
    ("xxHash", r"xxhash", r"engine/(states/chunk_keys|snapshots/(snapshot|disk_store))\.cc|models/fingerprint\.cc"),
    ("zstd", r"zstd", r"engine/snapshots/snapshot\.cc"),
    ("OpenSSL", r"openssl/", r"engine/snapshots/snapshot_key\.cc|server/identity/"),
    ("hiredis", r"hiredis", r"engine/snapshots/redis_store\.cc"),
    ("CUDA", r"cuda|cublas|nv_|cooperative_groups", r"kernels/cuda/|models/retnet_cuda\.cc"),
    ("libmicrohttpd", r"microhttpd", r"server/ops/http_server\.cc"),
    ("prometheus-cpp", r"prometheus/", r"server/ops/metrics\.cc"),
    ("spdlog", r"spdlog/", r"server/"),
    ("CLI11", r"CLI/", r"(server|client)/"),
    ("GoogleTest", r"(gtest|gmock|benchmark)/", r"tests/"),
]

# These files know nothing of any folder: everybody may include them.
ANYBODY = {
    "kernels/ceil_divide.h",
    "kernels/dcheck.h",
    "kernels/element.h",
    "kernels/finite.h",
    "kernels/mutex.h",
    "kernels/regular_file.h",
    "kernels/serial_executor.h",
    "kernels/status_macros.h",
    "server/command_line.h",
    "server/identity/token_file.h",
    "server/standard_streams.h",
}

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
        if folder in FOLDERS and target == folder and header.rpartition("/")[0] != path.rpartition("/")[0]:
            arrows = next((headers for files, headers in ROOMS if re.match(files, path)), None)
            if arrows is None or not re.match(arrows, header):
                found.append(f"{path}: includes {header}, an arrow between rooms that ROOMS does not have")
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
        ("models/config.cc", '#include "models/tokenizers/text_cuts.h"'),
        ("models/config.cc", "#include <sentencepiece_processor.h>"),
        ("models/retnet.h", "#include <hwy/highway.h>"),
        ("models/retnet.h", '#include "kernels/cpu/cpu_kernels.h"'),
        ("models/retnet.h", "#include <cuda_runtime.h>"),
        ("client/client.cc", '#include "server/server.h"'),
        ("client/client.cc", '#include "engine/request.h"'),
        ("engine/states/slot_pool.h", '#include "engine/request.h"'),
        ("engine/states/state_cache.cc", '#include "engine/scheduling/sequence.h"'),
        ("engine/snapshots/snapshot.cc", '#include "engine/sessions/sessions.h"'),
        ("engine/snapshots/snapshot.cc", '#include "engine/states/state_cache.h"'),
        ("engine/scheduling/scheduler.cc", '#include "engine/sessions/sessions.h"'),
        ("engine/request.h", '#include "engine/scheduling/sequence.h"'),
        ("server/wire/messages.cc", '#include "server/calls/admission.h"'),
        ("server/ops/metrics.cc", '#include "server/server.h"'),
        ("server/identity/caller.cc", '#include "server/calls/admission.h"'),
        ("server/calls/admission.h", "#include <openssl/sha.h>"),
        ("kernels/cuda/runtime/launch.cuh", '#include "kernels/cuda/retention/states.h"'),
        ("kernels/cuda/retention/fold.cuh", '#include "kernels/cuda/matmul/weight.h"'),
        ("kernels/cpu/rows.cc", '#include "kernels/cuda/rows.h"'),
        ("client/bench/run.cc", '#include "client/bench/report/plot.h"'),
    ]
    for path, text in bad:
        assert violations(path, text), (path, text)
    assert not violations("server/main.cc", '#include "engine/engine.h"\n#include <grpcpp/grpcpp.h>')
    assert not violations("engine/snapshots/state_codec.cc", '#include "kernels/element.h"')
    assert not violations("server/session_service.h", '#include "kernels/serial_executor.h"')


def main() -> int:
    self_test()
    files = [p for f in FOLDERS for p in sorted((ROOT / f).rglob("*")) if p.suffix in (".h", ".cc", ".cu", ".cuh")]
    found = [v for p in files for v in violations(p.relative_to(ROOT).as_posix(), p.read_text())]
    print("\n".join(found) or f"{len(files)} files keep the include rule")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
