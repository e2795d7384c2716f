"""Fitted estimators leave Python: as ONNX files, as C, through skl2onnx; and those of scikit-learn come in."""
