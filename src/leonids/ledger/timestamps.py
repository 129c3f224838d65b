"""Time stamps by RFC 3161, through ``rfc3161-client`` (the extra ``anchors``). Only a hash leaves the machine."""

import hashlib
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime

from leonids.errors import MissingDependency
from leonids.ledger.anchors import Stamp, Stamped
from leonids.ledger.lines import Broken

WAIT_S = 30.0

Post = Callable[[str, bytes], bytes]


def post(url: str, query: bytes) -> bytes:
    """Send a time-stamp query and return the answer. Raises ``OSError`` where the authority cannot be reached."""
    request = urllib.request.Request(url, data=query, headers={"Content-Type": "application/timestamp-query"})
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        body: bytes = answer.read(1_000_000)
    return body


def stamp_at(url: str, *, send: Post = post) -> Stamp:
    """Return what asks the authority at ``url`` for a signed time. Raises ``MissingDependency`` without the extra."""
    try:
        import rfc3161_client as rfc  # noqa: PLC0415
    except ModuleNotFoundError:
        raise _missing() from None

    def stamp(message: bytes) -> Stamped:
        builder = rfc.TimestampRequestBuilder().data(message).hash_algorithm(rfc.HashAlgorithm.SHA256)
        token = send(url, builder.build().as_bytes())
        try:
            found = rfc.decode_timestamp_response(token)
            granted = rfc.PKIStatus(found.status) == rfc.PKIStatus.GRANTED
        except ValueError as error:
            raise OSError(f"{url} gave no time stamp ({error})") from None
        if not granted or found.tst_info.message_imprint.message != hashlib.sha256(message).digest():
            raise OSError(f"{url} did not sign what it was asked to sign")
        return Stamped(token, _utc(found.tst_info.gen_time), url)

    return stamp


def checker(roots: bytes) -> Callable[[bytes, bytes], str]:
    """Return what checks a token against trusted root certificates (PEM) and returns its time.

    It raises ``Broken`` for a token that the roots do not vouch for or that signs another message.
    """
    try:
        import rfc3161_client as rfc  # noqa: PLC0415
        from cryptography import x509  # noqa: PLC0415
    except ModuleNotFoundError:
        raise _missing() from None
    builder = rfc.VerifierBuilder()
    for root in x509.load_pem_x509_certificates(roots):
        builder = builder.add_root_certificate(root)
    verifier = builder.build()

    def check(token: bytes, message: bytes) -> str:
        try:
            found = rfc.decode_timestamp_response(token)
            verifier.verify_message(found, message)
        except (ValueError, rfc.VerificationError) as error:
            raise Broken(f"the token does not hold ({error})") from None
        return _utc(found.tst_info.gen_time)

    return check


def unchecked(token: bytes, message: bytes) -> str:
    """Stand in for ``checker`` where no root certificates are given: every token is refused."""
    del token, message
    raise Broken("no root certificate was given to check it with")


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _missing() -> MissingDependency:
    return MissingDependency("the package 'rfc3161-client' is not installed", way_out="pip install 'leonids[anchors]'")
