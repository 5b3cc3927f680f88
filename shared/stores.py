"""What the broker keeps: the stream of events, the buckets and the object store of the fleet, and for how long."""

STREAM = "CALLS"
"""The stream of all events (`subjects.EVENTS`)."""
KEEP_EVENTS_S = 7 * 24 * 3600.0
BUCKETS = {"calls": 120.0, "waiting": 60.0, "dialogues": 24 * 3600.0, "breakers": 24 * 3600.0}
"""Seconds that a key lives after its last put, by bucket."""
OBJECTS = {"greetings": 30 * 24 * 3600.0}
"""Seconds that a value lives after its put, by object store."""
