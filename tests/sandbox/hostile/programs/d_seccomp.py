# row: D TCP
# expect: value "denied"
# red: seccomp given rlimits
import socket
try:
    socket.socket().close()
    said = "succeeded"
except OSError:
    said = "denied"
said
