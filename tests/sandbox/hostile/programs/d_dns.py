# row: D DNS
# expect: value "denied"
import socket
try:
    socket.getaddrinfo("belljar.invalid", 80)
    said = "succeeded"
except OSError:
    said = "denied"
said
