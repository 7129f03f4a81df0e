"""Checks of hosts and origins, headers and path prefix, shared by the service and the page.

Plain ASGI, which needs starlette alone; connections.py needs uvicorn.
"""
