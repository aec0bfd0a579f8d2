"""Ends what Gradio leaves running in the browser: its loading screen asks for frames for ever."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What asks for frame after frame for more than five seconds is no animation; it is called four times a second.
_SCRIPT = b"""<script>{
  const frame = requestAnimationFrame.bind(window), unframe = cancelAnimationFrame.bind(window);
  let began = 0;  // when the loop at hand asked first
  window.requestAnimationFrame = (callback) => {
    const asked = began || performance.now();
    const call = (now) => { began = asked; try { callback(now); } finally { began = 0; } };
    return performance.now() - asked < 5000 ? frame(call) : -setTimeout(() => call(performance.now()), 250);
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
                if len(body) > len(message.get("body", b"")) and not message.get("more_body"):
                    MutableHeaders(raw=start["headers"])["content-length"] = str(len(body))
                    message = message | {"body": body}
                await send(start)
                start = {}
            await send(message)

        await self._app(scope, receive, send_longer)
