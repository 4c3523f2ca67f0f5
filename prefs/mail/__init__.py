"""What a mailbox provider will make of a message and of its unsubscribe link.

``check`` reads a message as it was sent; ``conformance`` speaks to a link as a provider
does. Both work for links of any service, and look closer at those of this installation.
"""

from urllib.parse import urlsplit


def path_here(url: str, public_url: str) -> str | None:
    """The path of ``url`` below this installation's own, or None if it leads elsewhere.

    Blind to the scheme: a link of ours that was written with http is ours.
    """
    try:
        at, base = urlsplit(url), urlsplit(public_url)
    except ValueError:
        return None
    if at.netloc.lower() != base.netloc.lower() or not at.path.startswith(f"{base.path}/"):
        return None
    return at.path.removeprefix(base.path)
