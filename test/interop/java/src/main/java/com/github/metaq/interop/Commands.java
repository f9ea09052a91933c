package com.github.metaq.interop;

import com.taobao.metamorphosis.Message;
import com.taobao.metamorphosis.client.MessageSessionFactory;
import com.taobao.metamorphosis.client.MetaClientConfig;
import com.taobao.metamorphosis.client.MetaMessageSessionFactory;
import com.taobao.metamorphosis.client.Shutdownable;
import com.taobao.metamorphosis.client.StatsResult;
import com.taobao.metamorphosis.client.TopicBrowser;
import com.taobao.metamorphosis.client.consumer.ConsumerConfig;
import com.taobao.metamorphosis.client.consumer.LoadBalanceStrategy;
import com.taobao.metamorphosis.client.consumer.MessageConsumer;
import com.taobao.metamorphosis.client.consumer.storage.LocalOffsetStorage;
import com.taobao.metamorphosis.client.consumer.storage.MysqlOffsetStorage;
import com.taobao.metamorphosis.client.extension.AsyncMetaMessageSessionFactory;
import com.taobao.metamorphosis.client.extension.BroadcastMessageSessionFactory;
import com.taobao.metamorphosis.client.extension.ExtMetaMessageSessionFactory;
import com.taobao.metamorphosis.client.extension.OrderedMetaMessageSessionFactory;
import com.taobao.metamorphosis.client.extension.producer.AsyncMessageProducer;
import com.taobao.metamorphosis.client.producer.MessageProducer;
import com.taobao.metamorphosis.client.producer.SendMessageCallback;
import com.taobao.metamorphosis.client.producer.SendResult;
import com.taobao.metamorphosis.cluster.Partition;
import com.taobao.metamorphosis.consumer.MessageIterator;
import com.taobao.metamorphosis.network.RemotingUtils;
import com.taobao.metamorphosis.utils.ZkUtils.ZKConfig;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/** The commands. What they make has a name, by which later commands find it. */
final class Commands {
    private static final int SESSION_TIMEOUT_MS = 4000;
    private static final int CONNECTION_TIMEOUT_MS = 10000;
    private static final int SYNC_TIME_MS = 200;
    private static final long FETCH_PAUSE_MS = 200; // at most, between two fetches that find nothing
    private static final long COMMIT_PERIOD_MS = 300;

    private final Output output;
    private final Map<String, Object> named = new ConcurrentHashMap<>();

    Commands(Output output) {
        this.output = output;
    }

    /** Runs a command and answers it. What the client throws is the answer. */
    void run(Request r) {
        Map<String, Object> answer;
        try {
            answer = dispatch(r);
        } catch (Throwable e) { // an Error of the client is an answer too
            e.printStackTrace();
            answer = Output.object("error", e.toString());
        }
        output.answer(r.number("number"), answer);
    }

    private Map<String, Object> dispatch(Request r) throws Exception {
        switch (r.text("verb")) {
            case "host":
                RemotingUtils.setLocalHost(r.text("address")); // what the client takes for the address of its machine
                return Output.object();
            case "open":
                return open(r);
            case "produce":
                return produce(r);
            case "publish":
                find(r, "producer", MessageProducer.class).publish(r.text("topic"));
                return Output.object();
            case "send":
                return send(r);
            case "subscribe":
                return subscribe(r);
            case "fetch":
                return fetch(r);
            case "browse":
                return browse(r);
            case "partitions":
                return partitions(r);
            case "stats":
                return stats(r);
            case "create-offsets":
                database(r).create(r.text("topic"), r.text("group"), r.texts("partitions"));
                return Output.object();
            case "offsets":
                return Output.object("offsets", database(r).offsets(r.text("topic"), r.text("group")));
            case "close":
                ((Shutdownable) named.remove(r.text("name"))).shutdown();
                return Output.object();
            default:
                throw new IllegalArgumentException("no such verb: " + r.text("verb"));
        }
    }

    private <T> T find(Request r, String field, Class<T> kind) {
        Object found = named.get(r.text(field));
        if (found == null) {
            throw new IllegalArgumentException("there is no " + field + " " + r.text(field));
        }
        return kind.cast(found);
    }

    /** open name kind zookeeper [partitions recoverEvery]: a session factory; recoverEvery are milliseconds. partitions, "topic=0:2;1:2", are those that an ordered producer knows of. */
    private Map<String, Object> open(Request r) throws Exception {
        MetaClientConfig config = new MetaClientConfig();
        config.setZkConfig(new ZKConfig(r.text("zookeeper"), SESSION_TIMEOUT_MS, CONNECTION_TIMEOUT_MS, SYNC_TIME_MS));
        if (r.number("recoverEvery") > 0) {
            config.setRecoverMessageIntervalInMills(r.number("recoverEvery"));
        }
        if (r.text("partitions") != null) {
            String[] topicAndNumbers = r.text("partitions").split("=");
            Properties p = new Properties();
            p.setProperty("topic.num." + topicAndNumbers[0], topicAndNumbers[1]);
            config.setPartitionsInfo(p);
        }
        named.put(r.text("name"), factory(r.text("kind"), config));
        return Output.object();
    }

    private static MessageSessionFactory factory(String kind, MetaClientConfig config) throws Exception {
        switch (kind) {
            case "plain":
                return new MetaMessageSessionFactory(config);
            case "ordered":
                return new OrderedMetaMessageSessionFactory(config);
            case "async":
                return new AsyncMetaMessageSessionFactory(config);
            case "broadcast": // of the extension, which is the plain broadcast factory and more
                return new ExtMetaMessageSessionFactory(config);
            default:
                throw new IllegalArgumentException("no such kind of factory: " + kind);
        }
    }

    /** produce name factory: a producer, of the kind of its factory. */
    private Map<String, Object> produce(Request r) {
        MessageSessionFactory f = find(r, "factory", MessageSessionFactory.class);
        MessageProducer p;
        if (f instanceof AsyncMetaMessageSessionFactory) {
            p = ((AsyncMetaMessageSessionFactory) f).createAsyncProducer();
        } else if (f instanceof OrderedMetaMessageSessionFactory) {
            p = f.createProducer(new ByAttribute());
        } else {
            p = f.createProducer();
        }
        named.put(r.text("name"), p);
        return Output.object();
    }

    /** send producer topic data [attribute callback oneWay]: a message, and what the client says of it. */
    private Map<String, Object> send(Request r) throws Exception {
        MessageProducer p = find(r, "producer", MessageProducer.class);
        Message m = new Message(r.text("topic"), r.bytes("data"), r.text("attribute"));
        if (r.flag("oneWay")) {
            ((AsyncMessageProducer) p).asyncSendMessage(m);
            return Output.object("success", true);
        }
        if (!r.flag("callback")) {
            return sent(p.sendMessage(m), m);
        }
        CompletableFuture<Map<String, Object>> called = new CompletableFuture<>();
        p.sendMessage(m, new SendMessageCallback() {
            @Override
            public void onMessageSent(SendResult result) {
                called.complete(sent(result, m));
            }

            @Override
            public void onException(Throwable e) {
                called.completeExceptionally(e);
            }
        });
        return called.get();
    }

    private static Map<String, Object> sent(SendResult result, Message m) {
        return Output.object(
                "success", result.isSuccess(),
                "partition", result.getPartition() == null ? null : result.getPartition().toString(),
                "offset", result.getOffset(),
                "id", result.isSuccess() && result.getOffset() >= 0 ? m.getId() : 0,
                "text", result.getErrorMessage());
    }

    /**
     * subscribe name factory group consumer topics maxSize offsets [folder retries hash newest failOn]: a consumer. offsets says where it keeps them: zookeeper,
     * file or database (in folder), or broadcast for a broadcast consumer.
     */
    private Map<String, Object> subscribe(Request r) throws Exception {
        MessageSessionFactory f = find(r, "factory", MessageSessionFactory.class);
        ConsumerConfig config = new ConsumerConfig(r.text("consumer"), r.text("group"));
        config.setMaxDelayFetchTimeInMills(FETCH_PAUSE_MS);
        config.setCommitOffsetPeriodInMills(COMMIT_PERIOD_MS);
        if (r.number("retries") > 0) {
            config.setMaxFetchRetries((int) r.number("retries"));
        }
        if (r.flag("hash")) {
            config.setLoadBalanceStrategyType(LoadBalanceStrategy.Type.CONSIST);
        }
        if (r.flag("newest")) {
            config.setConsumeFromMaxOffset(); // there is one with a boolean, which begins at the end in both cases
        }
        MessageConsumer c;
        switch (r.text("offsets")) {
            case "zookeeper":
                c = f.createConsumer(config);
                break;
            case "file":
                c = f.createConsumer(config, new LocalOffsetStorage(r.text("folder")));
                break;
            case "database":
                c = f.createConsumer(config, new MysqlOffsetStorage(database(r).source()));
                break;
            case "broadcast":
                c = ((BroadcastMessageSessionFactory) f).createBroadcastConsumer(config);
                break;
            default:
                throw new IllegalArgumentException("no such place for offsets: " + r.text("offsets"));
        }
        String name = r.text("name");
        Handler h = new Handler(name, r.text("failOn"), output);
        for (String topic : r.texts("topics")) {
            c.subscribe(topic, (int) r.number("maxSize"), h);
        }
        c.completeSubscribe();
        named.put(name, c);
        return Output.object();
    }

    private Database database(Request r) {
        return (Database) named.computeIfAbsent("database " + r.text("folder"), k -> new Database(r.text("folder")));
    }

    /** fetch factory topic partition offset maxSize: the whole messages that one request brings, and where the next one goes on. */
    private Map<String, Object> fetch(Request r) throws Exception {
        MessageSessionFactory f = find(r, "factory", MessageSessionFactory.class);
        MessageConsumer c = f.createConsumer(new ConsumerConfig("interop-fetch"));
        try {
            long offset = r.number("offset");
            List<Object> messages = new ArrayList<>();
            MessageIterator it = c.get(r.text("topic"), new Partition(r.text("partition")), offset, (int) r.number("maxSize"));
            while (it != null && it.hasNext()) {
                messages.add(Output.message(it.next()));
            }
            return Output.object("messages", messages, "next", it == null ? offset : offset + it.getOffset());
        } finally {
            c.shutdown();
        }
    }

    /** browse factory topic: all messages of all partitions. */
    private Map<String, Object> browse(Request r) throws Exception {
        TopicBrowser browser = find(r, "factory", MessageSessionFactory.class).createTopicBrowser(r.text("topic"));
        try {
            List<Object> messages = new ArrayList<>();
            for (Iterator<Message> it = browser.iterator(); it.hasNext(); ) {
                messages.add(Output.message(it.next()));
            }
            return Output.object("messages", messages);
        } finally {
            browser.shutdown();
        }
    }

    private Map<String, Object> partitions(Request r) {
        List<String> names = new ArrayList<>();
        for (Partition p : find(r, "factory", MessageSessionFactory.class).getPartitionsForTopic(r.text("topic"))) {
            names.add(p.toString());
        }
        return Output.object("partitions", names);
    }

    /** stats factory [item]: the values that each broker tells, by host:port. */
    private Map<String, Object> stats(Request r) throws Exception {
        Map<String, Object> brokers = new LinkedHashMap<>();
        for (Map.Entry<InetSocketAddress, StatsResult> e : find(r, "factory", MessageSessionFactory.class).getStats(r.text("item")).entrySet()) {
            brokers.put(e.getKey().getAddress().getHostAddress() + ":" + e.getKey().getPort(), e.getValue().getAllValues());
        }
        return Output.object("brokers", brokers);
    }
}
