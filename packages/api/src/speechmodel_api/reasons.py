"""Reasons: the CamelCase words that conditions, Events, stages and stage programs report.

`make generate` writes docs/reasons.md from this file. A reason that a stage program of another release reports may be missing
here, so documents carry reasons as strings, and `severity_of` treats an unknown one as a warning.
"""

from enum import StrEnum
from typing import Self


class Severity(StrEnum):
    """The attention that a reason needs from a user."""

    ROUTINE = "routine"
    """Expected in normal operation. It appears in conditions and posts no Event."""
    NORMAL = "normal"
    """Progress worth an Event of type Normal."""
    WARNING = "warning"
    """Something went wrong and may recover without help. It posts an Event of type Warning."""
    ERROR = "error"
    """Something went wrong and a user must act. It posts an Event of type Warning."""


class Reason(StrEnum):
    """Every reason that this release reports, with its severity, its meaning and what to do about it."""

    severity: Severity
    remedy: str
    """Advice for the user. It is empty when there is nothing to do."""

    def __new__(cls, word: str, severity: Severity, meaning: str, remedy: str = "") -> Self:
        """Create a member whose docstring is its meaning."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.severity = severity
        member.__doc__ = meaning
        member.remedy = remedy
        return member

    # Progress of the stages
    PREPARING = "Preparing", Severity.NORMAL, "The recordings are being checked and converted."
    DOWNLOADING = "Downloading", Severity.NORMAL, "The checkpoint of training.initFrom.s3 is being downloaded."
    TRAINING = "Training", Severity.NORMAL, "The model is being trained."
    CONVERTING = "Converting", Severity.NORMAL, "The graph is being converted to a memory-mapped file."
    EVALUATING = "Evaluating", Severity.NORMAL, "The word error rate is being measured on the test clips."
    PUBLISHING = "Publishing", Severity.NORMAL, "The model and its report are being uploaded."
    COMPARING = (
        "Comparing",
        Severity.NORMAL,
        "The served version is being measured on the test clips of the new one, for evaluation.gate.",
    )
    PREPARED = "Prepared", Severity.NORMAL, "The dataset is ready."
    TRAINED = "Trained", Severity.NORMAL, "The model is trained for the current spec."
    NOTHING_TO_TRAIN = (
        "NothingToTrain",
        Severity.NORMAL,
        "The checkpoints had already reached training.maxEpochs, so no epoch was trained.",
        "Raise training.maxEpochs to train longer, or change training.restartToken to train from scratch.",
    )
    PUBLISHED = "Published", Severity.NORMAL, "The version is in the bucket and was read back."
    WAITING_FOR_PREPARE = "WaitingForPrepare", Severity.ROUTINE, "The stage waits for prepare."
    WAITING_FOR_DOWNLOAD = "WaitingForDownload", Severity.ROUTINE, "The stage waits for download."
    WAITING_FOR_TRAIN = "WaitingForTrain", Severity.ROUTINE, "The stage waits for train."
    WAITING_FOR_CONVERT = "WaitingForConvert", Severity.ROUTINE, "The stage waits for convert."
    WAITING_FOR_EVALUATE = "WaitingForEvaluate", Severity.ROUTINE, "The stage waits for evaluate."
    WAITING_FOR_PUBLISH = "WaitingForPublish", Severity.ROUTINE, "The stage waits for publish."
    WAITING_FOR_COMPARE = "WaitingForCompare", Severity.ROUTINE, "The promotion waits for compare."
    WAITING = "Waiting", Severity.ROUTINE, "The stage waits for its next attempt."
    FAILED = "Failed", Severity.ERROR, "The stage failed without reporting a reason.", "Read the log of its pod."

    # Holds
    SUSPENDED = (
        "Suspended",
        Severity.NORMAL,
        "The field spec.suspend is true, so no stage runs. All saved work is kept.",
        "Set spec.suspend to false to continue.",
    )
    INTERRUPTED = (
        "Interrupted",
        Severity.NORMAL,
        "`speechmodel run` was interrupted. All saved work is kept.",
        "Run the same command to continue.",
    )
    SUPERSEDED = (
        "Superseded",
        Severity.NORMAL,
        "The spec or the pod settings were edited, or the labels for Kueue while the Job waits. The attempt is stopped and a new one "
        "follows. A trainer also reports it when a newer attempt has taken over its checkpoints.",
    )
    STOPPED = "Stopped", Severity.NORMAL, "The attempt was stopped on purpose, with everything saved."
    WAITING_FOR_PODS = "WaitingForPods", Severity.ROUTINE, "The pods of an earlier attempt are still terminating."
    WAITING_FOR_CLAIM = (
        "WaitingForClaim",
        Severity.ROUTINE,
        "The workspace claim does not exist yet.",
        "Create the PersistentVolumeClaim that training.storage.claimName names, if that field is set.",
    )
    DEADLINE_EXCEEDED = (
        "DeadlineExceeded",
        Severity.ERROR,
        "Training ran longer than training.activeDeadlineSeconds, counted over all attempts.",
        "Raise training.activeDeadlineSeconds. Training continues from its last checkpoint.",
    )

    # Pods and Jobs
    UNSCHEDULABLE = (
        "Unschedulable",
        Severity.WARNING,
        "The scheduler cannot find a node for the pod. The message quotes the scheduler.",
        "Correct training.podTemplate or serving.podTemplate, or add a node that fits. The pod then starts automatically.",
    )
    VOLUME_PENDING = (
        "VolumePending",
        Severity.WARNING,
        "A volume of the pod is not bound or not mounted yet. The message quotes the scheduler, or after a minute what Events say about "
        "the pod or the workspace claim.",
        "Correct what the message names: a missing claim or StorageClass, another zone, or a provisioner that does not answer or lacks a "
        "permission. `kubectl describe pvc` and `kubectl describe pod` show more.",
    )
    NO_POD = (
        "NoPod",
        Severity.WARNING,
        "A Job has had no pod for 20 seconds. The message quotes what rejected the pod.",
        "Correct what the message names. The pod then starts automatically.",
    )
    QUOTA_EXCEEDED = (
        "QuotaExceeded",
        Severity.WARNING,
        "A ResourceQuota of the namespace leaves no room. The message quotes it.",
        "Raise the quota, lower the requests, or wait until others have ended. The pod then starts automatically.",
    )
    RESOURCES_REFUSED = (
        "ResourcesRefused",
        Severity.ERROR,
        "A ResourceQuota or a LimitRange of the namespace rejects the pod because of its requests or limits, or because it has none. The "
        "message quotes it and names the field that sets them.",
        "Set what the message asks for in training.podTemplate.resources (train), training.stageResources (other stages) or "
        "serving.podTemplate.resources (server and fetch), or let a LimitRange set it by default. A new pod then starts automatically.",
    )
    POD_SECURITY_DENIED = (
        "PodSecurityDenied",
        Severity.ERROR,
        "The Pod Security Standard of the namespace rejects the pod. The message quotes it.",
        "Correct podTemplate, or the label pod-security.kubernetes.io/enforce of the namespace. The pods need no more than restricted.",
    )
    QUEUED_BY_KUEUE = (
        "QueuedByKueue",
        Severity.NORMAL,
        "Kueue keeps the Job suspended until its queue has room.",
        "If no LocalQueue of the namespace has the name in the message, correct the label kueue.x-k8s.io/queue-name of the SpeechModel: "
        "the Job is then replaced.",
    )
    JOB_SUSPENDED = (
        "JobSuspended",
        Severity.WARNING,
        "Something other than this operator suspended the Job.",
        "Set the Job's spec.suspend to false, or delete the Job: a new attempt follows.",
    )
    NODE_LOST = (
        "NodeLost",
        Severity.WARNING,
        "The node of the pod is lost. Another pod continues from what was saved.",
    )
    EVICTED = (
        "Evicted",
        Severity.WARNING,
        "The pod was evicted: its node is drained, shuts down, or is short of memory or disk. Another pod continues from what was "
        "saved.",
    )
    PREEMPTED = (
        "Preempted",
        Severity.WARNING,
        "A pod of higher priority took the place. Another pod continues from what was saved.",
        "Give podTemplate.priorityClassName a higher priority if that happens often.",
    )
    POD_STUCK = (
        "PodStuck",
        Severity.WARNING,
        "A pod is still terminating a minute after its grace period, usually because its node is lost.",
        "Bring the node back, remove it with `kubectl delete node`, or force-delete the pod once the node is known to be off.",
    )
    POD_LOST = (
        "PodLost",
        Severity.WARNING,
        "The pod was deleted, its node was lost, or its node rejected it. The stage is retried.",
    )
    RUN_VANISHED = "RunVanished", Severity.WARNING, "A Job was deleted while it ran. The stage is retried."
    IMAGE_PULL_FAILED = (
        "ImagePullFailed",
        Severity.WARNING,
        "The kubelet cannot pull the image. The message quotes it.",
        "Check the image name and imagePullSecrets. A new attempt is made after five minutes, with the operator's current images; the wait "
        "then doubles up to an hour. To try at once, set the annotation speechops.dev/retry to a new value.",
    )
    CREDENTIALS_MISSING = (
        "CredentialsMissing",
        Severity.ERROR,
        "A Secret, a key of it, or a ConfigMap that a pod mounts does not exist. The message names it.",
        "Create the Secret that a secretRef of publish.s3, dataset.source.s3, dataset.negatives.source.s3 or training.initFrom.s3, "
        "publish.signing.privateKeySecretRef or serving.apiKeysSecretRef names, or the ConfigMap that caBundle of the operator's chart "
        "names. The pod then starts automatically, within two minutes if it mounts it.",
    )
    CREATE_CONTAINER_CONFIG_ERROR = (
        "CreateContainerConfigError",
        Severity.WARNING,
        "The container's configuration cannot be used. The message quotes the kubelet.",
        "Correct what the message names. The pod then starts automatically.",
    )
    CREATE_CONTAINER_ERROR = (
        "CreateContainerError",
        Severity.WARNING,
        "The container runtime cannot create the container.",
    )
    RUN_CONTAINER_ERROR = "RunContainerError", Severity.WARNING, "The container runtime cannot start the container."
    CRASH_LOOP_BACK_OFF = (
        "CrashLoopBackOff",
        Severity.WARNING,
        "The container exits repeatedly.",
        "Read its last message in the condition and the output of `kubectl logs --previous`.",
    )

    # How a stage program ends
    BACKOFF_LIMIT_EXCEEDED = (
        "BackoffLimitExceeded",
        Severity.ERROR,
        "The program exited without a result in training.maxAttempts attempts. The message ends with the last lines of its log.",
        "Read the log, correct the cause, then set the annotation speechops.dev/retry to a new value.",
    )
    STAGE_CRASHED = (
        "StageCrashed",
        Severity.WARNING,
        "The program exited without a result.",
        "Read its log. The stage is retried up to training.maxAttempts times.",
    )
    OUTPUT_UNREADABLE = (
        "OutputUnreadable",
        Severity.WARNING,
        "The program succeeded, but its result cannot be read. The stage runs again.",
    )
    OUTPUT_TOO_LARGE = (
        "OutputTooLarge",
        Severity.WARNING,
        "The result is larger than a termination log may be. Please report this.",
    )
    BAD_INPUT = (
        "BadInput",
        Severity.ERROR,
        "The program cannot read its input document.",
        "Use the images of the operator's release.",
    )
    INTERNAL_ERROR = (
        "InternalError",
        Severity.WARNING,
        "The program failed with an unexpected error.",
        "Read its log, and please report it.",
    )
    SYSTEM_ERROR = "SystemError", Severity.WARNING, "A system call failed. The message quotes the operating system."
    CLAIM_SIZE_REFUSED = (
        "ClaimSizeRefused",
        Severity.ERROR,
        "The workspace claim cannot get the size that training.storage asks for: its StorageClass does not allow "
        "expansion, a quota is reached, or the size is smaller than that of the claim. Stages and servers go on.",
        "Set training.storage.volumeClaimTemplate.storage to the size of the claim, or allow the expansion: set "
        "allowVolumeExpansion in the StorageClass, or raise the quota.",
    )
    STORAGE_FULL = (
        "StorageFull",
        Severity.WARNING,
        "A volume is full.",
        "Enlarge the workspace claim (training.storage), and keep the checkpoints: training continues from them.",
    )
    PERMISSION_DENIED = (
        "PermissionDenied",
        Severity.ERROR,
        "The program may not read or write a file or folder. The message names it.",
        "Make it accessible for the user and group 65532 of the pods, for example by the volume's fsGroup support, "
        "then set the annotation speechops.dev/retry.",
    )
    OUT_OF_MEMORY = (
        "OutOfMemory",
        Severity.WARNING,
        "The program exceeded its memory limit and was killed, or its node had no memory left. The message names the field to set and, if "
        "there is a limit, a larger one. A stage that exceeded its limit waits for an edit; otherwise it is tried again.",
        "Set the memory of the program: training.podTemplate.resources for train (or lower batchSize or hiddenUnits), "
        "training.stageResources for other stages, serving.podTemplate.resources for the server and fetch.",
    )
    ARTEFACT_MISSING = (
        "ArtefactMissing",
        Severity.WARNING,
        "A file of an earlier stage is missing. The stage that creates it runs again.",
    )
    ARTEFACT_DAMAGED = (
        "ArtefactDamaged",
        Severity.WARNING,
        "A file of an earlier stage has changed. The stage that creates it runs again.",
    )

    # Prepare
    INVALID_DATASET = (
        "InvalidDataset",
        Severity.ERROR,
        "The dataset cannot be used. The message names the file and the row.",
        "Correct the files and change dataset.revision.",
    )
    SYNTHESIS_UNAVAILABLE = (
        "SynthesisUnavailable",
        Severity.ERROR,
        "The program espeak-ng is missing, or none of its voices for dataset.synthesize can read the phrases.",
        "Use an image of this release, name voices that can read the phrases, or remove the field.",
    )

    # Train
    NO_TRAINING_CLIPS = (
        "NoTrainingClips",
        Severity.ERROR,
        "No clip is left to train on.",
        "Add recordings, or lower dataset.split.devPercent and testPercent.",
    )
    UNKNOWN_CHARACTERS = (
        "UnknownCharacters",
        Severity.ERROR,
        "Transcripts contain characters that are not in the alphabet.",
        "Add them to dataset.alphabet, or correct the transcripts.",
    )
    TRANSCRIPTS_TOO_LONG = (
        "TranscriptsTooLong",
        Severity.ERROR,
        "Clips are too short for their transcripts.",
        "Correct or remove the clips that the message names.",
    )
    NOTHING_TO_EXPORT = (
        "NothingToExport",
        Severity.WARNING,
        "The lineage has no finished epoch to export.",
        "Train first.",
    )
    LINEAGE_BUSY = (
        "LineageBusy",
        Severity.WARNING,
        "Another process holds the lock of the checkpoints. The stage is retried.",
    )
    WAITING_FOR_WORKERS = (
        "WaitingForWorkers",
        Severity.ROUTINE,
        "Some of the pods of training.numWorkers do not run yet. Training begins when all of them do.",
    )
    WORKER_MISSING = (
        "WorkerMissing",
        Severity.WARNING,
        "A worker of training.numWorkers did not start within 10 minutes. The message names it. The stage is retried.",
        "See why its pod is not running, or lower training.numWorkers.",
    )
    WORKER_LOST = (
        "WorkerLost",
        Severity.WARNING,
        "A worker of training.numWorkers no longer answers. All of them continue together from the last checkpoint.",
        "If it happens often, read the log of the worker that the message names.",
    )
    LOSS_DIVERGED = (
        "LossDiverged",
        Severity.ERROR,
        "The loss became infinite or not a number. The last good checkpoint is kept.",
        "Lower hyperparameters.learningRate. Training continues from the checkpoint.",
    )
    CHECKPOINTS_DAMAGED = (
        "CheckpointsDamaged",
        Severity.ERROR,
        "No checkpoint of the lineage can be read.",
        "Restore the folder from a backup, or change training.restartToken to train from scratch.",
    )
    CHECKPOINT_MISMATCH = (
        "CheckpointMismatch",
        Severity.ERROR,
        "The checkpoint belongs to another network or dataset, or the folder of the lineage has only checkpoints of another program. The "
        "message names each difference.",
        "Restore the old value, or change training.restartToken to train from scratch. Move checkpoints of another program to a folder "
        "outside of the lineage's, and name it in training.initFrom.",
    )

    INIT_FROM_UNUSABLE = (
        "InitFromUnusable",
        Severity.ERROR,
        "The checkpoint of training.initFrom cannot be read, has other sizes, or has weights that are infinite or NaN. The message names "
        "each problem.",
        "Correct the path or the prefix, give the hiddenUnits and layerNorm of the checkpoint, or raise dropLayers.",
    )

    ENGINE_MISSING = (
        "EngineMissing",
        Severity.ERROR,
        "The program of training.engine is not installed or cannot be used.",
        "Use the image of this release. On one machine, install it as docs/coqui.md describes, or use the engine Native.",
    )

    # Convert, evaluate, publish, fetch, purge
    INVALID_GRAMMAR = (
        "InvalidGrammar",
        Severity.ERROR,
        "A phrase, intent or list in decoding cannot be used. The message names it. A letter that the dataset lacks is reported as soon "
        "as the dataset is prepared, while training continues.",
        "Correct decoding.phrases, decoding.intents or decoding.lists. Nothing is trained again.",
    )
    INVALID_SCORER = (
        "InvalidScorer",
        Severity.ERROR,
        "The scorer or a hot word of decoding cannot be used with the model. The message names the file or the word. A hot word with a "
        "letter that the dataset lacks is reported as soon as the dataset is prepared, while training continues.",
        "Correct decoding.scorer, or replace the file and change dataset.revision. Nothing is trained again if dataset.revision stays.",
    )
    MODEL_UNUSABLE = "ModelUnusable", Severity.WARNING, "The runtime cannot load the model, or cannot decode with it."
    RUNTIME_MISSING = (
        "RuntimeMissing",
        Severity.WARNING,
        "The image has no libdeepspeech.",
        "Use an image of this release.",
    )
    TRIAL_TIMED_OUT = (
        "TrialTimedOut",
        Severity.WARNING,
        "The converted model did not transcribe its trial clips in time.",
    )
    UPLOAD_FAILED = (
        "UploadFailed",
        Severity.WARNING,
        "The S3 service rejected the upload or cannot be reached. The message quotes the error.",
        "Correct publish.s3 or its Secret. The model is not trained again.",
    )
    DOWNLOAD_FAILED = (
        "DownloadFailed",
        Severity.WARNING,
        "The published version, the recordings of dataset.source.s3 or dataset.negatives.source.s3, or the checkpoint of "
        "training.initFrom.s3 cannot be downloaded. The message quotes the S3 service.",
        "Correct the field that the message names, or its Secret. The download is tried again automatically.",
    )
    PUBLISHED_MODEL_LOST = (
        "PublishedModelLost",
        Severity.WARNING,
        "The files of train are lost, and the published version that would spare its training is missing from its bucket, or its model "
        "is damaged. After three failures in a row, or training.maxAttempts if that is fewer, the model is trained again.",
        "Restore the object that the message names, or the bucket.",
    )
    VERIFICATION_FAILED = (
        "VerificationFailed",
        Severity.WARNING,
        "An object in the bucket has another size or digest than the file that was uploaded.",
        "Find and stop the other program that writes below this prefix.",
    )
    SIGNING_KEY_UNUSABLE = (
        "SigningKeyUnusable",
        Severity.ERROR,
        "A key of publish.signing cannot be used: it is not an elliptic curve key in PEM, or the private key belongs to none of "
        "publicKeys.",
        "Correct the key SIGNING_KEY of the Secret, or publish.signing.publicKeys. The model is not trained again.",
    )
    SIGNATURE_MISSING = (
        "SignatureMissing",
        Severity.ERROR,
        "The published version was signed, but its signature model.sig is not in the bucket, so the version is not loaded.",
        "Find out who removed it. An edit of publish.signing.publicKeys, such as another order, signs the newest version again.",
    )
    SIGNATURE_INVALID = (
        "SignatureInvalid",
        Severity.ERROR,
        "None of publish.signing.publicKeys verifies the signature of the published version, so the version is not loaded.",
        "Find out who wrote to the bucket. If the key was changed on purpose, add its public key to publish.signing.publicKeys.",
    )
    PURGE_FAILED = (
        "PurgeFailed",
        Severity.ERROR,
        "The published objects of a deleted SpeechModel were not removed.",
        "Remove the prefix in the message by hand.",
    )
    PURGE_INCOMPLETE = (
        "PurgeIncomplete",
        Severity.ERROR,
        "Versions that were published before publish.s3 was edited are stored elsewhere and were not removed.",
        "Remove the objects in the message by hand.",
    )

    # Serving
    NOT_REQUESTED = "NotRequested", Severity.ROUTINE, "The field spec.serving is not set, so nothing is served."
    NOTHING_PUBLISHED = "NothingPublished", Severity.ROUTINE, "No version is published yet."
    DEPLOYING = "Deploying", Severity.ROUTINE, "The server's pods are starting."
    ROLLING_OUT = "RollingOut", Severity.ROUTINE, "The new version is replacing the old one, which still serves."
    ROLLOUT_BLOCKED = (
        "RolloutBlocked",
        Severity.WARNING,
        "The Deployment of the server made no progress for ten minutes. The message quotes it.",
        "`kubectl describe deployment` and the logs of the new pods show why. The version before it is still served.",
    )
    INVALID_SERVER_SETTINGS = (
        "InvalidServerSettings",
        Severity.ERROR,
        "The server exits at its start, because it cannot run with its settings on its node. The message says why.",
        "Correct what the message names, such as serving.settings or serving.env. "
        "The version before it is still served.",
    )
    PROMOTED = "Promoted", Severity.NORMAL, "Every replica serves the newest version."
    QUALITY_GATE_FAILED = (
        "QualityGateFailed",
        Severity.ERROR,
        "The newest version does not keep a limit of evaluation.gate. It is published but not promoted. The message gives both figures.",
        "Add recordings, train longer or edit evaluation.gate. The version before it is still served.",
    )
    CANARY_RUNNING = (
        "CanaryRunning",
        Severity.NORMAL,
        "Servers of the newest version take a share of the requests before it is promoted. The message counts those that failed.",
    )
    CANARY_UNREADABLE = (
        "CanaryUnreadable",
        Severity.WARNING,
        "The operator cannot read the metrics of a server of the canary, so the newest version is not promoted.",
        "Let the operator's pod reach port 8080 of the servers (networkPolicy of the chart, or your own policies).",
    )
    CANARY_FAILED = (
        "CanaryFailed",
        Severity.ERROR,
        "More requests to the canary failed than serving.canary.maxErrorRate allows, or one of its servers crashed. "
        "The newest version is published but not promoted. The message gives the figures.",
        "Edit the model to publish another version, or set the annotation speechops.dev/retry to a new value to try "
        "this one again. Remove serving.canary to promote it all the same. The version before it is still served.",
    )
    PROMOTION_HELD = (
        "PromotionHeld",
        Severity.NORMAL,
        "A newer version is published, but serving.pinnedVersion holds an earlier one.",
        "Remove serving.pinnedVersion to promote the newest version.",
    )
    UNKNOWN_VERSION = (
        "UnknownVersion",
        Severity.ERROR,
        "The version of serving.pinnedVersion is not in status.history. The versions that are served do not change.",
        "Correct or remove serving.pinnedVersion.",
    )
    SERVING = "Serving", Severity.NORMAL, "At least one replica is ready."
    WAITING_FOR_UPGRADE = (
        "WaitingForUpgrade",
        Severity.ROUTINE,
        "The servers answer as before. They will be replaced because the operator was upgraded or its settings changed. A limited number "
        "of Deployments is replaced at a time.",
        "Nothing. An edit of the SpeechModel replaces them at once, and serverUpgradesAtOnce of the chart sets the number.",
    )
    SCALED_TO_ZERO = "ScaledToZero", Severity.NORMAL, "The field serving.replicas is 0, so no server runs."
    READY = (
        "Ready",
        Severity.NORMAL,
        "A version is served. If the spec is not in effect, the condition Reconciling or Stalled says why.",
    )
    SERVER_NOT_READY = (
        "ServerNotReady",
        Severity.WARNING,
        "The local server did not become ready in time.",
        "Read its log.",
    )
    SERVER_ENDED = "ServerEnded", Severity.WARNING, "The local server exited.", "Read its log."
    PROCESS_LOST = "ProcessLost", Severity.WARNING, "A local stage program was killed. The stage is retried."

    # The API server
    INVALID_SPEC = (
        "InvalidSpec",
        Severity.ERROR,
        "The operator cannot use a value in the spec that the API server accepted. The message names each field. Running Jobs "
        "and servers continue unchanged, and nothing new is started.",
        "Correct the field. `speechmodel validate` checks a manifest before it is applied. If the value is one of a newer release, "
        "upgrade the operator.",
    )
    DELETING = "Deleting", Severity.NORMAL, "The SpeechModel is being deleted."
    NAME_CONFLICT = (
        "NameConflict",
        Severity.ERROR,
        "An object that does not belong to this SpeechModel has a name that it needs. The operator never adopts that object.",
        "Rename the SpeechModel, or remove that object. For its own workspace claim, set the label that the message names.",
    )
    MANAGED_TWICE = (
        "ManagedTwice",
        Severity.ERROR,
        "Something else changes an object of the server back again and again, such as a second operator with other settings "
        "or images.",
        "Let only one operator manage the namespace: set watchNamespaces or watchNamespaceSelector of the chart, or uninstall the "
        "other release. If there is none, find what writes the object with `kubectl get <kind> <name> -o yaml "
        "--show-managed-fields`. The operator applies the object again within an hour, and at once after "
        "`kubectl annotate --overwrite speechmodel <name> speechops.dev/retry=<new value>`.",
    )
    REFUSED = (
        "Refused",
        Severity.ERROR,
        "The API server or an admission webhook rejected an object. The message quotes the error.",
        "Correct the field, the quota or the policy that the message names. The object is written again after 30 s; this doubles up to "
        "half an hour. An edit or a new value of the annotation speechops.dev/retry writes it at once.",
    )
    CRD_OUTDATED = (
        "CRDOutdated",
        Severity.WARNING,
        "The CustomResourceDefinition is older than the operator, so the API server drops fields. The operator logs it.",
        "Upgrade the CustomResourceDefinition (`crds.enabled` of the chart).",
    )
    API_ERROR = (
        "ApiError",
        Severity.WARNING,
        "The API server, or a webhook that it called, returned an error or did not answer. The step is repeated.",
        "If it lasts, repair what the message names, such as an admission webhook that is down.",
    )
    CONFLICT = "Conflict", Severity.WARNING, "An object changed while it was being edited. It is read again."
    ALREADY_EXISTS = "AlreadyExists", Severity.WARNING, "An object of that name already exists."
    RECONCILE_ERROR = (
        "ReconcileError",
        Severity.WARNING,
        "A reconciliation failed unexpectedly and is repeated with a growing delay.",
        "Read the operator's log, and please report it.",
    )


def severity_of(reason: str) -> Severity:
    """Return the severity of a reason; a warning for one that this release does not know."""
    return _SEVERITIES.get(reason, Severity.WARNING)


_SEVERITIES = {reason.value: reason.severity for reason in Reason}
