// Package offsetsql keeps the offsets of groups in a database: MySQL (or MariaDB), PostgreSQL or SQLite, by database/sql. It brings no driver.
//
//	db, err := sql.Open("pgx", "postgres://...")
//	store, err := offsetsql.New(db, offsetsql.PostgreSQL)
//	err = store.CreateTable(ctx) // once; or make the table yourself
//	c, err := client.NewConsumer(addr, group, topics, client.WithOffsetStore(store))
//
// The table is that of MysqlOffsetStorage in the original Java client, meta_topic_partition_group_offset, a row an offset:
//
//	id  topic   partition  group_id  offset  msg_id
//	 1  orders  0-2        billing   4711    -5468921164271190016
//
// partition is BROKER-NUMBER, and 0-NUMBER of a broker that stands alone; msg_id is the last message consumed, -1 if that is not known. A table that exists
// already is used as it is. Where it was made for the original, mind that its offset was an int, which ends at 2 GiB, and its names made no difference between
// upper and lower case.
//
// Members in Java may share the table. They only change rows that are there, and the rows they add have the id of a consumer instead of its group, which nobody
// reads; with the rows that this package adds, they keep their offsets. There is no unique index, because they add theirs again and again: two rows of a
// group's partition do no harm here, both are changed, and the lower offset is loaded.
//
// An offset is set to what is saved, backwards too, as in the original. Only the owner of a partition saves; the database does not check that.
package offsetsql
