"""The model: what turns features and captions into scores.

encoders    features and word ids to unit vectors;  bert: a text model of transformers as text encoder
model       encoders, boundary and similarity as one
checkpoint  files of ours, and those that the authors released
"""
