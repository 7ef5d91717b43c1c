package history_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

// road stands between a process and a member of etcd. It passes everything on as it is, except what a
// watch delivers: that arrives late. So the process is the shipped one and does not know.
type road struct {
	member *grpc.ClientConn
	delay  time.Duration
	// late counts what was held back.
	late atomic.Int64
}

// watchMethod is how gRPC calls etcd's watch.
const watchMethod = "/etcdserverpb.Watch/Watch"

// newRoad opens a road to an endpoint and returns it with the endpoint to use instead.
func newRoad(t *testing.T, endpoint string, delay time.Duration) (*road, string) {
	t.Helper()
	member, err := grpc.NewClient(strings.TrimPrefix(endpoint, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	r := &road{member: member, delay: delay}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := grpc.NewServer(grpc.ForceServerCodec(frames{}), grpc.UnknownServiceHandler(r.pass),
		// Culvert's client pings more often than a gRPC server tolerates by default; etcd does not mind.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}))
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Stop()
		<-served
		_ = member.Close()
	})
	return r, "http://" + listener.Addr().String()
}

// pass carries one call, whatever it is, in both directions.
func (r *road) pass(_ any, from grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(from)
	ctx, cancel := context.WithCancel(from.Context())
	defer cancel()
	out := metadata.MD{}
	if in, ok := metadata.FromIncomingContext(ctx); ok {
		out.Set("hasleader", in.Get("hasleader")...)
	}
	both := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	to, err := r.member.NewStream(metadata.NewOutgoingContext(ctx, out), both, method, grpc.ForceCodec(frames{}))
	if err != nil {
		return err
	}
	go func() {
		defer cancelUnlessEOF(cancel, pump(from.RecvMsg, to.SendMsg))
		_ = to.CloseSend()
	}()
	send := from.SendMsg
	if method == watchMethod {
		late := make(chan delayed, 10_000)
		defer close(late)
		go r.deliver(ctx, late, from)
		send = func(m any) error {
			late <- delayed{m, time.Now().Add(r.delay)}
			return nil
		}
	}
	err = pump(to.RecvMsg, send)
	from.SetTrailer(to.Trailer())
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// delayed is a message and when it may arrive.
type delayed struct {
	message any
	due     time.Time
}

// deliver sends what is due, in order.
func (r *road) deliver(ctx context.Context, late <-chan delayed, to grpc.ServerStream) {
	for d := range late {
		select {
		case <-time.After(time.Until(d.due)):
		case <-ctx.Done():
			return
		}
		r.late.Add(1)
		if to.SendMsg(d.message) != nil {
			return
		}
	}
}

// pump moves messages until one side ends.
func pump(receive, send func(any) error) error {
	for {
		f := &frame{}
		if err := receive(f); err != nil {
			return err
		}
		if err := send(f); err != nil {
			return err
		}
	}
}

// cancelUnlessEOF ends a call whose caller is gone; one who has only said everything waits for answers.
func cancelUnlessEOF(cancel func(), err error) {
	if !errors.Is(err, io.EOF) {
		cancel()
	}
}

// frame is a message that nobody looked into.
type frame struct{ b []byte }

// frames is the codec that does not.
type frames struct{}

func (frames) Marshal(v any) ([]byte, error) { return v.(*frame).b, nil }

func (frames) Unmarshal(b []byte, v any) error {
	v.(*frame).b = bytes.Clone(b)
	return nil
}

func (frames) Name() string { return "proto" }
