"""The servers of one SpeechModel: Deployments, Services, the canary and the objects beside them."""

from speechmodel_api.reasons import Reason
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.status import ModelStatus
from speechmodel_plan.conditions import Failures
from speechmodel_plan.observed import Server, Trouble
from speechmodel_plan.plan import CanaryIntent, Plan, ServingIntent
from speechmodel_plan.task import Owner

from speechmodel_operator.cluster.api import ACCESSORIES, DEPLOYMENTS, SERVICES
from speechmodel_operator.cluster.attempts import attempt
from speechmodel_operator.cluster.errors import ClusterError, Refused
from speechmodel_operator.cluster.snapshot import Snapshot
from speechmodel_operator.cluster.views import Deployment, ObjectView
from speechmodel_operator.cluster.writer import Writer, differs
from speechmodel_operator.resources import labels, serving
from speechmodel_operator.resources.accessories import accessories
from speechmodel_operator.resources.jobs import Images
from speechmodel_operator.resources.pod import Manifest
from speechmodel_operator.upgrades import Upgrades


class Servers:
    """Makes the servers of one SpeechModel as a plan wants them, and remembers from step to step how their roll-outs go on."""

    def __init__(self, owner: Owner, images: Images, writer: Writer, upgrades: Upgrades) -> None:
        self._owner, self._images, self._writer, self._upgrades = owner, images, writer, upgrades
        self.applied_generation: int | None = None
        """Generation of the Deployment after it was applied last. Later ones are those of an autoscaler."""
        self._built: tuple[SpeechModelSpec, ModelStatus, Manifest] | None = None
        """The Deployment that was built last in the current step, and what it was built from."""
        self._wanted: dict[str, str] = {}
        """Hash of the Deployment that was wanted last, by component. It was not applied if it was put off or refused."""
        self._begun: dict[str, tuple[int, ModelStatus]] = {}
        """Generation and version of a roll-out that had a place, by component, until its Deployment is applied or another is wanted."""

    def deployment(self, spec: SpeechModelSpec, served: ModelStatus) -> Manifest:
        """Return the Deployment of a version. A step needs it twice, and it is the largest object that is made."""
        if self._built is None or self._built[0] is not spec or self._built[1] != served:
            self._built = spec, served, serving.deployment(self._images, self._owner, spec, served)
        return self._built[2]

    async def ensure(self, here: Snapshot, plan: Plan) -> tuple[Failures, bool]:
        """Apply the Deployment, the Service, the canary and the objects beside them, each on its own. Return the problems, and True if
        the server is put off.
        """
        put_off, deployment = await attempt(self._ensure_deployment(here, plan))
        _, service = await attempt(self._ensure_service(here, plan))
        beside = []
        # the pods of a server that is managed twice serve all the same
        if deployment is not None and deployment.reason is Reason.MANAGED_TWICE:
            beside.append(deployment)
            deployment = None
        # clients go on under the name of a Service that is there
        if service is not None and (service.reason is Reason.MANAGED_TWICE or self._has_service(here, plan)):
            beside.append(service)
            service = None
        _, canary = await attempt(self._ensure_canary(here, plan))
        served = deployment is None and service is None
        others = await self._ensure_beside(here, plan.serving) if served else None
        first = next((problem for problem in (*beside, canary, others) if problem is not None), None)
        return Failures(serving=deployment, service=service, beside=first), bool(put_off)

    async def remove(self, here: Snapshot) -> None:
        """Delete the Deployments of a SpeechModel that is being deleted. The garbage collector deletes the rest."""
        for servers in (here.deployment, here.canary):
            await self._writer.delete(DEPLOYMENTS, servers)

    def follow(self, here: Snapshot, server: Server | None, canary: Server | None) -> None:
        """Report how roll-outs go on that other models may wait for."""
        generation = here.model.metadata.generation
        self._follow(labels.SERVER, here.deployment, server, generation)
        self._follow(labels.CANARY, here.canary, canary, generation)

    def end_step(self) -> None:
        """Forget what was built in this step: thousands of models at rest must not keep theirs."""
        self._built = None

    def _has_service(self, here: Snapshot, plan: Plan) -> bool:
        """Return True when the Service of the server that is wanted is there."""
        return plan.serving is not None and serving.service(self._owner, here.spec)["metadata"]["name"] in here.services

    async def _ensure_deployment(self, here: Snapshot, plan: Plan) -> bool:
        """Make the Deployment as it is wanted. Return True if that is put off."""
        intent = plan.serving
        if plan.keep_servers:
            return False
        beside = accessories(self._owner, here.spec) if intent else {}
        existing = here.accessories or {}
        for kind in existing.keys() - beside.keys():  # before the Deployment forgets them
            await self._writer.delete(ACCESSORIES[kind], existing[kind])
        if intent is None:
            await self._writer.delete(DEPLOYMENTS, here.deployment)
            return False
        current = here.deployment.spec.replicas if here.deployment else None
        wanted = serving.with_replicas(self.deployment(here.spec, intent.model), here.spec, current)
        if self._put_off(labels.SERVER, here.deployment, wanted, intent, here.model.metadata.generation):
            return True
        applied = await self._writer.ensure(DEPLOYMENTS, wanted, here.deployment)
        if applied is not None:
            self.applied_generation = applied.metadata.generation
        return False

    async def _ensure_service(self, here: Snapshot, plan: Plan) -> None:
        if plan.keep_servers:
            return
        name = None
        if plan.serving is not None:
            wanted = serving.service(self._owner, here.spec)
            name = wanted["metadata"]["name"]
            await self._writer.ensure(SERVICES, wanted, here.services.get(name))
        for other in (service for found, service in here.services.items() if found != name):
            await self._writer.delete(SERVICES, other)

    async def _ensure_canary(self, here: Snapshot, plan: Plan) -> None:
        """Make the Deployment of the canary as it is wanted unless that is put off, or delete it."""
        intent = plan.canary
        if intent is None:
            if not plan.keep_servers:
                await self._writer.delete(DEPLOYMENTS, here.canary)
            return
        wanted = serving.canary(self._images, self._owner, here.spec, intent.model, intent.replicas)
        if not self._put_off(labels.CANARY, here.canary, wanted, intent, here.model.metadata.generation):
            await self._writer.ensure(DEPLOYMENTS, wanted, here.canary)

    async def _ensure_beside(self, here: Snapshot, intent: ServingIntent | None) -> Trouble | None:
        """Apply the objects beside the Deployment, each on its own, and return the first problem."""
        if here.accessories is None:
            return None
        troubles = []
        for kind, wanted in (accessories(self._owner, here.spec) if intent else {}).items():
            _, trouble = await attempt(self._ensure_accessory(kind, wanted, here.accessories.get(kind)))
            troubles.append(trouble)
        return next((trouble for trouble in troubles if trouble is not None), None)

    async def _ensure_accessory(self, kind: str, wanted: Manifest, existing: ObjectView | None) -> None:
        """Apply an object beside the Deployment. An error has the remedy."""
        try:
            await self._writer.ensure(ACCESSORIES[kind], wanted, existing)
        except ClusterError as error:
            if (explained := _explained(kind, error)) is error:
                raise
            raise explained from error

    def _put_off(
        self,
        component: str,
        existing: Deployment | None,
        wanted: Manifest,
        intent: ServingIntent | CanaryIntent,
        generation: int,
    ) -> bool:
        """Return True when a change of a Deployment waits for others that an upgrade of the operator changes.

        `generation` is that of the SpeechModel. One that had a place and was refused needs a place for the next attempt too,
        although the status no longer says that the change comes from the operator alone.
        """
        key = (self._owner.uid, component)
        self._wanted[component] = serving.applied_hash(wanted)
        begun = self._begun.get(component) == (generation, intent.model)
        if (intent.upgrade_only or begun) and existing is not None and differs(existing, wanted):
            if not self._upgrades.take(key, generation):
                return True
            self._begun[component] = generation, intent.model
            return False
        self._begun.pop(component, None)
        self._upgrades.waits_no_more(key)
        return False

    def _follow(self, component: str, deployment: Deployment | None, server: Server | None, generation: int) -> None:
        key = (self._owner.uid, component)
        applied = deployment.metadata.annotations.get(labels.APPLIED) if deployment is not None else None
        current = self._wanted.get(component) in (None, applied)
        if deployment is None or server is None or (server.settled and current):
            self._upgrades.follow(key, generation, settled=True, mixed=False, replaced=0)
            return
        status = deployment.status
        late = status.observed_generation < deployment.metadata.generation
        mixed = late or status.replicas != status.updated_replicas
        # the replicas of an earlier template are no progress, nor is the last replica of a roll-out that has ended
        replaced = status.updated_replicas if current and not late and not server.steady else 0
        self._upgrades.follow(key, generation, settled=False, mixed=mixed, replaced=replaced)


def _explained(kind: str, error: ClusterError) -> ClusterError:
    """Return the error with the remedy, if the operator may not write that kind or the cluster does not have it."""
    field, value = {"Ingress": ("ingress", "ingress"), "HTTPRoute": ("route", "gatewayAPI")}.get(kind, ("", ""))
    if field and error.status == 403:
        remedy = f"install the operator with exposure.{value}, or remove spec.serving.{field}"
        return Refused(403, f"the operator may not write {kind} objects; {remedy}: {error}")
    if field and error.status == 404:
        return Refused(404, f"the cluster has no kind {kind}; install it, or remove spec.serving.{field}")
    return error
