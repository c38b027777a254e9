from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

from dsgd.data import make_text_classification
from dsgd.errors import ConfigError


def test_shape_and_frequencies_are_those_of_rcv1() -> None:
    X, y = make_text_classification(5000, random_state=0)
    assert X.shape == (5000, 47236)
    assert X.dtype == np.float32
    assert X.indices.dtype == np.int32
    assert X.has_canonical_format
    assert X.nnz / 5000 == pytest.approx(72, rel=0.05)
    np.testing.assert_allclose(np.sqrt((X.multiply(X)).sum(axis=1)), 1, rtol=1e-5)
    frequency = np.sort(np.bincount(X.indices, minlength=47236) / 5000)[::-1]
    assert 0.3 < frequency[0] < 0.7
    assert frequency[100] / frequency[1000] == pytest.approx(1010 / 110, rel=0.25)  # (k + 10)^-1
    assert abs(y.mean()) < 0.1


def test_the_seed_repeats_and_every_option_changes_the_data() -> None:
    plain, y = make_text_classification(200, n_features=500, words_per_sample=20, random_state=0)
    again, y_again = make_text_classification(200, n_features=500, words_per_sample=20, random_state=0)
    assert (plain != again).nnz == 0
    assert (y == y_again).all()
    steep, _ = make_text_classification(200, n_features=500, words_per_sample=20, exponent=2.0, random_state=0)
    share = [np.sort(np.bincount(X.indices))[-20:].sum() / X.nnz for X in (plain, steep)]
    assert share[1] > 1.5 * share[0]
    assert make_text_classification(9, n_features=500, dtype=np.float64)[0].dtype == np.float64


def test_the_separation_makes_it_learnable() -> None:
    for separation, low, high in ((0.0, 0.4, 0.6), (0.5, 0.9, 1.0)):
        X, y = make_text_classification(4000, n_features=500, separation=separation, random_state=0)
        score = SGDClassifier(random_state=0).fit(X[:2000], y[:2000]).score(X[2000:], y[2000:])
        assert low < score <= high


def test_more_words_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match="words_per_sample must be an integer from 1 to 50"):
        make_text_classification(10, n_features=50, words_per_sample=51)
    assert make_text_classification(10, n_features=50, words_per_sample=50)[0].shape == (10, 50)
