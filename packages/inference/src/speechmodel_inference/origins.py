"""The origins of web pages: whose pages may use this server."""

from collections.abc import Collection

from starlette.datastructures import Headers


def is_foreign(headers: Headers, *hosts: str) -> bool:
    """Return True for a request that a page of another origin makes in somebody's browser. `hosts` are names of this server.

    Over HTTPS, browsers send Sec-Fetch-Site, which does not depend on Host. They send Origin with every POST, DELETE and
    WebSocket; it is `null` for a page without one, such as a sandboxed frame. Most other clients send neither.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and origin.partition("://")[2].lower() not in {host.lower() for host in hosts if host}


def is_allowed(headers: Headers, origins: Collection[str]) -> bool:
    """Return True if the setting cors_origins lets the page that makes a request use the API."""
    return "*" in origins or headers.get("origin") in origins


def cors_headers(headers: Headers, origins: Collection[str]) -> dict[str, str]:
    """Return what shows an answer to a page of another origin, for answers that Starlette's CORSMiddleware does not see."""
    if "origin" not in headers or not is_allowed(headers, origins):
        return {}
    exposed = {"Access-Control-Expose-Headers": "Retry-After"}
    if "*" in origins:
        return exposed | {"Access-Control-Allow-Origin": "*"}
    return exposed | {"Access-Control-Allow-Origin": headers["origin"], "Vary": "Origin"}
