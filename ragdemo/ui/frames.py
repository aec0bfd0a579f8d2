"""Ends what Gradio leaves running in the browser: its loading screen asks for frames for ever."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What has asked for 300 frames on end, five seconds of them, is no animation; it is called four times a second.
_SCRIPT = b"""<script>{
  const frame = requestAnimationFrame.bind(window), unframe = cancelAnimationFrame.bind(window);
  let frames = 0;  // that the loop at hand has asked for
  window.requestAnimationFrame = (callback) => {
    const asked = frames + 1;
    const call = (now) => { frames = asked; try { callback(now); } finally { frames = 0; } };
    return asked < 300 ? frame(call) : -setTimeout(() => call(performance.now()), 250);
  };
  window.cancelAnimationFrame = (id) => id < 0 ? clearTimeout(-id) : unframe(id);
}</script>"""


class FewerFrames:
    """ASGI middleware that puts the script before all others: what `launch(head=...)` adds comes too late for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the page itself with the script, and everything else as it is."""
        if scope["type"] != "http" or scope["path"] != "/":
            await self._app(scope, receive, send)
            return
        start: Message = {}

        async def send_longer(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message  # held back: the length of what follows is among its headers
                return
            if start:
                body = message.get("body", b"").replace(b"<head>", b"<head>" + _SCRIPT, 1)
                if len(body) > len(message.get("body", b"")):
                    MutableHeaders(raw=start["headers"])["content-length"] = str(len(body))
                    message = message | {"body": body}
                await send(start)
                start = {}
            await send(message)

        await self._app(scope, receive, send_longer)
