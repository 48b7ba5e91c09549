"""The process backend: the guest in native CPython, behind wall 2 alone. For native wheels and full speed."""
