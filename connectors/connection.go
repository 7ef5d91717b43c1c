package connectors

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"

	"culvert/internal/secret"
)

// Connection is one to a provider's token endpoint, name, address and certificate checked, over which
// nothing has been sent. What is slow and fails most is done before its user commits himself to send. It
// is used once, or closed.
type Connection struct {
	client *Client
	conn   *Connector
	wire   net.Conn
	used   atomic.Bool
}

// Connect connects to where a connector's refresh tokens are sent. Errors are of type [Error], none of them
// Ambiguous.
func (c *Client) Connect(ctx context.Context, conn *Connector) (*Connection, error) {
	endpoint := conn.RefreshEndpoint()
	switch {
	case endpoint == "":
		return nil, refusal("the provider has no token endpoint")
	case !conn.Complete():
		return nil, refusal("the provider's URLs need config that was not given")
	}
	if err := c.egress.CheckURL(endpoint); err != nil {
		return nil, blocked(err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	wire, err := c.dial(ctx, endpoint)
	if err != nil {
		failed := transportError(err, false)
		c.log(ctx, "connect", conn, &answer{conn: conn, sent: c.now().UTC()}, failed)
		return nil, failed
	}
	return &Connection{client: c, conn: conn, wire: wire}, nil
}

// dial opens the connection of a URL that has been checked.
func (c *Client) dial(ctx context.Context, endpoint string) (net.Conn, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, errors.New("not a URL") // the error would quote it
	}
	host := u.Hostname()
	wire, err := c.egress.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(urlPort(u)))))
	if err != nil || u.Scheme != "https" {
		return wire, err
	}
	config := c.transport.TLSClientConfig.Clone()
	config.ServerName = host
	config.NextProtos = []string{"http/1.1"}
	secured := tls.Client(wire, config)
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = wire.Close()
		return nil, err
	}
	return secured, nil
}

// Refresh is [Client.Refresh] over this connection. An error is Ambiguous from here on, unless the provider
// gave a definite answer.
func (l *Connection) Refresh(ctx context.Context, creds Credentials, refresh secret.Bytes) (Tokens, error) {
	defer l.Close() // net/http closes what it took; this is for a request that could not be built
	over := *l.client
	over.transport = l.client.transport.Clone()
	over.transport.DialContext, over.transport.DialTLSContext = l.take, l.take
	return over.Refresh(ctx, l.conn, creds, refresh)
}

// take hands the connection over, once.
func (l *Connection) take(context.Context, string, string) (net.Conn, error) {
	if l.used.Swap(true) {
		return nil, errors.New("a connection is used once")
	}
	return l.wire, nil
}

// Close ends a connection that is not used after all.
func (l *Connection) Close() { _ = l.wire.Close() }
