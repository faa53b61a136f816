"""What models/convert.py is made of: PyTorch's files, layouts, and writing safetensors."""


import reprlib


class Refused(Exception):
    """A source that is not converted. The message says why, in one sentence."""


def shown(value):
    """A value of a foreign file for a message: never long."""
    return reprlib.repr(value)
