"""The axes of the tensors that similarities compute with, by name; the tests check them."""

from jaxtyping import Float
from torch import Tensor

from .packing import Group

# Of one caption and some images, in the readable form.
Regions = Float[Tensor, "image region dim"]
Words = Float[Tensor, "word dim"]

# Of a block of images and packed captions, in the fast form: what a value belongs to.
ByRegion = Float[Tensor, "image region word"]
ByWord = Float[Tensor, "image word"]
ByCaption = Float[Tensor, "image caption"]
Gram = Float[Tensor, "image region region"]  # V V^T
Boundary = Float[Tensor, " word"]  # the boundary at each word
Groups = tuple[Group, ...]  # of the words
