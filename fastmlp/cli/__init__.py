"""The command line, ``python -m fastmlp``: a house of its own, which uses the package as its users do."""
