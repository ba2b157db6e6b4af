"""Pictures that answer the reader: live in JupyterLab, and in the static page without a kernel."""

from xferlib.widgets.compare import compare
from xferlib.widgets.explore import explore
from xferlib.widgets.upload import upload

__all__ = ["compare", "explore", "upload"]
