# row: D AF_NETLINK
# row: D AF_VSOCK
# row: D AF_ALG
# row: D AF_PACKET
# with: attempts
import socket
def of(family, kind):
    def attempt():
        socket.socket(family, kind).close()
    return attempt
through(netlink=of(16, 3), vsock=of(40, 1), alg=of(38, 5), packet=of(17, 3), raw_=of(2, 3))
