// Package crash kills the broker with kill -9 while it is under load, again and again on the same data, and then judges
// what it serves: nothing that was acknowledged may be lost, altered, doubled or out of order.
//
// Writers send numbered messages over several connections, many in flight, and note every acknowledgement (the history).
// Readers follow them and note what they were given. Each message's body can be made again from its writer and number, so
// that every copy can be judged alone. After the last restart everything is read back and compared with the history.
//
// The code here speaks the wire protocol by itself, on purpose: a judge must not share the mistakes of what it judges.
package crash
