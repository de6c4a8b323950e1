"""Figures: arrays and an Axes in, the Axes out; a name that ends in `_figure` returns a whole page.

style          colours, sizes, figures that pyplot does not know of
data           caption lengths, word frequencies, vocabulary coverage, feature norms
curves         loss, recalls, boundary over epochs and steps
ranks          rank histograms, recalls beside chance and published ones, score margins
pictures       pictures with boxes, picture grids, retrieval results as contact sheets
captions       coloured captions, effects as bars
attention      heat of each word over the picture, word x region matrix
pairs          one pair on one page, with its picture or without
measures       rates with intervals beside chance, of one model or of several
separation     the numbers of two samples: fits, errors, AUC, overlap
distributions  histograms with fits and boundary, ridgelines, cumulative shares
explorer       one pair on one page, fast enough to be drawn anew for every move of a slider
"""
