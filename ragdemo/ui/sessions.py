"""What the server asks of a call's session before Gradio sees it."""

from __future__ import annotations

from fastapi import HTTPException, Request, status


async def refuse_empty_session(request: Request) -> None:
    """Answer 422 to a call whose session hash is empty: two of them that wait end Gradio's queue for everybody."""
    if "json" not in request.headers.get("content-type", ""):
        return  # an upload, which its endpoint reads as it comes
    try:
        body = await request.json()
    except ValueError:
        return  # the endpoint says so
    if isinstance(body, dict) and body.get("session_hash") == "":
        detail = "The session_hash is empty; send one of your own, or none to /gradio_api/call."
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, detail)
