# row: F gzip bomb
# expect: MEMORY_LIMIT|CAPABILITY_ERROR
import zlib
packer = zlib.compressobj(9)
bomb = b"".join([packer.compress(bytes(1 << 20)) for _ in range(128)] + [packer.flush()])
len(zlib.decompress(bomb)) * 0 + 1 / 0
