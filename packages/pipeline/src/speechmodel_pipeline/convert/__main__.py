"""`python -m speechmodel_pipeline.convert [IN.pb OUT.pbmm]`."""

import argparse
import sys
from pathlib import Path

from speechmodel_api.stages.convert import ConvertInput
from speechmodel_stagekit.errors import StageFailure
from speechmodel_stagekit.program import run_stage

from speechmodel_pipeline.convert.stage import convert, convert_file


def main(arguments: list[str]) -> int:
    """Convert by hand and return the exit code of the stage."""
    parser = argparse.ArgumentParser(
        prog="python -m speechmodel_pipeline.convert", description="Frozen graph to .pbmm."
    )
    parser.add_argument("source", type=Path, metavar="IN.pb", help="frozen TensorFlow graph")
    parser.add_argument(
        "target", type=Path, metavar="OUT.pbmm", help="memory-mapped graph for the DeepSpeech 0.9.3 runtime"
    )
    given = parser.parse_args(arguments)
    if ".pbmm" not in given.target.name:
        parser.error(f"{given.target}: the name must contain .pbmm, or the runtime does not map the file")
    try:
        made = convert_file(given.source, given.target)
    except StageFailure as failure:
        print(f"{failure.reason}: {failure}", file=sys.stderr)
        return failure.code
    print(f"{made.sha256}  {given.target}  {made.size_bytes} bytes, {made.mapped_constants} constants mapped")
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(sys.argv[1:]))
    run_stage(ConvertInput, convert)
