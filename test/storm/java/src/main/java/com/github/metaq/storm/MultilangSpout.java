package com.github.metaq.storm;

import java.util.List;
import java.util.Map;
import org.apache.storm.metric.api.rpc.AssignableShellMetric;
import org.apache.storm.spout.ShellSpout;
import org.apache.storm.spout.SpoutOutputCollector;
import org.apache.storm.task.TopologyContext;
import org.apache.storm.topology.IRichSpout;
import org.apache.storm.topology.OutputFieldsDeclarer;
import org.apache.storm.tuple.Fields;

/** A spout that is a command, as docs/storm.md shows it. */
final class MultilangSpout extends ShellSpout implements IRichSpout {
    private static final long serialVersionUID = 1;

    MultilangSpout(List<String> command) {
        super(command.toArray(new String[0]));
        changeChildCWD(false); // the jar has no folder resources
    }

    @Override
    public void open(Map<String, Object> conf, TopologyContext context, SpoutOutputCollector collector) {
        context.registerMetric("metaq", new AssignableShellMetric(null), 10);
        super.open(conf, context, collector);
    }

    @Override
    public void declareOutputFields(OutputFieldsDeclarer declarer) {
        declarer.declare(new Fields("message"));
    }

    @Override
    public Map<String, Object> getComponentConfiguration() {
        return null;
    }
}
