"""`SpeechModel.spec.evaluation`: what a new version must reach before it is served."""

from typing import Annotated, Any

from pydantic import Field

from speechmodel_api.base import ApiModel
from speechmodel_api.schema import cel

_GATE_RULE = "has(self.maxWER) || has(self.maxFalseAccept) || has(self.notWorseThanServing)"
_GATE_MESSAGE = "set at least one of maxWER, maxFalseAccept and notWorseThanServing"


class NotWorseThanServing(ApiModel):
    """Comparison with the version that is served."""

    margin: Annotated[float, Field(ge=0, le=1)] = 0
    """Amount by which the word error rate may exceed that of the served version, such as 0.02 for two
    percentage points. A few test clips decide little, so allow some margin with them. Defaults to 0."""


class Gate(ApiModel, json_schema_extra=cel(_GATE_RULE, _GATE_MESSAGE)):
    """Limits that a new version must keep to replace the served one. Every limit that is set applies.
    A version whose figure was not measured, because there are no such clips, does not pass."""

    max_wer: Annotated[float, Field(ge=0, le=1)] | None = Field(default=None, alias="maxWER")
    """Highest word error rate on the test clips, such as 0.15 for 15 %. If not set, any is accepted."""
    max_false_accept: Annotated[float, Field(ge=0, le=1)] | None = None
    """Highest share of foreign test clips (negatives, and transcripts that are no phrase) that may be
    answered with a text, such as 0.05 for 5 %. It is measured with a grammar and with
    `decoding.foreignSpeech: Reject`. If not set, any is accepted."""
    not_worse_than_serving: NotWorseThanServing | None = None
    """Compares the word error rate with that of the version that is served, on the same test clips. If the
    served version was measured on other clips, it is downloaded and measured again on those of the new one
    (stage compare). The first version has nothing to be compared with. If not set, versions are not
    compared; `{}` compares them without a margin."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rule to manifests that do not pass through an API server."""
        del context
        if self.max_wer is None and self.max_false_accept is None and self.not_worse_than_serving is None:
            raise ValueError(_GATE_MESSAGE)


class Evaluation(ApiModel):
    """Decision whether a new version is served."""

    gate: Gate | None = None
    """Limits for new versions. A version that does not keep them is published with its report, but not
    promoted: the version before it is still served, and nothing is if there is none. The gate decides
    when a version is to replace another one. It never takes away the version that is served, and does not
    apply to serving.pinnedVersion. After an edit, the figures that exist are compared with the new limits,
    and no stage runs again. If not set, every version is promoted."""
