"""Find how this machine's apt reaches Debian, so that another release can be installed from the same place."""

import platform

from kubecluster.shell import run

POCKETS = ("", "-updates", "-security")
KEPT = ("Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries", "Acquire::ForceIPv")
OF_THIS_MACHINE = ("CaInfo", "CaPath", "SslCert", "SslKey", "Detect")  # they name files here


def mirror() -> str | None:
    """Return the address of the Debian archive that this machine uses; None when it does not run Debian."""
    return _archives().get("")


def sources(suite: str) -> str | None:
    """Return a sources.list for `suite` with this machine's archives; None when it does not run Debian."""
    found = _archives()
    return "".join(f"deb {uri} {suite}{pocket} main\n" for pocket, uri in found.items()) or None


def options() -> str:
    """Return this machine's apt options for proxies, retries and checks, as an apt.conf."""
    dumped = run("apt-config", "dump").stdout.splitlines(keepends=True)
    return "".join(line for line in dumped if line.startswith(KEPT) and not any(w in line for w in OF_THIS_MACHINE))


def _archives() -> dict[str, str]:
    """Return the address of each pocket."""
    release = platform.freedesktop_os_release()
    if release["ID"] != "debian":
        return {}
    codename = release["VERSION_CODENAME"]
    listed = run("apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")
    addresses: dict[str, str] = {}
    for line in listed.stdout.splitlines():
        name, component, uri = line.split(maxsplit=2)
        if component == "main":
            addresses.setdefault(name, uri)
    found = {pocket: addresses[codename + pocket] for pocket in POCKETS if codename + pocket in addresses}
    if "-updates" in found:  # others than Debian may call a suite by the codename alone
        found[""] = found["-updates"]
    return found
