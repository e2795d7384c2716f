"""The benchmark: the same training by fastmlp and by every other engine, side by side. Run ``python -m bench``.

``python -m bench --real-data`` compares the estimators with scikit-learn's, ``bench.roofline`` shows where the time of
a step goes, ``bench.footprint`` what the engines weigh; NOTES.md tells what was tried.
"""
