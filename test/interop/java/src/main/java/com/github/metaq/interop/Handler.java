package com.github.metaq.interop;

import com.taobao.metamorphosis.Message;
import com.taobao.metamorphosis.client.consumer.MessageListener;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executor;

/** Tells of each message it is given, and throws for those it was told to fail on. */
final class Handler implements MessageListener {
    private final String consumer;
    private final Output output;
    private volatile String failing;

    Handler(String consumer, Output output) {
        this.consumer = consumer;
        this.output = output;
    }

    /** From now on it fails on messages with this text; null: on none. */
    void failOn(String text) {
        failing = text;
    }

    @Override
    public void recieveMessages(Message m) {
        boolean fails = new String(m.getData(), StandardCharsets.UTF_8).equals(failing);
        output.received(consumer, m, fails);
        if (fails) {
            throw new IllegalStateException("the test wants this message to fail");
        }
    }

    @Override
    public Executor getExecutor() {
        return null;
    }
}
