"""Functions that a notebook's cells call: open data and runs, draw results, keep figures and tables.

What they call (measures, explanations, figures) lies in the rooms below.

keep        data, runs and settings from a notebook's parameters; figures and tables into the run folder
results     recalls beside chance, the ensemble, queries on contact sheets
pairs       images and captions to look at, explained and drawn
measured    pointing game and foil detection, of one model or of two side by side
samples     the two samples of similarities
search      pictures searched by texts, an answer taken apart, a text made wrong
comparison  runs compared: differences, intervals, the queries that changed
judging     score files of any models judged
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
    words_from,
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
