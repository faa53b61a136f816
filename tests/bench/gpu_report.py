"""Google Benchmark's JSON of `model_bench DIR cuda` on standard input as a Markdown table.

The shares are of what the data sheet of the GPU gives (gpu_floor.py); of a GPU that it does not list there are none.
"""

import json
import sys

import gpu_floor


def limits(backend: str) -> tuple[float, float] | None:
    """Bytes and bf16 operations a second of the GPU that the backend's text names."""
    names = {"A100": "A100 80 GB", "H100": "H100", "H200": "H200"}
    for name, listed in names.items():
        if name in backend:
            return gpu_floor.GPUS[listed]
    return None


def share(value: float, limit: float | None) -> str:
    return "" if limit is None else f"{value / limit:.2f}"


def main() -> None:
    report = json.load(sys.stdin)
    context = report["context"]
    bandwidth, peak = limits(context["backend"]) or (None, None)
    print(f"{context['model']}, {context['backend']}\n")
    print("| step | ms | tokens/s | GB/s | of the bandwidth | TFLOP/s | of the bf16 peak |")
    print("|---|---|---|---|---|---|---|")
    for run in report["benchmarks"]:
        if run.get("error_occurred"):
            sys.exit(f"{run['name']}: {run['error_message']}")
        if run.get("run_type") == "aggregate" and run["aggregate_name"] != "median":
            continue
        name = run["run_name"].removesuffix("/real_time").replace("/", ", ").replace(":", " ")
        print(f"| {name} | {run['real_time']:.3f} | {run['tokens/s']:.0f} | {run['bytes/s'] / 1e9:.0f} |"
              f" {share(run['bytes/s'], bandwidth)} | {run['FLOP/s'] / 1e12:.2f} | {share(run['FLOP/s'], peak)} |")


if __name__ == "__main__":
    main()
