package com.github.metaq.interop;

import com.taobao.metamorphosis.Message;
import java.io.IOException;
import java.io.PrintStream;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;
import org.codehaus.jackson.map.ObjectMapper;

/** Writes answers and events, a JSON object a line. */
final class Output {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final PrintStream out;

    Output(PrintStream out) {
        this.out = out;
    }

    /** A map of names and values, in turn. */
    static Map<String, Object> object(Object... namesAndValues) {
        Map<String, Object> m = new LinkedHashMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2) {
            m.put((String) namesAndValues[i], namesAndValues[i + 1]);
        }
        return m;
    }

    static Map<String, Object> message(Message m) {
        return object(
                "topic", m.getTopic(),
                "id", m.getId(),
                "partition", m.getPartition() == null ? null : m.getPartition().toString(),
                "attribute", m.getAttribute(),
                "data", Base64.getEncoder().encodeToString(m.getData()));
    }

    void answer(long number, Map<String, Object> fields) {
        fields.put("number", number);
        write(fields);
    }

    /** Tells of a message that a handler was given. */
    void received(String consumer, Message m, boolean failed) {
        write(object("consumer", consumer, "failed", failed, "message", message(m)));
    }

    private void write(Map<String, Object> fields) {
        try {
            String line = JSON.writeValueAsString(fields);
            synchronized (out) {
                out.println(line);
                out.flush();
            }
        } catch (IOException e) {
            throw new IllegalStateException("what is written can be written as JSON", e);
        }
    }
}
