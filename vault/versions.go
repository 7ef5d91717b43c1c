package vault

import (
	"context"

	"culvert/internal/access"
	"culvert/internal/trail"
)

// Versions lists the kept versions of an object, oldest first; exactly one is current. [ErrNotFound].
func (v *Vault) Versions(ctx context.Context, call access.Call, id ObjectID) ([]Version, error) {
	o, err := v.authorize(ctx, call, access.MetadataRead)
	if err != nil {
		return nil, err
	}
	var versions []Version
	found, err := o.byID(ctx, string(id))
	if err == nil {
		versions = found.versions()
	}
	return trail.Answer(ctx, o.Operation, versions, err)
}

// versions turns the header's order around, which is newest first.
func (h *Header) versions() []Version {
	versions := make([]Version, len(h.Versions))
	for i, v := range h.Versions {
		versions[len(versions)-1-i] = Version{
			ID:        v.ID,
			CreatedAt: v.CreatedAt,
			Current:   i == 0,
			ETag:      v.ETag,
			Size:      v.Size,
		}
	}
	return versions
}
