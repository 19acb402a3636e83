"""From a function written in NumPy to a graph, its derivative graph, and a program for the machine."""
