"""The benchmark: the same training by fastmlp and by plain NumPy, side by side. Run ``python -m bench``."""
