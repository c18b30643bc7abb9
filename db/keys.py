"""Every Redis key and channel, in one place. The hash tag keeps all that belongs to a partition on one cluster node."""

from __future__ import annotations


def actions(partition: int) -> str:
    """Stream of the actions of a partition."""
    return f"mp:{{p{partition}}}:actions"


def generation(partition: int) -> str:
    """Random id of the stream's life: another value means that Redis lost data."""
    return f"mp:{{p{partition}}}:generation"


def applied(partition: int) -> str:
    """Position up to which the partition is applied, written after each commit."""
    return f"mp:{{p{partition}}}:applied"


def model(partition: int, name: str) -> str:
    """Read model of a subject, like `session:abc`."""
    return f"mp:{{p{partition}}}:model:{name}"


def live(partition: int, subject: str) -> str:
    """Stream of the newest snapshots of a subject, for those who listen."""
    return f"mp:{{p{partition}}}:live:{subject}"


def listened(partition: int) -> str:
    """Sorted set of the subjects that somebody listens to, or may come back to: until when, unix seconds."""
    return f"mp:{{p{partition}}}:listened"


LIVE_CHANNEL = "mp:live"
"""Channel on which workers tell subjects that have a new snapshot, a line each."""

APPLIED_CHANNEL = "mp:applied"
"""Channel on which workers tell positions, as text: `3.1763712000000-0`."""

REPLY_CHANNEL = "mp:reply:"
"""Prefix of one API process's channel for the outcomes that its requests wait for."""

WORKERS = "mp:workers"
"""Hash: worker id -> heartbeat (JSON); an entry older than 15 s is a dead worker."""

ARQ_QUEUE = "mp:arq"
"""arq's queue; arq derives its other keys from it and from its own prefixes."""

PARTITIONS = "mp:partitions"
"""The count of partitions, as Postgres has it."""

SCHEDULES = "mp:schedules"
"""Hash: name of a scheduled job -> when it last ran and how (JSON)."""

SCHEDULES_DUE = "mp:schedules:due"
"""Hash: name of a scheduled job -> when it runs next, unix seconds."""

SERVICE_KEYS = "mp:service_keys"
"""Hash: SHA-256 of a service key -> JSON {id, name, scopes, at}; `revoked:` and the SHA-256 -> 1."""

RATES = "mp:rate"
"""Prefix of the counters of the rate limits; the rest of the key is a hash tag."""

CATALOG = "mp:catalog"
"""The catalog for the API processes: JSON [version, body], null for the one as shipped. Postgres has it, too."""

PLANS = "mp:plans"
"""The versions of plans in force now or later, as Postgres has them (JSON)."""

FLAGS = "mp:flags"
"""What is switched on or off, for the API processes: JSON {family or group: enabled}. Postgres has it, too."""

DELIVERIES = "mp:deliveries"
"""What waits and what is dead: JSON [[sort, status, number, oldest seconds], …], counted by a schedule."""

DIFFERING = "mp:differing"
"""Hash: table of states -> how many of its rows were not what their facts say, when a schedule last compared them."""

ASIDE = "mp:aside"
"""How many sessions cannot be counted and are put aside, counted by a schedule."""

ARQ_DELIVERIES = "mp:arq:deliveries"
"""arq's queue of deliveries: a backlog of them must not hold up the schedules."""
