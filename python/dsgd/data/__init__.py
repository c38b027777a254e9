"""Reading, writing and generating data."""

from dsgd.data.dataset import Dataset
from dsgd.data.libsvm import load_libsvm, save_libsvm
from dsgd.data.reading import load
from dsgd.data.synthetic import make_text_classification

__all__ = ["Dataset", "load", "load_libsvm", "make_text_classification", "save_libsvm"]
