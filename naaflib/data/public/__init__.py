"""Public benchmarks, read in the form in which they are published.

coco    ids of the COCO test split in the SCAN order; right answers of ECCV Caption and CxC
sits    human grades of image-caption pairs (Crisscrossed Captions)
"""
