// Package crash lets the broker die while it is under load, again and again on the same data: by kill -9, by cutting the power of its
// disk, and at named places of its code. Then it judges what the broker serves: package history tells by which rules.
//
// Writers send numbered messages over several connections, many in flight; readers follow them; offsets are committed and read back. Each
// message's body can be made again from its writer and number, so that every copy can be judged alone. After the last restart everything
// is read once more and compared with the history.
//
// The code here speaks the wire protocol by itself, on purpose: a judge must not share the mistakes of what it judges.
package crash
