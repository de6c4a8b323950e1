"""scenes, the built-in data set: rendered pictures that know which region each word speaks of.

world, layout   objects and where they stand
grammar, words  captions;  foils: captions with one word made wrong
pixels          pictures;  regions, features: boxes and their features
maker           one image after the other;  dataset: the folder, written and read
public_forms    a split written as SugarCrepe, VALSE and Flickr30k Entities
"""
