"""Public benchmarks, read as they are published: what is right, beyond a data set's own captions.

coco           COCO's test ids in SCAN's order; right answers of ECCV Caption and CxC, from eccv-caption
sits           human grades of image-caption pairs: Crisscrossed Captions
foils          SugarCrepe and VALSE as items; pair_scores: tables of other models' scores of them;
               pictures: where an item's picture stands, and whether a training saw it
entities       Flickr30k Entities: the regions that each word speaks of; entity_files reads its two files
"""
