"""Numbers from scores; numpy only.

ranks         scores to ranks, tile by tile and fold by fold
positives     several right answers a query: mAP@R, R-Precision, R@k
retrieval     ranks to recalls, medians, rsum
significance  intervals and p-values over images and seeds
detection     AUC, average precision, intervals over images
grades        Spearman correlation with human grades
separation    matched against mismatched similarities
published     the papers' tables
"""
