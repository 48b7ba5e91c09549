# row: F gzip bomb
# expect: MEMORY_LIMIT|CAPABILITY_ERROR
import zlib
packer = zlib.compressobj(9)
head, block = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
len(zlib.decompressobj().decompress(head + block * 200)) * 0 + 1 / 0
