package audit

import (
	"bytes"
	"context"
	"fmt"

	"culvert/internal/access"
)

// actionKey records that another key signs from here on, with the change that both keys have signed. What the old one
// signs over this record, or later ones, is not believed any more.
const actionKey access.Action = "audit.key.changed"

// succeed looks whether the signing key is another one by now.
func (n *Notary) succeed(ctx context.Context) error {
	signer, err := n.config.Signer(ctx)
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	if signer.VerifierKey() == n.signer.VerifierKey() {
		return nil
	}
	if n.keys, err = keysOf(signer); err != nil {
		return err
	}
	return n.adopt(ctx, signer)
}

// adopt signs with a key from now on. The log has to say so if an earlier one has signed it.
func (n *Notary) adopt(ctx context.Context, signer Signer) error {
	changes, err := changesOf(signer)
	if err != nil {
		return err
	}
	l := n.config.Log
	for _, signed := range n.unrecorded(changes) {
		r := Record{Action: actionKey, Phase: Internal, Result: Allowed, Subject: l.Node(), Checkpoint: string(signed)}
		if _, err := l.Append(ctx, r); err != nil {
			return err
		}
		if c, err := OpenKeyChange(signed); err == nil {
			n.by = c.New.KeyHash()
		}
		n.config.Logger.InfoContext(ctx, "checkpoints of the audit log are signed with another key from now on")
	}
	if len(changes) > 0 {
		if err := replaceFile(l.config.Dir, keysName, bytes.Join(changes, nil)); err != nil {
			return fmt.Errorf("write the changes of the key: %w", err)
		}
	}
	key := signer.VerifierKey()
	if err := replaceFile(l.config.Dir, keyName, []byte(key+"\n")); err != nil {
		return fmt.Errorf("write the public key: %w", err)
	}
	n.signer = signer
	n.key.Store(&key)
	return nil
}

// unrecorded are the changes since the key that signed the log last.
func (n *Notary) unrecorded(changes [][]byte) [][]byte {
	for i, signed := range changes {
		if c, err := OpenKeyChange(signed); err == nil && n.by != 0 && c.Old.KeyHash() == n.by {
			return changes[i:]
		}
	}
	return nil
}
