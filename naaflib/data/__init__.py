"""Data sets in the SCAN layout, read for training and evaluation.

manifest    a data set's files, their names and checksums;  splits: a split opened
captions    lines to words;  vocabulary: words to ids;  glove: word vectors
features    regions of images, memory-mapped;  npy, number_types, row_counts: checks of their file
boxes       places of regions;  batches: training batches;  inspection: what a set looks like
writing     new files, whole or not at all
pictures    a picture as every step sees it;  extract/: their features, by extractors
public/     benchmarks, read as they are published
prepare/    sets made and checked: fetch, convert, import, verify;  scenes/: the built-in set
"""
