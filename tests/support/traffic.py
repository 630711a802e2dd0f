"""Requests to a served model while a test edits it."""

from support import recordings
from support.kube import Model
from support.places import ROOT


class Caller:
    """Somebody who asks the Service for a transcript again and again, from inside the cluster."""

    def __init__(self, model: Model, image: str) -> None:
        self._kubectl, self._name = model.kubectl, f"caller-{model.name}"
        program = (ROOT / "tests" / "support" / "caller.py").read_text(encoding="utf-8")
        pod = recordings.loader("unused", image, {})
        pod["metadata"]["name"] = self._name
        pod["spec"]["containers"][0] |= {
            "command": ["python", "-c", program, f"http://{model.name}"],
            "volumeMounts": [],
        }
        pod["spec"]["volumes"] = []
        self._kubectl.apply(pod)
        self._kubectl.until_ready(self._name)

    def so_far(self) -> tuple[int, list[str]]:
        """Return the number of good answers, and what failed."""
        log = self._kubectl("logs", self._name).splitlines()
        good = max((int(line.split()[1]) for line in log if line.startswith("good")), default=0)
        return good, [line for line in log if line.startswith("FAILED")]

    def stop(self) -> tuple[int, list[str]]:
        """Stop asking, and return what `so_far` gives."""
        found = self.so_far()
        self._kubectl("delete", "pod", self._name, "--wait=false")
        return found
