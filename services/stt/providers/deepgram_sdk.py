"""Deepgram's SDK, loaded whole: by itself it imports most of its parts, a fifth of a second, during the first call."""

import warnings

with warnings.catch_warnings():
    # Its sockets are those that `websockets` calls legacy since 14.0.
    warnings.simplefilter("ignore", DeprecationWarning)
    from deepgram import AsyncDeepgramClient
    from deepgram.environment import DeepgramClientEnvironment
    from deepgram.listen.client import AsyncListenClient
    from deepgram.listen.v1.client import AsyncV1Client
    from deepgram.listen.v1.socket_client import AsyncV1SocketClient
    from deepgram.listen.v1.types.listen_v1results import ListenV1Results
    from deepgram.listen.v2.client import AsyncV2Client
    from deepgram.listen.v2.socket_client import AsyncV2SocketClient
    from deepgram.listen.v2.types.listen_v2turn_info import ListenV2TurnInfo

__all__ = [
    "AsyncDeepgramClient",
    "AsyncListenClient",
    "AsyncV1Client",
    "AsyncV1SocketClient",
    "AsyncV2Client",
    "AsyncV2SocketClient",
    "DeepgramClientEnvironment",
    "ListenV1Results",
    "ListenV2TurnInfo",
]
