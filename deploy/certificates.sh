#!/bin/sh
# Run with OpenSSL 3.0: what it makes was checked with `openssl verify`.
#
# Certificates for trying deploy/compose.yaml: a CA, one certificate for each name given (for servers and
# for members of etcd among themselves), and one named client for Culvert at etcd. The CA's key lies
# beside them, unprotected, which is why they are for trying only.
#
#   sh certificates.sh DIRECTORY NAME…
set -eu
umask 077
dir=$1
shift
mkdir -p "$dir"
cd "$dir"
test ! -e ca.key || { echo "there is a CA in $dir already" >&2; exit 1; }

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null; }

key ca
openssl req -x509 -new -key ca.key -sha256 -days 365 -subj "/CN=culvert trial CA" -out ca.pem

for name in "$@" client; do
	key "$name"
	openssl req -new -key "$name.key" -subj "/CN=$name" -out request
	cat >extensions <<END
subjectAltName = DNS:$name, DNS:localhost, IP:127.0.0.1
extendedKeyUsage = serverAuth, clientAuth
keyUsage = critical, digitalSignature
END
	openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -sha256 -days 365 \
		-extfile extensions -out "$name.pem" 2>/dev/null
	rm request extensions
done
chmod 644 ./*.pem
