# row: E personality
# with: attempts
through(executable=lambda: __import__("mmap").mmap(-1, 4096, flags=0x22, prot=7).close())
