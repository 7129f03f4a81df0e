"""What the service and the page have in common as HTTP servers: who may ask, and from where.

Plain ASGI, which needs starlette alone.
"""
