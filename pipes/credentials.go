package pipes

import (
	"context"

	"culvert/internal/access"
)

// Credentials vends whatever credential an account has: an API key, or what [Broker.Token] vends, under
// the same rules and with the same errors but for [*AuthMethodError].
func (b *Broker) Credentials(ctx context.Context, call access.Call, r Request) (Vended, error) {
	o, err := b.begin(ctx, call, access.TokenVend)
	if err != nil {
		return Vended{}, err
	}
	vended, err := o.vend(ctx, &r, "")
	return answer(ctx, o, vended, err)
}
