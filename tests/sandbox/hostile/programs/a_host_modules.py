# row: A hunt for tokens
# expect: value []
import sys
[name for name in sys.modules if name.split(".")[0] in ("belljar", "mcp", "httpx", "presidio_analyzer", "wasmtime", "pytest")]
