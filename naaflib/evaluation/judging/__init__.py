"""Score matrices of any model measured: read from files, checked, ranked, with intervals over images.

formats    .npy, .npz, tensors, HDF5
matrix     blocks of scores in the benchmark's order, whatever the file's
gallery    which images and captions: a public benchmark's or a data set's; ids in another order
findings   ties, values that are not finite, queries whose scores are all equal
judge      the whole judgement of one matrix
"""
