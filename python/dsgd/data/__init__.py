"""Reading, writing, fetching and generating data."""

from dsgd.data.dataset import Dataset
from dsgd.data.idx import load_idx, read_idx
from dsgd.data.libsvm import load_libsvm, save_libsvm
from dsgd.data.reading import load
from dsgd.data.registry import available, fetch
from dsgd.data.shards import Shard, read_libsvm_files
from dsgd.data.synthetic import make_clusters, make_like, make_text_classification
from dsgd.data.tables import load_csv

__all__ = [
    "Dataset",
    "Shard",
    "available",
    "fetch",
    "load",
    "load_csv",
    "load_idx",
    "load_libsvm",
    "make_clusters",
    "make_like",
    "make_text_classification",
    "read_idx",
    "read_libsvm_files",
    "save_libsvm",
]
