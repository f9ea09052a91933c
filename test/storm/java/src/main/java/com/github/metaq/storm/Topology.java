package com.github.metaq.storm;

import com.taobao.metamorphosis.client.MetaClientConfig;
import com.taobao.metamorphosis.client.consumer.ConsumerConfig;
import com.taobao.metamorphosis.storm.scheme.StringScheme;
import com.taobao.metamorphosis.storm.spout.MetaSpout;
import com.taobao.metamorphosis.utils.ZkUtils.ZKConfig;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.storm.Config;
import org.apache.storm.LocalCluster;
import org.apache.storm.topology.IRichSpout;
import org.apache.storm.topology.TopologyBuilder;

/**
 * Runs a topology of a spout and bolts in a Storm inside this process, until standard input ends. Its arguments are how many spouts there are, the time-out of tuples
 * in seconds, how many of a hundred tuples fail, and of how many the bolts say nothing; then "original", ZooKeeper, topic and group for the spout of
 * Metamorphosis, or the command that is a spout.
 */
public final class Topology {
    private Topology() {
    }

    public static void main(String[] args) throws Exception {
        Config conf = new Config();
        conf.setMessageTimeoutSecs(Integer.parseInt(args[1]));
        conf.setMaxSpoutPending(200);
        conf.setNumAckers(1);
        List<String> command = Arrays.asList(args).subList(4, args.length);
        IRichSpout spout = command.get(0).equals("original") ? original(command, conf) : new MultilangSpout(command);
        TopologyBuilder builder = new TopologyBuilder();
        builder.setSpout("metaq", spout, Integer.parseInt(args[0]));
        builder.setBolt("moody", new Moody(Integer.parseInt(args[2]), Integer.parseInt(args[3])), 2).shuffleGrouping("metaq");
        // A Storm for one topology need not wait as long as one for many.
        Map<String, Object> daemons = Map.of("nimbus.monitor.freq.secs", 1, "supervisor.monitor.frequency.secs", 1, Config.TOPOLOGY_ENABLE_MESSAGE_TIMEOUTS, true);
        try (LocalCluster cluster = new LocalCluster.Builder().withDaemonConf(daemons).build()) {
            cluster.submitTopology("metaq", conf, builder.createTopology());
            while (System.in.read() >= 0) {
                // until it ends
            }
        }
        System.exit(0); // threads of Storm are left
    }

    private static IRichSpout original(List<String> args, Config conf) {
        ZKConfig zookeeper = new ZKConfig();
        zookeeper.zkConnect = args.get(1);
        zookeeper.zkRoot = "/meta";
        MetaClientConfig client = new MetaClientConfig();
        client.setZkConfig(zookeeper);
        conf.put(MetaSpout.TOPIC, args.get(2));
        return new MetaSpout(client, new ConsumerConfig(args.get(3)), new StringScheme());
    }

    static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
