"""Pushing: an attempt carried out over HTTP.

    pusher    the host: claims runs of HTTP tasks, as a worker claims those of code
    open      what a pusher holds: open requests, limits per host, what has to wait
    attempt   one attempt: from the claimed run to its invocation and its outcome
    deliver   one request, sent within one deadline, and timed
    guard     which addresses may be reached
    circuit   hosts that are down

Receivers import `verify` from here; it loads nothing that a pusher needs.
"""

from holdfast.sign import Delivery, SignatureInvalid, verify

__all__ = ["Delivery", "SignatureInvalid", "verify"]
