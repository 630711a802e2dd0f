"""Convert a model of 190 MB against `cp` of the same file, in the same run.

    PYTHONPATH=tests python -m bench.convert_bench [runs]

The conversion runs in a process of its own: its seconds are those of the work, digest of the result included; its memory is what the
process grew by while it worked.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.figures import print_table
from bench.large_graph import write_large_graph

CONVERT = """
import re, sys, time
from pathlib import Path
from speechmodel_pipeline.graphdef.pbmm import memory_map

def kilobytes(line):
    return int(re.search(line + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1))

Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
before, start = kilobytes("VmRSS"), time.perf_counter()
memory_map(Path(sys.argv[1]), Path(sys.argv[2]))
print(time.perf_counter() - start, kilobytes("VmHWM") - before)
"""


def main(runs: int) -> None:
    """Measure and print."""
    copying: list[float] = []
    converting: list[float] = []
    grown_kb: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "large.pb", Path(folder) / "large.pbmm"
        size = write_large_graph(source)
        for _ in range(runs):
            copying.append(_copy(source, target))
            seconds, kilobytes = _convert(source, target)
            converting.append(seconds)
            grown_kb.append(kilobytes)
    print_table("convert .pb to .pbmm", size / 1e6, {"cp": copying, "convert": converting}, against="cp")
    print(f"memory while converting: {max(grown_kb) / 1000:.1f} MB over the interpreter")


def _copy(source: Path, target: Path) -> float:
    target.unlink(missing_ok=True)
    start = time.perf_counter()
    subprocess.run(["cp", str(source), str(target)], check=True)
    return time.perf_counter() - start


def _convert(source: Path, target: Path) -> tuple[float, int]:
    target.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, str(source), str(target)], check=True, capture_output=True, text=True
    )
    seconds, kilobytes = done.stdout.split()
    return float(seconds), int(kilobytes)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
