# row: A subclasses
# expect: ok
found = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ in ("Popen", "FileIO", "_wrap_close")]
made = []
for kind in found:
    try:
        made.append(kind(["true"]) if kind.__name__ == "Popen" else kind("/etc/passwd"))
    except Exception:
        pass
assert not made, made
