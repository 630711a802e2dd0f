"""Writes the CustomResourceDefinition where it is needed: as a file of its own, and as a template of the chart.

`python charts/generate.py` does so; with `--check` it writes nothing and fails when a file is not what the types say. The
chart carries the definition as a template, since Helm never upgrades what lies in a chart's own `crds/` folder.
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from speechmodel_api.crd import GROUP, PLURAL, crd

ROOT = Path(__file__).resolve().parent.parent
NAME = f"{PLURAL}.{GROUP}"


def files() -> dict[Path, str]:
    """What each generated file must hold."""
    return {
        ROOT / "crds" / f"{NAME}.yaml": dump(crd()),
        ROOT / "charts" / "speechmodel-operator" / "templates" / "crd.yaml": template(),
    }


def template() -> str:
    """The manifest as a template: left out when asked to, and kept by `helm uninstall`, since SpeechModels go with it."""
    manifest = crd()
    manifest["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    escaped = dump(manifest).replace("{{", '{{ "{{" }}')
    return f"{{{{- if .Values.crds.enabled }}}}\n{escaped}{{{{- end }}}}\n"


def dump(manifest: dict[str, Any]) -> str:
    """Return a manifest as YAML."""
    return yaml.safe_dump(manifest, sort_keys=False, width=120, allow_unicode=True)


def main() -> int:
    """Write what differs, or name it."""
    stale = {path: text for path, text in files().items() if not path.exists() or path.read_text("utf-8") != text}
    if "--check" not in sys.argv[1:]:
        for path, text in stale.items():
            path.write_text(text, encoding="utf-8")
        return 0
    for path in stale:
        print(f"{path.relative_to(ROOT)} is not what packages/api says: run `make crds`", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
