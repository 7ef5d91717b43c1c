// Package history is the room of what several processes promise together: tests, and nothing else.
//
// They start the built binary several times on one etcd of three processes, let many clients work on a
// few objects, record what each asked and was told, and look for an order in which one vault without
// any concurrency would have said the same. There is none as soon as one read is stale.
package history
