package com.github.metaq.interop;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.sql.DataSource;
import org.apache.derby.jdbc.EmbeddedDataSource;

/** A Derby database with the client's table of offsets. */
final class Database {
    private static final String TABLE = "meta_topic_partition_group_offset";

    private final EmbeddedDataSource source = new EmbeddedDataSource();

    Database(String folder) {
        source.setDatabaseName(folder);
        source.setCreateDatabase("create");
    }

    DataSource source() {
        return source;
    }

    /** Makes the table with a row for each partition. The client itself inserts rows under another name than it updates. */
    void create(String topic, String group, List<String> partitions) throws SQLException {
        try (Connection c = source.getConnection(); Statement s = c.createStatement()) {
            s.executeUpdate("create table " + TABLE + " (topic varchar(128) not null, partition varchar(32) not null,"
                    + " group_id varchar(128) not null, offset bigint not null, msg_id bigint not null, primary key (topic, partition, group_id))");
            try (PreparedStatement insert = c.prepareStatement("insert into " + TABLE + " (topic, partition, group_id, offset, msg_id) values (?, ?, ?, 0, -1)")) {
                for (String p : partitions) {
                    insert.setString(1, topic);
                    insert.setString(2, p);
                    insert.setString(3, group);
                    insert.executeUpdate();
                }
            }
        }
    }

    /** The offset of each partition. */
    Map<String, Object> offsets(String topic, String group) throws SQLException {
        Map<String, Object> offsets = new LinkedHashMap<>();
        try (Connection c = source.getConnection();
                PreparedStatement select = c.prepareStatement("select partition, offset from " + TABLE + " where topic = ? and group_id = ?")) {
            select.setString(1, topic);
            select.setString(2, group);
            try (ResultSet rows = select.executeQuery()) {
                while (rows.next()) {
                    offsets.put(rows.getString(1), rows.getLong(2));
                }
            }
        }
        return offsets;
    }
}
