"""What `make test-gpu` measures and checks on one GPU: `python -m tests.gpu`.

Each step is a function of a `Lab`, in a module of its own, and returns what is to be reported; it asserts what must
hold. tests/test_gpu.py runs the same steps, short, on the CPU. Nothing here imports tests.conftest, which hides GPUs.
"""
