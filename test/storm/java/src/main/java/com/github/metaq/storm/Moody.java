package com.github.metaq.storm;

import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.storm.task.OutputCollector;
import org.apache.storm.task.TopologyContext;
import org.apache.storm.topology.OutputFieldsDeclarer;
import org.apache.storm.topology.base.BaseRichBolt;
import org.apache.storm.tuple.Tuple;

/** A bolt that acknowledges most tuples, fails some, and says nothing of others; those that begin with poison it always fails. It tells on standard output. */
final class Moody extends BaseRichBolt {
    private static final long serialVersionUID = 1;

    private final int failed;
    private final int silent;
    private transient OutputCollector collector;

    /** The numbers are of a hundred tuples. */
    Moody(int failed, int silent) {
        this.failed = failed;
        this.silent = silent;
    }

    @Override
    public void prepare(Map<String, Object> conf, TopologyContext context, OutputCollector collector) {
        this.collector = collector;
    }

    @Override
    public void execute(Tuple tuple) {
        String message = tuple.getString(0);
        int mood = message.startsWith("poison") ? 0 : ThreadLocalRandom.current().nextInt(100);
        if (message.startsWith("poison") || mood < failed) {
            Topology.say("fail " + message);
            collector.fail(tuple);
        } else if (mood < failed + silent) {
            Topology.say("silent " + message);
        } else {
            Topology.say("ack " + message);
            collector.ack(tuple);
        }
    }

    @Override
    public void declareOutputFields(OutputFieldsDeclarer declarer) {
    }
}
