"""Features of people's own pictures: one small interface, an extractor a file.

base         what an extractor is; grids of boxes;  registry: an extractor by name
pixels       the description of the built-in data set, which needs nothing
networks     what the extractors with a torch model share
hub          vision models of transformers by name or local folder;  detectors: its detectors
timm         vision models of timm by name or local folder
onnx         any ONNX model, by onnxruntime
writing      pictures of a data set -> features and boxes in the layout, resumable
"""
