// Package pipes is the token broker: integrations, the flow that connects an account, and the vending of
// fresh tokens.
package pipes
