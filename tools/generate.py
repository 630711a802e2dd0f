"""Write what is generated from packages/api: the CRD, its chart template and docs/reasons.md.

`make generate` runs this program. With `--check` it writes nothing, and fails if a file is stale. The
chart holds the CRD as a template, because Helm never upgrades files in a chart's own `crds/` folder.
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from speechmodel_api.crd import GROUP, PLURAL, crd
from speechmodel_api.reasons import Reason

ROOT = Path(__file__).resolve().parent.parent
REASONS = """\
# Reasons

A condition, an Event and an entry of `status.stages` give their reason as one word. The message
beside it has the details. `make generate` writes this page from `speechmodel_api.reasons`.

- **routine**: part of normal operation. It is shown in conditions and posts no Event.
- **normal**: progress. It posts an Event of type Normal.
- **warning**: something went wrong and may recover without help. It posts an Event of type Warning.
- **error**: something went wrong and needs you. It posts an Event of type Warning. After you have
  fixed it, edit the spec, or set the annotation `speechops.dev/retry` to a new value.

| Reason | Severity | What it means | What to do |
|---|---|---|---|
"""


def main() -> int:
    """Write the stale files, or name them with `--check`, and return the exit code."""
    stale = {path: text for path, text in files().items() if not path.exists() or path.read_text("utf-8") != text}
    if "--check" not in sys.argv[1:]:
        for path, text in stale.items():
            path.write_text(text, encoding="utf-8")
        return 0
    for path in stale:
        print(f"{path.relative_to(ROOT)} does not match packages/api: run `make generate`", file=sys.stderr)
    return int(bool(stale))


def files() -> dict[Path, str]:
    """Return the generated files and their content."""
    return {
        ROOT / "crds" / f"{PLURAL}.{GROUP}.yaml": dump(crd()),
        ROOT / "charts" / "speechmodel-operator" / "templates" / "crd.yaml": template(),
        ROOT / "docs" / "reasons.md": reasons(),
    }


def template() -> str:
    """Return the CRD as a Helm template that can be turned off, and that `helm uninstall` keeps."""
    manifest = crd()
    manifest["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    escaped = dump(manifest).replace("{{", '{{ "{{" }}')
    return f"{{{{- if .Values.crds.enabled }}}}\n{escaped}{{{{- end }}}}\n"


def dump(manifest: dict[str, Any]) -> str:
    """Return a manifest as YAML."""
    return yaml.dump(manifest, Dumper=_Spelled, sort_keys=False, width=120, allow_unicode=True)


class _Spelled(yaml.SafeDumper):
    """Writes equal parts out where each stands, since people read the file."""

    def ignore_aliases(self, data: object) -> bool:
        """Use no anchors."""
        del data
        return True


def reasons() -> str:
    """Return the page that explains every reason, in alphabetical order."""
    rows = (f"| `{reason}` | {reason.severity} | {reason.__doc__} | {reason.remedy} |\n" for reason in sorted(Reason))
    return REASONS + "".join(rows)


if __name__ == "__main__":
    sys.exit(main())
