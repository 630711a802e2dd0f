"""Write the digests of built images into the chart's values, for a release.

    python tools/pin_images.py FOLDER

FOLDER has a file for each image, which is named as in `images` of the values and holds its digest, in the form that `buildah push
--digestfile` writes. Nothing is written unless all of them are there.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

VALUES = Path(__file__).resolve().parent.parent / "charts" / "speechmodel-operator" / "values.yaml"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def main(folder: Path, values: Path = VALUES) -> int:
    """Pin the images and return the exit code."""
    text = values.read_text(encoding="utf-8")
    digests, problems = {}, []
    for name in images(text):
        file = folder / name
        digest = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
        digests[name] = digest
        if not DIGEST.fullmatch(digest):
            problems.append(
                f"{file} is missing, or is not one digest (sha256:...): write it with `buildah push --digestfile`"
            )
    if problems:
        print(*problems, sep="\n", file=sys.stderr)
        return 1
    values.write_text(pinned(text, digests), encoding="utf-8")
    print(*(f"{name}: {digest}" for name, digest in digests.items()), sep="\n")
    return 0


def images(text: str) -> list[str]:
    """Return the names of the images in the values."""
    return [name for name, value in yaml.safe_load(text)["images"].items() if isinstance(value, dict)]


def pinned(text: str, digests: Mapping[str, str]) -> str:
    """Return the values with these digests. Comments and all other lines stay as they are."""
    lines, name, inside = [], "", False
    for line in text.splitlines(keepends=True):
        if re.match(r"\S", line) and not line.startswith("#"):
            inside, name = line.startswith("images:"), ""
        elif found := re.match(r"  (\w+):$", line):
            name = found[1] if inside else ""
        if name in digests and line.startswith("    digest: "):
            line = f"    digest: {digests[name]}\n"
        lines.append(line)
    return "".join(lines)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/pin_images.py FOLDER")
    sys.exit(main(Path(sys.argv[1])))
