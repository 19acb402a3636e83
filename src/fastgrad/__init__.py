"""fastgrad: calculus for machine learning in compiled code.

Write a function in plain NumPy; fastgrad differentiates it exactly, runs it for one input or a million in C, and
descends on thousands of problems at once.
"""

from .functions import grad, value_and_grad, vmap

__version__ = "0.1.0"
