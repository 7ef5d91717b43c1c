package etcd

import (
	"context"
	"slices"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"culvert/internal/access"
)

// provenKinds are the kinds of records of an environment in the order of a verification. Not among them is
// what other records lead to, and is looked at with them: values with their header, indexes and pointers
// with what they are of. One that leads nowhere is of no use to anybody.
func provenKinds() []string {
	return []string{
		kindEnv, kindRegistered, kindCheckpoint, kindAPIKey, kindAPIKeyUse, kindRole, kindCMKMap, kindSchedule, kindShred, kindJob, kindKEK,
		kindIntegration, kindConfiguration, kindRetired, kindAccount, kindGrant, kindAttempt, kindRevocation, kindFlow, kindObject, kindRequest, kindEvent,
		kindArchive, kindSegment, kindWebhook, kindWebhookAt, kindDelivery, kindDeadLetter, kindReadsAt,
	}
}

// provenWith are the kinds that are looked at with others, and unproven those that carry no MAC.
func provenWith() []string {
	return []string{kindKEKOf, kindKEKBy, kindVersion, kindName, kindOwner, kindMember, kindToken, kindRevoking, kindDue}
}
func unproven() []string {
	return []string{kindFormat, kindEpoch, kindNode, kindLock, kindWebhookLock, kindRate, kindQuota}
}

// provenLine is a run of one kind in time. The others are few, or walked by themselves.
func provenLine(kind string, env access.EnvironmentID) (timeline, bool) {
	switch kind {
	case kindKEK:
		return uuids(keyKEK(env, "")), true
	case kindAccount:
		return ulids(keyAccount(env, "data_installation_")), true
	case kindFlow:
		return ulids(keyFlow(env, "")), true
	}
	return holderLine(kind, env)
}

// RecordKeys implements keys.EvidenceStore. The cursor is the last relative key: its first field is the kind
// at which the walk stands.
func (s *Store) RecordKeys(ctx context.Context, env access.EnvironmentID, after string, limit int) ([]string, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	kinds := provenKinds()
	if at := slices.Index(kinds, kindOf(after)); at >= 0 {
		kinds = kinds[at:]
	}
	for _, kind := range kinds {
		found, err := s.recordKeys(ctx, kind, env, after, limit)
		if err != nil || len(found) > 0 {
			return found, err
		}
	}
	return nil, nil
}

func (s *Store) recordKeys(ctx context.Context, kind string, env access.EnvironmentID, after string, limit int) ([]string, error) {
	if kind == kindEvent {
		return s.eventKeys(ctx, env, after, limit)
	}
	if line, timed := provenLine(kind, env); timed {
		id, within := strings.CutPrefix(after, line.prefix)
		if !within {
			id = ""
		}
		items, err := s.walk(ctx, line, id, limit)
		found := make([]string, len(items))
		for i, it := range items {
			found[i] = it.key
		}
		return found, err
	}
	from, end := s.recordRange(kind, env)
	if kindOf(after) == kind {
		from = s.client.abs(after) + "\x00"
	}
	return s.keysIn(ctx, from, end, limit)
}

// recordRange is where the records of a kind are: one at its environment, or several below.
func (s *Store) recordRange(kind string, env access.EnvironmentID) (from, end string) {
	key := kind + "/" + string(env)
	switch kind {
	case kindEnv, kindCMKMap, kindSchedule, kindArchive:
		return s.client.abs(key), s.client.abs(key) + "\x00"
	case kindWebhook: // both
		return s.client.abs(key), s.client.end(key + "/")
	}
	return s.client.abs(key + "/"), s.client.end(key + "/")
}

// keysIn reads the keys of [from, end) of absolute keys, as relative ones.
func (s *Store) keysIn(ctx context.Context, from, end string, limit int) ([]string, error) {
	resp, err := s.client.kv.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(int64(limit)), clientv3.WithKeysOnly())
	if err != nil {
		return nil, down(err)
	}
	found := make([]string, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		found[i] = s.client.rel(kv.Key)
	}
	return found, nil
}

// eventKeys goes epoch by epoch: etcd visits the whole of a range, whatever its limit.
func (s *Store) eventKeys(ctx context.Context, env access.EnvironmentID, after string, limit int) ([]string, error) {
	last, err := s.lastEpoch(ctx, env)
	if err != nil {
		return nil, err
	}
	prefix := kindEvent + "/" + string(env) + "/"
	from, at := "", uint64(1)
	if position, within := strings.CutPrefix(after, prefix); within {
		number, _, _ := strings.Cut(position, "/")
		if at, err = strconv.ParseUint(number, 16, 64); err != nil {
			at = 1 // a key that somebody else put there
		}
		from = s.client.abs(after) + "\x00"
	}
	for width := uint64(1); at <= last.number; width *= 16 {
		end := min(at+width, last.number+1)
		if from == "" {
			from = s.client.abs(prefixEpoch(env, at))
		}
		found, err := s.keysIn(ctx, from, s.client.abs(prefixEpoch(env, end)), limit)
		if err != nil || len(found) > 0 {
			return found, err
		}
		from, at = "", end
	}
	return nil, nil
}

// CountRecords implements keys.EvidenceStore.
func (s *Store) CountRecords(ctx context.Context, env access.EnvironmentID) (uint64, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	var all uint64
	for _, kind := range provenKinds() {
		from, end := s.recordRange(kind, env)
		resp, err := s.client.kv.Get(ctx, from, clientv3.WithRange(end), clientv3.WithCountOnly())
		if err != nil {
			return 0, down(err)
		}
		all += uint64(resp.Count)
	}
	return all, nil
}
