"""Training on a Dask cluster: rows stay on its workers, which make every step together."""
