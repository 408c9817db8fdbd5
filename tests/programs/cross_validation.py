"""scikit-learn's cross-validation and grid search in processes, by joblib: on its own backend, or on plait's.

usage: cross_validation.py [loky|plait]
"""

import sys

import joblib
import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score

if __name__ == "__main__":
    backend = sys.argv[1]
    if backend == "plait":
        import plait

        plait.register_joblib()
    features, classes = load_iris(return_X_y=True)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        scores = cross_val_score(LogisticRegression(max_iter=500), features, classes, cv=4)
        print("scores:", [f"{score:.4f}" for score in scores])
        search = GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.01, 1.0]}, cv=3)
        search.fit(features, classes)
        print("best:", search.best_params_, f"{search.best_score_:.4f}")
        # More than joblib passes by value: it maps files into its workers, plait shared memory.
        large = np.arange(2_000_000, dtype="f8")
        sums = joblib.Parallel()(joblib.delayed(np.sum)(large[place::4]) for place in range(4))
        print("sums:", [float(each) for each in sums])
