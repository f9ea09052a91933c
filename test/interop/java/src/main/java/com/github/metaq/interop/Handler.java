package com.github.metaq.interop;

import com.taobao.metamorphosis.Message;
import com.taobao.metamorphosis.client.consumer.MessageListener;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executor;

/** Tells of each message it is given, and throws for those with one text; null: for none. */
final class Handler implements MessageListener {
    private final String consumer;
    private final String failing;
    private final Output output;

    Handler(String consumer, String failing, Output output) {
        this.consumer = consumer;
        this.failing = failing;
        this.output = output;
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
