package etcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrNodeTaken means that another process beats under the same node id: it runs on a copy of the state
// directory, and two audit logs would go on as one.
var ErrNodeTaken = errors.New("another process runs under the same node id")

// silence is how long nobody may have beaten for a node before it is taken over: a beat and a half.
const silence = beatInterval + beatInterval/2

// pulse is the heartbeat of one process, and how it notices that it is not the only one with its node id.
// Every beat compares the revision of the one before. It is no lock: a process that is stopped for long
// enough loses its place and learns of it at its next beat.
type pulse struct {
	client *Client
	key    string
	// process tells this process from any other with the same node id.
	process string
	log     *slog.Logger

	// taken is set while another process beats.
	taken atomic.Bool
	// revision is that of the last beat of this process, 0 for a node that nobody beats for. It belongs
	// to the goroutine of run, as rival does: the beat of another process that was seen last.
	revision int64
	rival    rival
}

type rival struct {
	process  string
	revision int64
}

func newPulse(c *Client, key string, log *slog.Logger) *pulse {
	return &pulse{client: c, key: c.abs(key), process: rand.Text(), log: log}
}

// parseBeat reads a heartbeat. One without a process is of nobody.
func parseBeat(value []byte) (ms int64, process string, ok bool) {
	text, process, _ := strings.Cut(string(value), " ")
	ms, err := strconv.ParseInt(text, 10, 64)
	return ms, process, err == nil
}

// claim makes this process the one that beats, before it does anything else under the node id. A process
// that ended in order took its heartbeat away. After a crash it is still there, and whether somebody goes
// on with it shows within a few seconds.
func (p *pulse) claim(ctx context.Context) error {
	if p.client.embedded != nil {
		return nil // nobody else reaches that etcd, and the data directory is locked
	}
	last, err := p.read(ctx)
	if err != nil {
		return err
	}
	if last != nil {
		if err := p.listen(ctx, last); err != nil {
			return err
		}
		p.revision = last.ModRevision
	}
	switch mine, _, err := p.put(ctx); {
	case err != nil:
		return down(fmt.Errorf("first heartbeat: %w", err))
	case !mine:
		return ErrNodeTaken
	}
	return nil
}

// listen waits until the next beat of whoever beat last would have come.
func (p *pulse) listen(ctx context.Context, last *mvccpb.KeyValue) error {
	ms, process, ok := parseBeat(last.Value)
	if !ok || process == "" {
		return nil
	}
	// A time in the future is not believed, so the wait is bounded whatever stands there.
	wait := min(time.Until(time.UnixMilli(ms).Add(silence)), silence)
	for until := time.Now().Add(wait); time.Now().Before(until); {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		now, err := p.read(ctx)
		if err != nil {
			return err
		}
		if now != nil && now.ModRevision != last.ModRevision {
			return ErrNodeTaken
		}
		if now == nil {
			last.ModRevision = 0
			return nil
		}
	}
	return nil
}

func (p *pulse) read(ctx context.Context) (*mvccpb.KeyValue, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	resp, err := p.client.get(ctx, p.key)
	if err != nil {
		return nil, down(fmt.Errorf("read the heartbeat: %w", err))
	}
	if len(resp.Kvs) == 0 {
		return nil, nil
	}
	return resp.Kvs[0], nil
}

// put beats, if nobody else has since the last time; otherwise it returns what stands there now.
func (p *pulse) put(ctx context.Context) (mine bool, now *mvccpb.KeyValue, err error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	value := strconv.FormatInt(time.Now().UnixMilli(), 10) + " " + p.process
	resp, err := p.client.kv.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(p.key), "=", p.revision)).
		Then(clientv3.OpPut(p.key, value)).Else(clientv3.OpGet(p.key)).Commit()
	if err != nil {
		return false, nil, err
	}
	if resp.Succeeded {
		p.revision = resp.Header.Revision
		return true, nil, nil
	}
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		now = kvs[0]
	}
	return false, now, nil
}

// beat is called every [beatInterval].
func (p *pulse) beat(ctx context.Context) {
	mine, now, err := p.put(ctx)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			p.log.Debug("heartbeat", "error", err)
		}
	case mine:
		p.settle(false)
		p.rival = rival{}
	default:
		p.meet(now)
	}
}

// meet looks at a heartbeat in the place of ours. Only a process that goes on beating is one; anything
// else is written over at the next beat: an answer to us that was lost, a key that somebody deleted, or
// whatever a writer of etcd put there.
func (p *pulse) meet(now *mvccpb.KeyValue) {
	if now == nil {
		p.revision = 0
		return
	}
	_, process, ok := parseBeat(now.Value)
	if !ok || process == "" || process == p.process || now.ModRevision == p.rival.revision {
		p.revision = now.ModRevision
		return
	}
	if process == p.rival.process {
		p.settle(true)
	}
	p.rival = rival{process: process, revision: now.ModRevision}
}

func (p *pulse) settle(taken bool) {
	if p.taken.Swap(taken) == taken {
		return
	}
	if taken {
		p.log.Error("no writes from here: give each process a data directory of its own", "error", ErrNodeTaken)
	} else {
		p.log.Warn("the other process under this node id is gone")
	}
}

// end takes the heartbeat away, so that the next process need not wait.
func (p *pulse) end(ctx context.Context) {
	ctx, cancel := bounded(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, err := p.client.kv.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(p.key), "=", p.revision)).Then(clientv3.OpDelete(p.key)).Commit()
	if err != nil {
		p.log.Debug("last heartbeat", "error", err)
	}
}
