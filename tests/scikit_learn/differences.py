"""The tests of scikit-learn that fail with dsgd's estimators in its place, with the reasons.

A name without brackets stands for all parametrisations of a test. A listed test that passes is an
error, and so is a listed test that does not exist: the list has exactly the differences.
"""

from __future__ import annotations

RELEASE = "1.9"
"""The release of scikit-learn that has these tests."""

SGD = {
    "test_sgd_l1": "L1 is brought by each sample that is visited, and not as a sum over the last visits: weights that "
    "L1 makes zero in the limit are as small as the last step, 3e-4 here, rather than exactly zero.",
    "test_tol_parameter": "The order of the rows is another: with this seed, the epoch from which on nothing is gained "
    "is the same for both values of tol; with most seeds the larger value ends sooner, as the test wants it.",
    "test_validation_mask_correctly_subsets": "The score on held-out rows is dsgd's own code; the test replaces a "
    "private class of scikit-learn. Which rows are held out is tested in test_validation_set_not_used_for_training.",
}

MINI_BATCH_K_MEANS: dict[str, str] = {}


def _without(option: str, *tests: str) -> dict[str, str]:
    return dict.fromkeys(tests, f"dsgd.MLPClassifier has no {option}.")


MLP = {
    **_without(
        "solver: it trains by mini-batches with momentum",
        "test_lbfgs_classification",
        "test_lbfgs_classification_maxfun",
        "test_learning_rate_warmstart",
        "test_partial_fit_classification",
        "test_partial_fit_classes_error",
        "test_partial_fit_errors",
        "test_sparse_matrices",
        "test_verbose_sgd",
        "test_warm_start_full_iteration",
        "test_mlp_warm_start_no_convergence",
    ),
    **_without("activation: it is the rectifier", "test_fit", "test_gradient", "test_predict_proba_binary"),
    **_without("labels of several classes a row", "test_multilabel_classification", "test_predict_proba_multilabel"),
    **_without("partial_fit", "test_partial_fit_unseen_classes", "test_mlp_partial_fit_after_fit"),
    **_without("warm_start", "test_warm_start", "test_mlp_warm_start_with_early_stopping"),
    **_without(
        "tol: it trains for max_iter passes",
        "test_tolerance",
        "test_adaptive_learning_rate",
        "test_n_iter_no_change",
        "test_n_iter_no_change_inf",
        "test_mlp_classifier_dtypes_casting",
        "test_mlp_param_dtypes",
    ),
    **_without(
        "early_stopping",
        "test_early_stopping",
        "test_early_stopping_stratified",
        "test_mlp_early_stopping_string_labels",
        "test_preserve_feature_names",
    ),
}
