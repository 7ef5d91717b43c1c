package awskms

// Held is how many keys a pool holds open.
func (p *Pool) Held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.keys)
}
