# row: H environment
# row: H argv
# expect: value [{}, []]
import os, sys
[dict(os.environ), [word for word in [*sys.argv, *getattr(sys, "orig_argv", [])] if word]]
