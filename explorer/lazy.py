"""torch and transformers, loaded when first needed: they take seconds, and the page must not wait for them."""

from __future__ import annotations

import threading

_loading = threading.Lock()


def transformers():
    """The transformers module, its parts for captioning loaded.

    Two threads that load it at once find it half made and fail, so the first one in holds the door.
    """
    with _loading:
        import transformers as module
        from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer  # noqa: F401

        return module
