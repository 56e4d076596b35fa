"""The paper: label-free segmentation by contrasting image patches (arXiv 2208.10779)."""

import os
import sys

# OpenMP's idle threads spin and take the cores that a window, or another process, needs: a step
# then takes ten times as long. The variable is read when torch loads, so it must be set before
# that; a value of the user's stays.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
