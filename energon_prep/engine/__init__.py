"""The engine: runs the way of a sample, from plan to ledger."""

import os

# Read when torch is first imported; a program that did so before keeps what it has. Otherwise torch's threads wait for
# each other in a loop, on processors that could decode and write: three times as slow where there are few of them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# oneDNN keeps the kernels of the last 1024 sizes it met, some 30 MB that a long run fills up slowly.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
