"""What a notebook says in one line: opens data and runs, joins results with figures, keeps both.

The notebooks are read by people, so a cell holds a call; what a call joins lies here, and what it joins
(measures, explanations, figures) lies in the modules that have that job.

keep     data, runs and settings from a notebook's parameters; figures and tables into the run folder
results  recalls beside chance, the ensemble, queries on contact sheets
pairs    images and captions to look at, taken apart and drawn
measured attention and mismatch, measured, of one model or of two side by side
samples  the two samples of similarities
"""

from .keep import (
    alike,
    keep,
    open_data,
    readable,
    settings_for,
    settings_table,
    trained_run,
    trained_runs,
    warning,
    word_threshold,
)
from .measured import measure_words
from .pairs import attention_page, image_sheet, matrix_page, pair_page, pick_pairs, words_table
from .results import (
    best_epochs,
    join_members,
    margins,
    measured_recalls,
    query_sheet,
    recall_page,
    recall_table,
    training_page,
)
from .samples import boundary_page, hard_samples, sample_panels

__all__ = [
    "alike",
    "attention_page",
    "best_epochs",
    "boundary_page",
    "hard_samples",
    "image_sheet",
    "join_members",
    "keep",
    "margins",
    "matrix_page",
    "measure_words",
    "measured_recalls",
    "open_data",
    "pair_page",
    "pick_pairs",
    "query_sheet",
    "readable",
    "recall_page",
    "recall_table",
    "sample_panels",
    "settings_for",
    "settings_table",
    "trained_run",
    "trained_runs",
    "training_page",
    "warning",
    "word_threshold",
    "words_table",
]
