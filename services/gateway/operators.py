"""The operator's endpoints: metrics, the live calls, ending one of them. They need API_KEY."""

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.gateway.calls import CallStore
from services.gateway.endings import Endings
from services.gateway.status import live_calls
from shared.bus import BusError
from shared.ids import InvalidId, check_call_id
from shared.operator_key import OperatorKey


class OperatorRoutes:
    """`/metrics` and `/calls`."""

    def __init__(self, key: OperatorKey, store: CallStore, endings: Endings) -> None:
        """`key` opens them all."""
        self._key = key
        self._store = store
        self._endings = endings
        self.router = APIRouter(dependencies=[Depends(self._check)])
        self.router.add_api_route("/metrics", self.metrics, methods=["GET"])
        self.router.add_api_route("/calls", self.calls, methods=["GET"])
        self.router.add_api_route("/calls/{call_id}", self.end, methods=["DELETE"])

    async def _check(self, request: Request) -> None:
        refusal = self._key.refusal(request.headers.get("Authorization", ""))
        if refusal is not None:
            headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else None
            raise HTTPException(refusal.status, refusal.reason, headers)

    async def metrics(self) -> Response:
        """Prometheus metrics of this process."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def calls(self) -> Response:
        """The live calls of all gateways."""
        try:
            return Response(await live_calls(self._store), media_type="application/json")
        except BusError as error:
            raise HTTPException(503, "the broker cannot be reached") from error

    async def end(self, call_id: str) -> Response:
        """End a call, wherever its line is."""
        try:
            ended = await self._endings.end(check_call_id(call_id), "operator")
        except InvalidId as error:
            raise HTTPException(400, "not a call id") from error
        except BusError as error:
            raise HTTPException(503, "the broker cannot be reached") from error
        if not ended:
            raise HTTPException(404, "no such call, or it is over")
        return Response(status_code=204)
