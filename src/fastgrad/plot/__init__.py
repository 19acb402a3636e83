"""Pictures of descents and trainings.

Every function takes ``ax=None`` and returns the Axes that it drew on. None calls ``show`` or changes a
setting of matplotlib, which is imported by the first call and not before.
"""

from ._convergence import convergence
from ._epochs import history
from ._outcomes import outcomes
from ._trajectories import paths

__all__ = ["convergence", "history", "outcomes", "paths"]
