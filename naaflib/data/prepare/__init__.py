"""Data sets made and checked: from people's files to the SCAN layout.

fetch           downloads of a manifest
convert         features in files to arrays;  tsv, archives: the files;  image_ids, matches: which is whose
caption_tables  captions in Karpathy's JSON or a table (plain_tables)
own_pictures    a folder of pictures and captions in any file;  image_captions: that file
verify          every check in a table;  split_checks, picture_checks, report
"""
