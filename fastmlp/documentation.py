"""Where the site is."""

PAGE_OF_CLASS = "https://fastmlp.readthedocs.io/en/stable/api/generated/fastmlp.{estimator_name}.html"
"""Of an estimator: scikit-learn's HTML representation links to it."""
