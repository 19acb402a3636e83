"""Pictures of descents, trainings and differences.

Every function takes ``ax=None`` and returns the Axes that it drew on. None calls ``show`` or changes a
setting of matplotlib, which is imported by the first call and not before.
"""

from ._convergence import convergence
from ._epochs import history
from ._outcomes import outcomes
from ._stencil import stencil
from ._steps import step_sweep
from ._trajectories import paths

__all__ = ["convergence", "history", "outcomes", "paths", "stencil", "step_sweep"]
