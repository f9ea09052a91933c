package com.github.metaq.interop;

import java.io.IOException;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.codehaus.jackson.map.ObjectMapper;

/** A command: its number, its verb and what it needs. What a command does not name is null, zero or false. */
final class Request {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Map<?, ?> fields;

    private Request(Map<?, ?> fields) {
        this.fields = fields;
    }

    static Request parse(String line) throws IOException {
        return new Request(JSON.readValue(line, Map.class));
    }

    String text(String name) {
        return (String) fields.get(name);
    }

    long number(String name) {
        Object value = fields.get(name);
        return value == null ? 0 : ((Number) value).longValue();
    }

    boolean flag(String name) {
        return Boolean.TRUE.equals(fields.get(name));
    }

    byte[] bytes(String name) {
        return Base64.getDecoder().decode(text(name));
    }

    @SuppressWarnings("unchecked") // a list of a command holds texts
    List<String> texts(String name) {
        return (List<String>) fields.get(name);
    }
}
