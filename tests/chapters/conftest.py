"""Let nbval run the chapters as Jupyter does, and share the cores among those that run side by side."""

import os

from tools.execute import cores
from tools.notebooks import chapter_paths


def pytest_configure(config):
    if not config.getoption("nbval", default=False):
        return
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    side_by_side = max(1, min(workers, len(chapter_paths())))
    os.environ["OMP_NUM_THREADS"] = str(max(1, cores() // side_by_side))
    _keep_history()


def _keep_history():
    """Run cells with history: without it, as nbval has it, IPython shows what a closing `;` should hide."""
    from nbval.kernel import RunningKernel

    def execute_cell_input(self, cell_input, allow_stdin=None):
        return self.kc.execute(cell_input, allow_stdin=allow_stdin, stop_on_error=False)

    RunningKernel.execute_cell_input = execute_cell_input
