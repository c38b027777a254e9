"""Reading, writing and generating data."""

from dsgd.data.libsvm import load_libsvm, save_libsvm
from dsgd.data.synthetic import make_text_classification

__all__ = ["load_libsvm", "make_text_classification", "save_libsvm"]
