package simulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// TLSKinds are the certificates that Certificate makes: a good one, one that is
// past its time, one of another host, and one that nobody signed.
func TLSKinds() []string { return []string{"good", "expired", "wrong-name", "self-signed"} }

// Certificate makes a certificate of a kind for hosts (names and addresses), and
// the one of the authority that signed it, for clients to trust. Both are new
// each time and live in memory.
func Certificate(kind string, hosts []string, now time.Time) (cert tls.Certificate, authority *x509.Certificate, err error) {
	if !slices.Contains(TLSKinds(), kind) {
		return cert, nil, fmt.Errorf("no certificate is of the kind %q: %s", kind, strings.Join(TLSKinds(), " "))
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, nil, err
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "batchwright simulator"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(30 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return cert, nil, err
	}
	if authority, err = x509.ParseCertificate(der); err != nil {
		return cert, nil, err
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "simulator"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if kind == "expired" {
		leaf.NotBefore, leaf.NotAfter = now.Add(-48*time.Hour), now.Add(-24*time.Hour)
	}
	if kind == "wrong-name" {
		hosts = []string{"another.invalid"}
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, h)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, nil, err
	}
	parent, signer := authority, caKey
	if kind == "self-signed" {
		parent, signer = leaf, key
	}
	if der, err = x509.CreateCertificate(rand.Reader, leaf, parent, &key.PublicKey, signer); err != nil {
		return cert, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, authority, nil
}
