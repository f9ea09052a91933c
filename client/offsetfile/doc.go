// Package offsetfile keeps the offsets of groups in a file, for a group that is one process: where every member reads everything, for example, or where nothing
// but the broker runs.
//
//	store, err := offsetfile.Open(path)
//	c, err := client.NewConsumer(addr, group, topics, client.WithOffsetStore(store))
//
// The file is JSON as LocalOffsetStorage of the original Java client writes it, so that a consumer of either kind goes on where the other has ended:
//
//	{"billing":[{"offset":4711,"messageId":-5468921164271190016,"topic":"orders","partition":{"partition":1,"brokerId":0},"modified":false}]}
//
// It is replaced as a whole, and the new one is on disk before it takes the place of the old one. A file that cannot be read is an error when it is opened;
// the original began without any offset then, and kept no other copy to fall back to. Beside the file lies another, with ".lock" behind its name: the store
// is one process's until Close. Java knows nothing of that, so do not let a Java consumer write the same file at the same time.
package offsetfile
