"""Parts of a plan that fail each on its own."""

from collections.abc import Awaitable
from http import HTTPStatus
from typing import TypeVar

from speechmodel_plan.observed import Trouble

from speechmodel_operator.cluster.errors import ClaimSizeRefused, ClusterError, Conflict, ManagedTwice, NameConflict

T = TypeVar("T")


async def attempt(part: Awaitable[T]) -> tuple[T | None, Trouble | None]:
    """Return the result of a part of a plan, or the reason why it could not be applied.

    Every error of the API server is such a reason, also that of a webhook that is down. After a conflict, the whole step begins
    again, and an API server that has too much to do is asked for nothing more.
    """
    try:
        return await part, None
    except Conflict:
        raise
    except ClusterError as problem:
        if problem.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise
        return None, Trouble(problem.reason, str(problem))
    except (NameConflict, ManagedTwice, ClaimSizeRefused) as problem:
        return None, Trouble(problem.reason, str(problem))
