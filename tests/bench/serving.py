"""Measures a running retnetd from outside, over gRPC: tokens a second at 1 and 32 streams, time to the first token, and
what a session's length costs in memory.

    python3 -m venv venv && venv/bin/pip install grpcio grpcio-tools
    venv/bin/python tests/bench/serving.py build/retnetd models/demo

Client and server share the machine, so the figures are what a client on it sees, its own cost included.
"""

import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import grpc
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPT = "Once upon a time there was a king who had three daughters."


def stubs():
    """Modules made of the API, in a folder of their own."""
    folder = tempfile.mkdtemp()
    include = str(ROOT / "proto")
    api = "retnet/v1/generation.proto"
    if protoc.main(["", f"-I{include}", f"--python_out={folder}", f"--grpc_python_out={folder}", api]):
        sys.exit("protoc failed")
    sys.path.insert(0, folder)
    from retnet.v1 import generation_pb2, generation_pb2_grpc

    return generation_pb2, generation_pb2_grpc


def start(binary: str, model: str) -> tuple[subprocess.Popen, str]:
    """The server as a process, and its address."""
    command = [binary, "--model", model, "--listen", "127.0.0.1:0", "--max-context-length", "200000"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return server, server.stdout.readline().split()[-1]


def resident(pid: int) -> int:
    """Bytes of memory a process has touched."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def stream(stub, api, tokens: int) -> tuple[float, int]:
    """One stream: seconds to the first token, and how many came."""
    request = api.GenerateRequest(text=PROMPT, max_tokens=tokens, ignore_eos=True, seed=1)
    begin = time.perf_counter()
    first, count = None, 0
    for response in stub.Generate(request):
        if response.HasField("chunk"):
            first = first or time.perf_counter() - begin
            count += len(response.chunk.tokens)
    return first, count


def throughput(stub, api, streams: int, tokens: int) -> float:
    """Tokens a second over all streams, started together."""
    counts = []
    threads = [threading.Thread(target=lambda: counts.append(stream(stub, api, tokens)[1])) for _ in range(streams)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - begin)


def memory_at(stub, api, pid: int, tokens: int) -> int:
    """Resident bytes while a session that has read so many tokens decodes."""
    prompt = api.TokenIds(ids=[5 + i % 4000 for i in range(tokens)])
    call = stub.Generate(api.GenerateRequest(token_ids=prompt, max_tokens=2000, ignore_eos=True))
    next(iter(call))
    bytes_now = resident(pid)
    call.cancel()
    return bytes_now


def main() -> None:
    api, services = stubs()
    server, address = start(*sys.argv[1:3])
    options = [("grpc.max_send_message_length", -1)]
    stub = services.GenerationStub(grpc.insecure_channel(address, options))
    stream(stub, api, 64)
    for streams in (1, 8, 32):
        rates = [throughput(stub, api, streams, 256) for _ in range(3)]
        print(f"{streams} streams: {statistics.median(rates):.0f} tokens/s")
    firsts = sorted(stream(stub, api, 1)[0] * 1e3 for _ in range(500))
    print(f"time to first token: p50 {firsts[250]:.2f} ms, p99 {firsts[495]:.2f} ms")
    memory_at(stub, api, server.pid, 100_000)  # buffers of the transport reach their size
    for tokens in (100, 100_000):
        print(f"resident at {tokens} tokens: {memory_at(stub, api, server.pid, tokens) / 2**20:.2f} MiB")
    server.terminate()
    server.wait()


if __name__ == "__main__":
    main()
