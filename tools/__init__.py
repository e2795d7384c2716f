"""What builds, checks and releases: ``python -m tools.wheel``, ``python -m tools.portability``. Not installed."""
