# row: C passwd
# wasm: value "denied"
# process: value "denied"
# red: landlock given seccomp rlimits ids
try:
    open("/etc/passwd").close()
    said = "succeeded"
except OSError:
    said = "denied"
said
