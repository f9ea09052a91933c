package com.github.metaq.interop;

import com.taobao.metamorphosis.Message;
import com.taobao.metamorphosis.client.extension.producer.OrderedMessagePartitionSelector;
import com.taobao.metamorphosis.cluster.Partition;
import java.util.List;

/** Sends a message of an ordered producer to the partition that its attribute names, such as 0-1. */
final class ByAttribute extends OrderedMessagePartitionSelector {
    @Override
    protected Partition choosePartition(String topic, List<Partition> partitions, Message m) {
        return new Partition(m.getAttribute());
    }
}
