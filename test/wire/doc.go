// Package wire talks to a broker as bytes, for tests that judge what a broker gives away: nothing is retried, skipped or repaired on the
// way, as the Go client would. Its letters are messages that say what they are, so that each copy can be judged alone: the partition
// they were put to, their number there, and a checksum of their own beside the broker's.
package wire
