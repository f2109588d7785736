"""The engine: runs the way of a sample, from plan to ledger."""

import os

# Both are read when torch is first imported; a program that did so before keeps what it has. Torch's threads wait for
# each other in a loop, by default for milliseconds, on processors that could decode and write meanwhile.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
# oneDNN keeps the kernels of the last 1024 sizes it met, some 30 MB that a long run fills up slowly.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
